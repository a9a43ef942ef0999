"""What the mover needs of an object store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from kaas_pool.content import ObjectRange
from kaas_pool.mover.cancellation import Cancellation


@dataclass(frozen=True)
class ObjectName:
    """An object, or one version of it."""

    scheme: str
    bucket: str
    key: str
    version: str | None = None


@dataclass(frozen=True)
class ObjectHead:
    """What is known about an object without reading it: `size` in bytes, its first bytes, its ETag without quotes, and
    the activation that its metadata names."""

    etag: str
    size: int
    head: bytes
    activation: str | None


class ObjectStore(Protocol):
    """One store under one tenant's rights. Methods block, may run in several threads at once, and give up with
    Cancelled soon after their token is cancelled. Errors are KaasErrors whose messages name the object."""

    def stat(self, name: ObjectName, head_bytes: int, token: Cancellation) -> ObjectHead:
        """Look at an object; `head` is its first `head_bytes` bytes or all of it.

        Raises bucket_not_found, object_not_found, object_forbidden, store_unreachable, store_error,
        store_not_configured.
        """

    def read(self, item: ObjectRange, into: memoryview, token: Cancellation) -> None:
        """Fill `into`, which has exactly the range's size; never less, never another version.

        Raises what `stat` raises, object_changed, and size_mismatch when the range is not inside the object.
        """

    def write(
        self,
        name: ObjectName,
        header: bytes,
        body: memoryview,
        if_match: str | None,
        activation: str,
        token: Cancellation,
    ) -> str:
        """Write `header` and `body` as one object, whole or not at all, and return its ETag.

        With `if_match` the object must still have that ETag, or be what this activation wrote before; else raises
        output_conflict. Raises what `stat` raises, too.
        """
