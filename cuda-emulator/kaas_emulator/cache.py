"""The cache directory: built things under names made from their content's sources."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from kaas_emulator import sources
from kaas_emulator.errors import EmulatorError

#: How often sources that change while they are compiled are compiled.
_TRIES = 3


def cache_root() -> Path:
    """``$KAAS_CACHE_DIR``, else ``$XDG_CACHE_HOME/kaas``, else ``~/.cache/kaas``; not necessarily there yet."""
    explicit = os.environ.get("KAAS_CACHE_DIR")
    if explicit:
        return Path(explicit).absolute()
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache").absolute() / "kaas"


def obtain(name: Callable[[], str], build: Callable[[Path], None], made_of: Sequence[Path]) -> Path:
    """The directory ``name()`` in the cache, built first where it is missing.

    ``name`` tells it from the sources, which are the directories ``made_of``, and ``build`` fills an empty directory
    from them, which is renamed into place when it is complete. If they were written to meanwhile, what was built may be
    of neither state: it is thrown away and built again. Several processes may build the same name at once: the first to
    finish wins and all answer its directory. Raises EmulatorError where the cache cannot be written, or the sources do
    not come to rest.
    """
    for _ in range(_TRIES):
        stamp = sources.stamp(made_of)
        target = cache_root() / name()
        if target.is_dir():
            return target
        with _work_directory(target) as work:
            build(work)
            if sources.stamp(made_of) == stamp:
                _put(work, target)
                return target
    raise EmulatorError(
        f"the emulator's sources in {made_of[0]} were written to each time that they were compiled: "
        "try again when they are at rest"
    )


@contextlib.contextmanager
def _work_directory(target: Path) -> Iterator[Path]:
    """An empty directory beside ``target``, of which nothing is left in the end."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise EmulatorError(
            f"cannot write to the cache directory {target.parent}: {error.strerror}; set KAAS_CACHE_DIR to one that can"
        ) from error
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _put(work: Path, target: Path) -> None:
    work.chmod(0o755)
    try:
        work.rename(target)
    except OSError:
        if not target.is_dir():
            raise
