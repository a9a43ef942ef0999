"""What a device can launch, and how its memory is dealt out, as data."""

from __future__ import annotations

from dataclasses import dataclass

Extent = tuple[int, int, int]


@dataclass(frozen=True)
class Limits:
    """A device's limits on launches; extents are x, y, z, `shared_bytes` is what a kernel can ask for with opt-in.

    `apart`: each temporary has memory of its own, because the device checks where a buffer ends.
    """

    grid: Extent = (2**31 - 1, 65535, 65535)
    block: Extent = (1024, 1024, 64)
    threads_per_block: int = 1024
    shared_bytes: int = 48 << 10
    apart: bool = False
