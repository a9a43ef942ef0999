"""One pool per state directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class AlreadyRunning(Exception):
    """Another process holds the directory; the text says which."""


def lock_state(state: Path, run: Path) -> int:
    """Make the directories (0700), take the lock and leave this process's id in it.

    The lock lasts as long as the returned descriptor is open. Raises AlreadyRunning, and OSError where the directory
    cannot be made or written.
    """
    for directory in (state, run):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
    lock = os.open(run / "pool.pid", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
        os.close(lock)
        raise AlreadyRunning(f"a pool runs on {state} already (process {holder or 'unknown'})") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock
