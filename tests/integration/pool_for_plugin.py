"""A real pool with the emulated device for the tests of the invoker plugin: `python pool_for_plugin.py`.

Prints one line of JSON with its address and the plugin's token, and serves until its standard input ends.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from pathlib import Path

from pool_process import PoolProcess


def main() -> None:
    """Serve until standard input ends, or SIGTERM; the pool ends with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with tempfile.TemporaryDirectory() as directory, PoolProcess(Path(directory) / "state", {}) as pool:
        print(json.dumps({"url": f"http://127.0.0.1:{pool.port}", "token": "plugin-token"}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
