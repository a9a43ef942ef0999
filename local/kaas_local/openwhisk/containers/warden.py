"""Runs a command and answers for all that comes of it: when it ends, so does every process that it has started.

A program of its own (`python -I -S warden.py CONTROL MEMORY COMMAND...`), because only a parent can do this: as a
"child subreaper" it inherits what the command's processes leave behind, whatever sessions and groups they make.

CONTROL is a descriptor: after `-` all processes soon stand still, at `+` they go on, and its end ends everything, so
that nothing outlives the process at its other end. MEMORY is the limit in MiB of resident memory of all processes, 0
for none.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Iterator

#: Exit statuses.
COMMAND_ENDED, OWNER_ENDED, MEMORY_EXHAUSTED = 0, 1, 2

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36

#: A process can fill a gigabyte in some 300 ms; a look at one process takes 0.1 ms.
_POLL_SECONDS = 0.05
_KILL_PAUSE_SECONDS = 0.001

#: As long as OpenWhisk waits before it pauses a container: a call that comes meanwhile waits for nothing.
_GRACE_SECONDS = 0.05
#: What waits for a disk or a child of vfork does not stop; what is to run again must not wait for it.
_MOST_LOOKS = 20

_libc = ctypes.CDLL(None)


def _main() -> int:
    control, memory_bytes, command = int(sys.argv[1]), int(sys.argv[2]) << 20, sys.argv[3:]
    os.set_inheritable(control, False)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(woken)
    child = os.fork()
    if child == 0:
        _become(command)
    _let_go_of_all_but(control, wake, woken)
    try:
        return _watch(child, control, wake, memory_bytes)
    finally:
        _end_all()


def _become(command: list[str]) -> None:
    """In the child: a session of its own, and the first that the kernel ends when the machine's memory is spent."""
    parent = os.getppid()
    try:
        os.setsid()
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        with contextlib.suppress(OSError):
            score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
            os.write(score, b"1000")
            os.close(score)
        if os.getppid() == parent:
            os.execv(command[0], command)  # noqa: S606
    finally:
        os._exit(127)


def _let_go_of_all_but(*kept: int) -> None:
    """The command's end must show at the other end of its pipes."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    for name in _names("/proc/self/fd"):
        if int(name) not in (0, 1, 2, *kept):
            with contextlib.suppress(OSError):
                os.close(int(name))


def _watch(child: int, control: int, wake: int, memory_bytes: int) -> int:
    is_running, stop_at = True, math.inf
    while True:
        looks = (is_running and memory_bytes > 0) or stop_at < math.inf
        ready, _, _ = select.select([control, wake], [], [], _POLL_SECONDS if looks else None)
        if control in ready:
            message = os.read(control, 64)
            if not message:
                return OWNER_ENDED
            if message.endswith(b"-"):
                stop_at = time.monotonic() + _GRACE_SECONDS
            else:
                stop_at = math.inf
                if not is_running:
                    # Also to what has not stopped: a stop may be on its way to it.
                    _signal(_descendants(os.getpid()), signal.SIGCONT)
                is_running = True
        if wake in ready:
            os.read(wake, 64)
            if _reap(child):
                return COMMAND_ENDED
        if time.monotonic() >= stop_at:
            _stop_all()
            is_running, stop_at = False, math.inf
        if memory_bytes > 0 and _exceeds(memory_bytes):
            return MEMORY_EXHAUSTED


def _reap(child: int) -> bool:
    """Bury the dead; whether the command is one of them."""
    seen = False
    with contextlib.suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            seen |= pid == child
    return seen


def _stop_all() -> None:
    """Until a look finds nothing that runs: a process can be in the middle of a fork."""
    for _ in range(_MOST_LOOKS):
        running = [pid for pid in _descendants(os.getpid()) if not _stands_still(pid)]
        if not running:
            return
        _signal(running, signal.SIGSTOP)
        time.sleep(_KILL_PAUSE_SECONDS)  # A descendant that is nobody's child here tells nobody.


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _end_all() -> None:
    """Kill until nothing is left. Groups first: no process of a group can fork away from its group's signal."""
    own = os.getpgrp()
    while True:
        for pid in _descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                group = os.getpgid(pid)
                os.kill(pid, signal.SIGKILL)
                if group != own:
                    os.killpg(group, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0] != 0:
                pass
        except ChildProcessError:
            return  # What is orphaned becomes a child of this process: without children, no descendant is left.
        time.sleep(_KILL_PAUSE_SECONDS)  # A descendant that is nobody's child here tells nobody.


def _exceeds(limit: int) -> bool:
    """Whether all processes together take more memory; pages that they share count once."""
    pids = list(_descendants(os.getpid()))
    if sum(map(_resident, pids)) <= limit:
        return False
    return len(pids) == 1 or sum(map(_proportional, pids)) > limit


def _descendants(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):  # It has ended.
        for task in _names(f"/proc/{pid}/task"):
            for child in map(int, _read(f"/proc/{pid}/task/{task}/children").split()):
                yield child
                yield from _descendants(child)


def _stands_still(pid: int) -> bool:
    """Whether it is stopped, or has ended."""
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[:1] in ([b"T"], [b"t"], [b"Z"], [b"X"], [])


def _resident(pid: int) -> int:
    pages = _read(f"/proc/{pid}/statm").split()[1:2]
    return int(pages[0]) * os.sysconf("SC_PAGESIZE") if pages else 0


def _proportional(pid: int) -> int:
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) << 10
    return _resident(pid)


# pathlib would take longer to import than all else here.


def _names(directory: str) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries]


def _read(path: str) -> bytes:
    """What is in a file of /proc, which is nothing when the process has ended."""
    data = b""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            while part := os.read(descriptor, 1 << 16):
                data += part
        finally:
            os.close(descriptor)
    return data


if __name__ == "__main__":
    sys.exit(_main())
