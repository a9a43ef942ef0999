"""Make .venv: the locked packages, PyCUDA, this project in place, the emulated driver. Run through setup.sh.

Standard library only. Safe to run at any time: what is there and unchanged is kept, and then no network is
needed. A stamp in .venv says what it was made from.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pycuda_wheel
import steps

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "kaas-setup.json"
LOG = VENV / "kaas-setup.log"
LOCK = ROOT / "requirements.lock"
#: A change of any of these installs again.
INPUTS = (LOCK, pycuda_wheel.LOCK, ROOT / "pyproject.toml", *sorted((ROOT / "scripts").glob("*.py")))
#: The oldest glibc that has wheels of everything in the lock (scripts/lock.sh checks it).
MINIMUM_GLIBC = (2, 28)
#: What .venv and PyCUDA's build take, with room to spare.
NEEDED_BYTES = 2 * 1024**3


def main() -> int:
    started = time.monotonic()
    try:
        with _alone():
            wanted, current = _stamp(), _read_stamp()
            if current != wanted:
                _check_machine()
                _make_venv(current, wanted)
                _install()
                STAMP.write_text(json.dumps(wanted, indent=2) + "\n")
                elapsed = time.monotonic() - started
                steps.say(f"  .venv is ready, with Python {platform.python_version()}: {elapsed:.0f} s")
            _build_emulator()
    except steps.StepFailedError as failed:
        steps.say(str(failed))
        return 1
    except KeyboardInterrupt:
        steps.say("\ninterrupted; the same command goes on from here")
        return 130
    return 0


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One setup at a time in this folder. The lock is on the folder itself and ends with the process."""
    folder = os.open(ROOT, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            steps.say("  another setup runs in this folder; waiting for it")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _base() -> Path:
    """The interpreter itself, also when this runs in .venv's."""
    return Path(getattr(sys, "_base_executable", sys.executable))


def _stamp() -> dict[str, str]:
    digest = hashlib.sha256()
    for path in INPUTS:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    # A virtual environment survives neither a move nor another version of its interpreter.
    return {"folder": str(VENV), "python": sys.version, "inputs": digest.hexdigest()}


def _read_stamp() -> dict[str, str] | None:
    try:
        return dict(json.loads(STAMP.read_text()))
    except (OSError, ValueError):
        return None


def _check_machine() -> None:
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(int(part) for part in version.split(".")[:2]) < MINIMUM_GLIBC:
        oldest = ".".join(str(part) for part in MINIMUM_GLIBC)
        raise steps.StepFailedError(
            f"The C library here is {name or 'not glibc'} {version}; glibc {oldest} or newer is needed."
        )
    cache = pycuda_wheel.cache_dir()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise steps.StepFailedError(
            f"The cache folder {cache} cannot be made ({error.strerror}); set KAAS_CACHE_DIR to one that can."
        ) from error
    for folder in (ROOT, cache):
        free = shutil.disk_usage(folder).free
        if free < NEEDED_BYTES:
            raise steps.StepFailedError(
                f"{folder} has {free / 1024**3:.1f} GiB free; {NEEDED_BYTES / 1024**3:.0f} GiB are needed."
            )


def _make_venv(current: dict[str, str] | None, wanted: dict[str, str]) -> None:
    """Keep a .venv of the same interpreter in the same place; replace any other."""
    if current is None:
        keep = _output(PYTHON, "-I", "-c", "import pip, sys; print(sys.version)") == wanted["python"]
    else:
        keep = all(current[key] == wanted[key] for key in ("folder", "python"))
    if keep:
        STAMP.unlink(missing_ok=True)
        return
    steps.say(f"  setting up .venv with {_base()} (Python {platform.python_version()})")
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(VENV)
    VENV.mkdir()
    steps.run("making .venv", [_base(), "-m", "venv", VENV], LOG, env=pycuda_wheel.pip_environment())


def _output(*command: str | Path) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def _install() -> None:
    environment = pycuda_wheel.pip_environment()
    pip: list[str | Path] = [PYTHON, "-m", "pip", "install"]
    steps.run(
        "installing the locked packages",
        [*pip, "--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", LOCK],
        LOG,
        advice=pycuda_wheel.NETWORK_ADVICE,
        env=environment,
    )
    wheel = pycuda_wheel.ensure(LOG)
    offline = ["--no-deps", "--no-index"]
    steps.run(
        "installing PyCUDA",
        [*pip, *offline, "--force-reinstall", wheel],
        LOG,
        advice=f"If the wheel is damaged, remove {wheel.parent} and run this again.",
        env=environment,
    )
    steps.run(
        "installing this project in place",
        [*pip, *offline, "--no-build-isolation", "--editable", ROOT],
        LOG,
        env=environment,
    )


def _build_emulator() -> None:
    """Build the emulated driver. The package itself knows whether its library is up to date."""
    if (ROOT / "cuda-emulator" / "kaas_emulator" / "__init__.py").exists():
        steps.run(
            "building the emulated CUDA driver",
            [PYTHON, "-c", "import kaas_emulator; kaas_emulator.build()"],
            LOG,
        )


if __name__ == "__main__":
    raise SystemExit(main())
