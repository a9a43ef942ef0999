"""What kernels print: the driver writes it to the process's standard output whenever the host waits or launches.

Whose it is nobody can tell but from who computed: it goes to the invocation that was alone in the context from its
first operation to its last, and to nobody else.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
from collections.abc import Iterator
from typing import Any

from kaas_pool.executor.device import Device
from kaas_pool.printed import Printed

#: What one look at the output brings at most; a driver keeps 1 MiB for it until the host waits. More is lost.
SINK_BYTES = 2 << 20

_STDOUT = 1


class Sink:
    """A file in memory that stands in for the process's standard output. Writing to it never waits: what does not fit
    is refused, as on a full disk."""

    def __init__(self) -> None:
        self._file = os.memfd_create("kaas-output", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self._file, SINK_BYTES)
        fcntl.fcntl(self._file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
        self._c = ctypes.CDLL(None)

    def close(self) -> None:
        """Give the file back; standard output must be its own again."""
        os.close(self._file)

    def redirect(self) -> None:
        """Take the place of standard output for good."""
        self._flush()
        os.dup2(self._file, _STDOUT)

    @contextlib.contextmanager
    def redirected(self) -> Iterator[None]:
        """Take its place for a while; what was not taken by then is gone."""
        own = os.dup(_STDOUT)
        self.redirect()
        try:
            yield
        finally:
            self.take()
            os.dup2(own, _STDOUT)
            os.close(own)

    def take(self) -> bytes:
        """What has been written since the last call."""
        self._flush()
        data = self._read()
        if len(data) == SINK_BYTES:
            # The C library may hold what it could not write.
            self._flush()
            self._read()
        return data

    def _read(self) -> bytes:
        size = os.lseek(self._file, 0, os.SEEK_CUR)
        if not size:
            return b""
        os.lseek(self._file, 0, os.SEEK_SET)
        return os.pread(self._file, size, 0)

    def _flush(self) -> None:
        self._c.fflush(None)


class Printing:
    """Follows the invocations that compute in one context, and collects what they print."""

    def __init__(self, device: Device, sink: Sink) -> None:
        self._device = device
        self._sink = sink
        self._computing = 0
        #: Those whose kernels may print.
        self._listeners: list[Printed] = []

    def begin(self, printed: Printed | None, stream: Any) -> None:
        """An invocation begins to compute on `stream`, on which nothing is under way; None: its kernels print nothing.

        Raises the driver's error.
        """
        self._computing += 1
        if printed is not None:
            if self._computing == 1:
                self._collect(stream)  # What is there already is nobody's: there is no listener.
            self._listeners.append(printed)
        if self._computing > 1:
            for listener in self._listeners:
                listener.crowd()

    def look(self) -> None:
        """Take what the driver has written meanwhile, so that a long invocation's output finds room."""
        if self._listeners:
            self._take()

    def end(self, printed: Printed | None, stream: Any) -> None:
        """Its last operation, on `stream`, is done. Raises the driver's error."""
        self._computing -= 1
        if printed is not None:
            self._collect(stream)
            self._listeners.remove(printed)

    def fault(self, stream: Any) -> None:
        """The context is lost; take what the driver still gives of it."""
        if self._listeners:
            with contextlib.suppress(self._device.driver_error):
                self._collect(stream)
            self._take()

    def _collect(self, stream: Any) -> None:
        self._device.wait(stream)
        self._take()

    def _take(self) -> None:
        data = self._sink.take()
        for listener in self._listeners:
            listener.add(data)
