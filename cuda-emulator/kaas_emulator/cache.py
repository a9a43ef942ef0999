"""The cache directory: built things under names made from their content's sources."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from kaas_emulator.errors import EmulatorError


def cache_root() -> Path:
    """``$KAAS_CACHE_DIR``, else ``$XDG_CACHE_HOME/kaas``, else ``~/.cache/kaas``; not necessarily there yet."""
    explicit = os.environ.get("KAAS_CACHE_DIR")
    if explicit:
        return Path(explicit).absolute()
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache").absolute() / "kaas"


def obtain(name: str, build: Callable[[Path], None]) -> Path:
    """The directory ``name`` in the cache, built first where it is missing.

    ``build`` fills an empty directory, which is renamed into place when it is complete. Several processes may build
    the same name at once: the first to finish wins and all answer its directory. Raises EmulatorError where the
    cache cannot be written.
    """
    target = cache_root() / name
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise EmulatorError(
            f"cannot write to the cache directory {target.parent}: {error.strerror}; set KAAS_CACHE_DIR to one that can"
        ) from error
    try:
        build(work)
        work.chmod(0o755)
        try:
            work.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target
