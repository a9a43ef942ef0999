"""Host memory that device copies read and write: ranges of the mover's segments, mapped into this process."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from kaas.errors import PlatformError

Bytes = npt.NDArray[np.uint8]


class Mapped:
    """`size` bytes of a segment from `offset` on. The descriptor is not kept.

    Raises `internal` if the segment is shorter than that: reading on would be a bus error.
    """

    def __init__(self, descriptor: int, offset: int, size: int, *, writable: bool) -> None:
        length = os.fstat(descriptor).st_size
        if offset < 0 or size < 0 or offset + size > length:
            raise PlatformError("internal", f"a host segment of {length} bytes has no {size} bytes at {offset}")
        self.size = size
        self.writable = writable
        self._unlock: Callable[[], object] | None = None
        if size == 0:
            self.pages: Bytes = np.empty(0, np.uint8)
            self.array = self.pages
            return
        before = offset % mmap.ALLOCATIONGRANULARITY
        mapping = mmap.mmap(
            descriptor,
            before + size,
            flags=mmap.MAP_SHARED,
            prot=mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0),
            offset=offset - before,
        )
        # The arrays keep the mapping, and their end unmaps it.
        self.pages = np.frombuffer(mapping, np.uint8)
        self.array = self.pages[before:]

    @property
    def is_locked(self) -> bool:
        """Whether its pages are locked."""
        return self._unlock is not None

    def locked(self, unlock: Callable[[], object]) -> None:
        """Its pages have been locked; `unlock` undoes that."""
        self._unlock = unlock

    def close(self) -> None:
        """Unlock and unmap; no copy may be under way."""
        if self._unlock is not None:
            self._unlock()
            self._unlock = None
        self.pages = self.array = np.empty(0, np.uint8)
