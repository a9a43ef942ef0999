"""What everybody is told whose request the pool's disk has no room for."""

from __future__ import annotations

import errno

from kaas.errors import PlatformError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

#: As compilers and other programs print it.
FULL_SIGNS = ("No space left on device", "Disk quota exceeded")


def is_full(error: BaseException) -> bool:
    """Whether a call failed because the disk, or this user's part of it, is full."""
    return isinstance(error, OSError) and error.errno in _FULL


def storage_full(what: str) -> PlatformError:
    """The error for `what` could not be done, as in "the bundle cannot be kept"."""
    return PlatformError(
        "pool_storage_full",
        f"{what}: the pool's disk is full",
        hint="try again later; the pool's operator has to make room where its state directory is",
    )
