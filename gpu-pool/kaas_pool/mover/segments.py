"""Segments of the host tier: one memfd each, sealed before its descriptor leaves the process."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections.abc import Iterator

from kaas_pool.mover.host_tier import charged_bytes

#: linux/fcntl.h; the fcntl module names it from Python 3.13 on.
F_SEAL_FUTURE_WRITE = 0x0010

_FIXED_SIZE = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


class Segment:
    """A memfd of whole pages whose first `size` bytes count. The descriptor and a mapping are this object's until
    `close`.

    Input segments are filled through `writable` and then sealed by `seal_input`: from then on nobody else can write to
    them, whoever holds the descriptor, while the mapping made before the seal can, which is how the memory serves
    again (`reuse`). F_SEAL_WRITE would refuse that, and before Linux 6.7 shared read-only mappings, too. Result
    segments stay writable for the executor; nobody can resize them, which would be a SIGBUS for whoever maps them.
    """

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self._sealed = False
        self.descriptor = os.memfd_create(f"kaas-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.descriptor, charged_bytes(size))
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, _FIXED_SIZE)
            self._mapping = mmap.mmap(self.descriptor, charged_bytes(size), mmap.MAP_SHARED)
        except OSError:
            os.close(self.descriptor)
            raise

    def reuse(self, name: str, size: int) -> None:
        """Serve as another segment of the same kind, whose size is at most `capacity`."""
        assert charged_bytes(size) <= self.capacity
        self.name = name
        self.size = size

    @property
    def capacity(self) -> int:
        """Bytes of memory."""
        return len(self._mapping)

    @contextlib.contextmanager
    def writable(self) -> Iterator[memoryview]:
        """The first `size` bytes for writing."""
        with memoryview(self._mapping) as whole, whole[: self.size] as view:
            yield view

    @contextlib.contextmanager
    def readable(self, size: int) -> Iterator[memoryview]:
        """The first `size` bytes for reading; raises ValueError when the segment is smaller."""
        if size > self.size:
            raise ValueError(f"{size} bytes of segment {self.name}, which has {self.size}")
        with memoryview(self._mapping).toreadonly() as whole, whole[:size] as part:
            yield part

    def seal_input(self) -> None:
        """Make the contents final for everybody else."""
        self._seal(F_SEAL_FUTURE_WRITE | fcntl.F_SEAL_SEAL)

    def seal_result(self) -> None:
        """Keep receivers from adding seals of their own."""
        self._seal(fcntl.F_SEAL_SEAL)

    def _seal(self, seals: int) -> None:
        if not self._sealed:
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, seals)
            self._sealed = True

    def close(self) -> None:
        """Drop this process's descriptor and mapping; the memory lives on while a receiver maps it."""
        os.close(self.descriptor)
        # An exception on its way through may hold frames with slices of a view; the mapping goes with them.
        with contextlib.suppress(BufferError):
            self._mapping.close()
