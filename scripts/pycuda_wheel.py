"""Build PyCUDA once per interpreter into a cache outside the tree; no CUDA toolkit, no NVIDIA driver needed.

PyCUDA publishes its sources alone, and their build wants a toolkit. CUDA's headers come from PyPI instead,
and an empty library stands in for the driver while linking. The headers decide which versions of the driver's
symbols are bound: those of 12.4 bind none that a driver of that age lacks. All of it is fixed by version and
hash in requirements-build.lock.

As a command: prints the wheel's path. pip's own settings apply, so that PIP_NO_INDEX and PIP_FIND_LINKS make
it work from a folder, with no network.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

import steps

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements-build.lock"
#: Where NVIDIA's wheels put the headers, below site-packages.
HEADERS = ("nvidia/cuda_runtime/include", "nvidia/cuda_profiler_api/include", "nvidia/cuda_nvcc/include")
#: What PyCUDA's build is told besides the places of headers and libraries. CURAND has no stand-in to link
#: with; some interpreters' own flags say -g, which only makes the wheel nine times as large.
SETTINGS = {"CUDA_ENABLE_CURAND": False, "CXXFLAGS": ["-g0"]}
#: Linkers may leave out a library that defines nothing, as the stand-in does; `import pycuda.driver` would
#: then fail wherever nobody has loaded the driver before it.
LINKER_FLAGS = "-Wl,--no-as-needed"
NETWORK_ADVICE = (
    "Can pip reach a package index? Its own settings apply (pip config list, PIP_INDEX_URL, PIP_CERT).\n"
    "Then run the same command again: what is done is kept."
)


def cache_dir() -> Path:
    """For what outlives a checkout: $KAAS_CACHE_DIR, else $XDG_CACHE_HOME/kaas, else ~/.cache/kaas."""
    if chosen := os.environ.get("KAAS_CACHE_DIR"):
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "kaas"


def pip_environment() -> dict[str, str]:
    """The environment pip runs in: the user's, less what would make it ask, or install elsewhere."""
    unwanted = {
        "PIP_USER",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_ROOT",
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONWARNINGS",
    }
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return kept | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def cached_wheel() -> Path:
    """Where this interpreter's wheel is, or will be, in the cache.

    Its folder is named by the lock (hash of the sources, versions of the headers), the build's settings
    and the interpreter's ABI.
    """
    lock = LOCK.read_text()
    recipe = hashlib.sha256(f"{lock}{SETTINGS}{LINKER_FLAGS}{HEADERS}".encode()).hexdigest()[:16]
    version = next(line.split()[0] for line in lock.splitlines() if line.startswith("pycuda=="))
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    name = f"{version.replace('==', '-')}-{tag}-{tag}-linux_x86_64.whl"
    return cache_dir() / "wheels" / f"{recipe}-{sysconfig.get_config_var('SOABI')}" / name


def ensure(log: Path) -> Path:
    """PyCUDA's wheel for this interpreter, built if the cache has none.

    Raises steps.StepFailedError when a package cannot be had or the build fails.
    """
    wheel = cached_wheel()
    if not wheel.exists():
        wheel.parent.mkdir(parents=True, exist_ok=True)
        # Beside its final place: the rename is atomic then, and two builds at once do no harm.
        with tempfile.TemporaryDirectory(prefix="build-", dir=wheel.parent) as work:
            _build(Path(work), log).replace(wheel)
    return wheel


def _build(work: Path, log: Path) -> Path:
    environment = pip_environment()
    tools, sources = _split_lock(work)
    venv = work / "venv"
    pip: list[str | Path] = [venv / "bin" / "python", "-m", "pip"]
    base = Path(getattr(sys, "_base_executable", sys.executable))
    steps.run("making PyCUDA's build environment", [base, "-m", "venv", venv], log, env=environment)
    steps.run(
        "fetching PyCUDA's build tools and CUDA's headers",
        [*pip, "install", "--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", tools],
        log,
        advice=NETWORK_ADVICE,
        env=environment,
    )
    download = ["download", "--require-hashes", "--no-deps", "--no-build-isolation", "--no-binary", "pycuda"]
    steps.run(
        "fetching PyCUDA's sources",
        [*pip, *download, "-d", work / "archive", "-r", sources],
        log,
        advice=NETWORK_ADVICE,
        env=environment,
    )
    tree = _unpack(next((work / "archive").iterdir()), work / "tree")
    _configure(tree, venv, work)
    steps.run(
        "building PyCUDA (once for each Python)",
        [*pip, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "-w", work / "wheel", tree],
        log,
        advice=f"PyCUDA's sources did not compile here. The whole log is in {log}.",
        # PyCUDA's build would read the user's ~/.aksetup-defaults.py, which is not meant for it.
        env=environment | {"HOME": str(work), "LDFLAGS": LINKER_FLAGS},
    )
    return next((work / "wheel").iterdir())


def _split_lock(work: Path) -> tuple[Path, Path]:
    """Two requirement files out of the lock: what the build needs, and the one thing that is built."""
    entries: list[str] = []
    for line in LOCK.read_text().splitlines(keepends=True):
        if line.startswith(" "):
            entries[-1] += line
        else:
            entries.append(line)
    tools, sources = work / "tools.txt", work / "sources.txt"
    tools.write_text("".join(entry for entry in entries if not entry.startswith("pycuda==")))
    sources.write_text("".join(entry for entry in entries if entry.startswith("pycuda==")))
    return tools, sources


def _unpack(archive: Path, target: Path) -> Path:
    with tarfile.open(archive) as tar:
        # Python 3.12 wants to be told, and 3.11.3 cannot be: its hash was checked against the lock.
        tar.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
        tar.extractall(target)  # noqa: S202
    return next(target.iterdir())


def _configure(tree: Path, venv: Path, work: Path) -> None:
    """Write PyCUDA's siteconf.py: SETTINGS, the headers, and a library that is the driver's by name alone."""
    empty = work / "empty.cpp"
    empty.touch()
    link: list[str | Path] = ["g++", "-shared", "-Wl,-soname,libcuda.so.1", "-o", work / "libcuda.so", empty]
    subprocess.run(link, check=True)
    site = venv / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    settings = SETTINGS | {
        "CUDA_ROOT": str(site / "nvidia"),
        "CUDA_INC_DIR": [str(site / folder) for folder in HEADERS],
        "CUDADRV_LIB_DIR": [str(work)],
    }
    (tree / "siteconf.py").write_text("".join(f"{name} = {value!r}\n" for name, value in settings.items()))


def main() -> int:
    log = cache_dir() / "pycuda-build.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        print(ensure(log))
    except steps.StepFailedError as failed:
        steps.say(str(failed))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
