"""The state directory of the stack: what is where, and who holds it.

    lock              held (flock) by the daemon for as long as it lives; its text is the daemon's process id and start
    stack.json        endpoints, ports and processes of the stack, written when it is ready
    credentials.json  keys and tokens, made once
    daemon.log, openwhisk.log, pool.log, store/log
    openwhisk/, pool/, store/     the parts' own

The directory is 0700 and its files are 0600. Whether the stack runs is told by the lock alone: the kernel gives it
back when its holder dies, however it dies.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

_HOLDER = re.compile(rb"(\d+) (\d+)\n")


class StackError(Exception):
    """The stack on this machine could not do what was asked: what is wrong, and what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def default_directory(environ: Mapping[str, str]) -> Path:
    """`$KAAS_STATE_DIR`, else `kaas` in `$XDG_STATE_HOME` or `~/.local/state`."""
    if given := environ.get("KAAS_STATE_DIR"):
        return Path(given).expanduser().absolute()
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "kaas"


@dataclass(frozen=True)
class Process:
    """A process and when it was started, in clock ticks since boot: ids are reused, pairs are not."""

    pid: int
    started: int

    @staticmethod
    def of(pid: int) -> Process | None:
        """The process that has this id now."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else Process(pid, int(fields[19]))

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return Process.of(self.pid) == self


@dataclass(frozen=True)
class Stack:
    """A stack that is ready: what `stack.json` holds."""

    VERSION: ClassVar[int] = 2

    device: str
    pool_url: str
    store_url: str
    api_url: str
    #: Processes by part: `daemon`, `openwhisk`, `pool`, `store`.
    processes: dict[str, Process]

    def to_json(self) -> dict[str, Any]:
        """The file's contents."""
        return {"version": self.VERSION, **asdict(self)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Stack:
        """Rebuild it; raises ValueError for another version's file."""
        if data.get("version") != Stack.VERSION:
            raise ValueError(f"stack.json has version {data.get('version')!r}")
        return Stack(
            device=data["device"],
            pool_url=data["pool_url"],
            store_url=data["store_url"],
            api_url=data["api_url"],
            processes={name: Process(**process) for name, process in data["processes"].items()},
        )


class StateDirectory:
    """The directory of one stack."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Make the directory, or take it if it is ours; raises StackError."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.path.stat().st_uid != os.getuid():
                raise StackError(
                    f"{self.path} belongs to another user", "set KAAS_STATE_DIR to a directory of your own"
                )
            self.path.chmod(0o700)
        except OSError as error:
            raise StackError(
                f"cannot use the state directory {self.path}: {error.strerror}", "set KAAS_STATE_DIR to another one"
            ) from error

    def log(self, part: str) -> Path:
        """The log of a part."""
        return self.path / "store" / "log" if part == "store" else self.path / f"{part}.log"

    def take_lock(self) -> int | None:
        """Become the daemon: the lock's descriptor, to be kept open for life, or None if another holds it."""
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        for pause in _patiently():
            if _lock(descriptor, fcntl.LOCK_EX):
                me = Process.of(os.getpid())
                assert me is not None
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{me.pid} {me.started}\n".encode(), 0)
                return descriptor
            # Who looks for the holder shares the lock for a moment; it does not hold it.
            time.sleep(pause)
        os.close(descriptor)
        return None

    def holder(self) -> Process | None:
        """The daemon that runs, if one does."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR)
        except OSError:
            return None
        try:
            for pause in _patiently():
                if _lock(descriptor, fcntl.LOCK_SH):
                    return None
                found = _HOLDER.fullmatch(os.pread(descriptor, 64, 0))
                holder = Process(int(found[1]), int(found[2])) if found else None
                if holder is not None and holder.is_alive:
                    return holder
                # What an earlier daemon has left: the one that holds the lock is about to write.
                time.sleep(pause)
            return None
        finally:
            os.close(descriptor)

    def read_stack(self) -> Stack | None:
        """The stack last recorded, whether or not it still runs."""
        try:
            return Stack.from_json(self.read_json("stack.json"))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def running(self) -> Stack | None:
        """The stack that runs and is ready."""
        holder, stack = self.holder(), self.read_stack()
        return stack if stack is not None and holder is not None and stack.processes.get("daemon") == holder else None

    def forget_stack(self) -> None:
        """The stack is not ready any more."""
        (self.path / "stack.json").unlink(missing_ok=True)

    def read_json(self, name: str) -> Any:
        """A file's contents; raises OSError or ValueError."""
        return json.loads((self.path / name).read_text("utf-8"))

    def write_json(self, name: str, data: object) -> Path:
        """Write a file, 0600, whole or not at all."""
        path = self.path / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(data, file, indent=1)
            draft.replace(path)
        except OSError:
            draft.unlink()
            raise
        return path


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _patiently() -> Iterator[float]:
    """Pauses of a tenth of a second in all, for what takes another process a few system calls."""
    return iter([0.001] * 10 + [0.01] * 9)
