"""A command whose processes all end with this process, at the latest; see warden.py."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from kaas_local.openwhisk.containers import warden
from kaas_local.openwhisk.containers.logs import Sink, Streams

#: The warden kills at once; only what forks faster than it kills takes longer than that.
_END_SECONDS = 10.0

_log = logging.getLogger("kaas_local")


class Process:
    """Starts at construction, in the running event loop."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        memory_mb: int,
        descriptor: int,
        sink: Sink,
    ) -> None:
        """`descriptor` is handed down under its number and closed here; `sink` takes what is written.

        `memory_mb` limits the resident memory of all its processes together; 0 is no limit.
        """
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            theirs.callback(os.close, descriptor)
            self._control, control = socket.socketpair()
            ours.callback(self._control.close)
            theirs.callback(control.close)
            out, err = _pipe(ours, theirs), _pipe(ours, theirs)
            guarded = [sys.executable, "-I", "-S", warden.__file__, str(control.fileno()), str(memory_mb), *command]
            self._warden = subprocess.Popen(
                guarded,
                stdin=subprocess.DEVNULL,
                stdout=out[1],
                stderr=err[1],
                pass_fds=[control.fileno(), descriptor],
                cwd=directory,
                env=dict(environment),
                start_new_session=True,
            )
            ours.pop_all()
        self.streams = Streams(out[0], err[0], sink)
        loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = loop.create_future()
        self._pidfd = os.pidfd_open(self._warden.pid)
        loop.add_reader(self._pidfd, self._on_end)

    @property
    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._warden.poll() is not None

    def pause(self, on: bool) -> None:
        """Let all its processes soon stand still, or go on: what is idle costs nothing, and takes nothing."""
        with contextlib.suppress(OSError):
            self._control.send(b"-" if on else b"+")

    async def end(self) -> bool:
        """Kill whatever is left; returns whether the memory limit had ended it before."""
        self._control.close()
        try:
            status = await asyncio.wait_for(asyncio.shield(self._ended), _END_SECONDS)
        except asyncio.TimeoutError:
            _log.warning("the processes of an action do not end; process %d goes on killing them", self._warden.pid)
            return False
        self.streams.close()
        return status == warden.MEMORY_EXHAUSTED

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        status = self._warden.wait()
        if not self._ended.done():
            self._ended.set_result(status)


def _pipe(ours: contextlib.ExitStack, theirs: contextlib.ExitStack) -> tuple[int, int]:
    read, write = os.pipe()
    ours.callback(os.close, read)
    theirs.callback(os.close, write)
    return read, write
