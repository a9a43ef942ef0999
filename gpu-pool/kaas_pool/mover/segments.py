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
    """A memfd of whole pages whose first `size` bytes count. The descriptor is this object's until `close`.

    Input segments are filled through `writable` and then sealed by `seal_input`: from then on nobody can write to
    them, whoever holds the descriptor. F_SEAL_WRITE would say the same, but before Linux 6.7 it also refuses shared
    read-only mappings. Result segments stay writable for the executor; nobody can resize them, which would be a
    SIGBUS for whoever maps them.
    """

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.descriptor = os.memfd_create(f"kaas-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.descriptor, charged_bytes(size))
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, _FIXED_SIZE)
        except OSError:
            os.close(self.descriptor)
            raise

    @contextlib.contextmanager
    def writable(self) -> Iterator[memoryview]:
        """The first `size` bytes for writing."""
        with self._mapped(mmap.PROT_READ | mmap.PROT_WRITE) as view:
            yield view

    @contextlib.contextmanager
    def readable(self, size: int) -> Iterator[memoryview]:
        """The first `size` bytes for reading; raises ValueError when the segment is smaller."""
        if size > self.size:
            raise ValueError(f"{size} bytes of segment {self.name}, which has {self.size}")
        with self._mapped(mmap.PROT_READ) as view, view[:size] as part:
            yield part

    @contextlib.contextmanager
    def _mapped(self, protection: int) -> Iterator[memoryview]:
        mapping = mmap.mmap(self.descriptor, charged_bytes(self.size), mmap.MAP_SHARED, protection)
        try:
            with memoryview(mapping) as whole, whole[: self.size] as view:
                yield view
        finally:
            # An exception on its way through here holds frames with slices of the view; the mapping goes with them.
            with contextlib.suppress(BufferError):
                mapping.close()

    def seal_input(self) -> None:
        """Make the contents final."""
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, F_SEAL_FUTURE_WRITE | fcntl.F_SEAL_SEAL)

    def seal_result(self) -> None:
        """Keep receivers from adding seals of their own."""
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL)

    def close(self) -> None:
        """Drop this process's descriptor; the memory lives on while a receiver maps it."""
        os.close(self.descriptor)
