"""P10 (docs/numbers.md): the README's commands in a fresh clone with an empty cache.

The clone is of this repository's HEAD; HOME is an empty folder, so everything that setup caches is made anew. It is not
part of `make bench`: it takes a quarter of an hour.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Time each command once, `make demo` three times more; stop at the first that fails."""
    about = machine.describe()
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        clone, home = Path(folder) / "kaas", Path(folder) / "home"
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KAAS_", "XDG_", "AWS_"))}
        for name, command in (("demo_first", "demo"), *[("demo_again", "demo")] * 3, ("test", "test")):
            started = time.perf_counter()
            done = subprocess.run(["make", command], cwd=clone, env={**kept, "HOME": str(home)})
            seconds.setdefault(name, []).append(time.perf_counter() - started)
            if done.returncode != 0:
                return done.returncode
    figures = {f"{name}_s": machine.spread(values, 1) for name, values in seconds.items()}
    print(figures, "->", machine.record("first_use", about, {"figures": figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
