"""`make bench`: every benchmark that runs on this machine, one after the other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = ("null_invocation.py", "object_store.py", "emulator.py", "openwhisk.py", "invoker_plugin.py", "knative.py")


def main() -> int:
    """Run them; the status is that of the worst."""
    folder = Path(__file__).parent
    return max(subprocess.run([sys.executable, str(folder / name), *sys.argv[1:]]).returncode for name in BENCHMARKS)


if __name__ == "__main__":
    sys.exit(main())
