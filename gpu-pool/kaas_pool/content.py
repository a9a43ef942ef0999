"""Content keys: what names the same bytes in the host tier and on the devices (docs/contracts.md, "References")."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass


@dataclass(frozen=True)
class ObjectRange:
    """A byte range of one version of one object; `offset` and `size` in bytes, `etag` without quotes."""

    scheme: str
    bucket: str
    key: str
    etag: str
    version: str | None
    offset: int
    size: int


def content_key(origin: str, item: ObjectRange) -> str:
    """The content key, 64 hex digits: equal exactly when origin and item are equal.

    `origin` is the opaque name of the tenant's endpoint from the mover's `stat` or `stored`. Keys mean something only
    inside one trust domain: whoever keeps data by them keeps it by domain too.
    """
    fields = [origin, item.scheme, item.bucket, item.key, item.etag, item.version, item.offset, item.size]
    return hashlib.sha256(json.dumps(fields, separators=(",", ":")).encode()).hexdigest()
