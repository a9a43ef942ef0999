"""Notifications of object stores: which object was stored, and what may not be written because of it.

S3's own form (`Records`, as AWS, MinIO and Ceph send it) and one such record by itself, as sources of
CloudEvents send it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from kaas.call import Call
from kaas.dtypes import shorten
from kaas.errors import CallerError
from kaas.references import Reference

_CREATED = "ObjectCreated"

#: What MinIO calls a creation, too, and is a change of what is told about an object.
_TOLD_ABOUT = ("PutTagging", "DeleteTagging", "PutRetention", "PutLegalHold")


@dataclass(frozen=True)
class StoredObject:
    """An object that was stored; `etag` as the store told it, if it did."""

    reference: Reference
    etag: str | None


@dataclass(frozen=True)
class Nothing:
    """A notification that calls for nothing, and why."""

    reason: str


def read_notification(data: Any) -> StoredObject | Nothing | None:
    """What a payload notifies of; None if it is no notification.

    Raises `argument_invalid` and `reference_invalid` for one that no single object can be taken from.
    """
    if not isinstance(data, dict):
        return None
    if data.get("Event") == "s3:TestEvent":
        return Nothing("the store tests its configuration")
    records = data.get("Records")
    if isinstance(records, list):
        if not records:
            return Nothing("it has no records")
        if len(records) > 1:
            raise CallerError(
                "argument_invalid",
                f"the notification tells of {len(records)} objects, and one call takes one",
                where="Records",
                hint="stores send one record at a time; whatever gathers them has to send them apart",
            )
        return _record(records[0])
    return _record(data) if isinstance(data.get("s3"), dict) else None


def _record(record: Any) -> StoredObject | Nothing:
    name = _text(record, "eventName")
    if not name.removeprefix("s3:").startswith(_CREATED) or name.endswith(_TOLD_ABOUT):
        return Nothing(f"{shorten(name)} stores no object")
    bucket, key = _text(record, "s3", "bucket", "name"), _key(_text(record, "s3", "object", "key"))
    if key.endswith("/"):
        return Nothing(f"{shorten(key)} is a folder")
    version, etag = (record["s3"]["object"].get(name) for name in ("versionId", "eTag"))
    text = f"s3://{bucket}/{key}"
    if isinstance(version, str) and version not in ("", "null"):
        text += f"?versionId={version}"
    reference = Reference.parse(text, "s3.object.key")
    if (reference.bucket, reference.key) != (bucket, key):
        raise CallerError(
            "reference_invalid",
            f"no reference can name the key {shorten(key)}",
            where="s3.object.key",
            hint="a key cannot have a '?', and not a '#' after .safetensors",
        )
    return StoredObject(reference, etag if isinstance(etag, str) and etag else None)


def _key(encoded: str) -> str:
    try:
        return unquote_plus(encoded, errors="strict")
    except UnicodeError:
        # Bytes that are put right would be the key of another object.
        raise CallerError(
            "reference_invalid",
            f"the key {shorten(encoded)} is not UTF-8",
            where="s3.object.key",
            hint="keys are UTF-8, URL-encoded",
        ) from None


def _text(record: Any, *path: str) -> str:
    value = record
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, str) and value:
        return value
    raise CallerError(
        "argument_invalid",
        f"the notification has no {'.'.join(path)}",
        where=".".join(path),
        hint='a record is {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": ...}, "object": {"key": ...}}}',
    )


def refuse_loop(call: Call, stored: Reference, watched: str | None) -> None:
    """Refuse outputs of which the store would notify again.

    Those are what lies under the `watched` prefix; and without it, or where it is not what this notification comes
    from, whatever is in the bucket of the object that was stored. Raises `argument_invalid`.
    """
    hint = "give it another place"
    if watched is None or not _is_under(stored, watched):
        refuse_under(f"s3://{stored.bucket}/", call, f"{hint}, or set KAAS_WATCHED to the prefix that is notified of")
    if watched is not None:
        refuse_under(watched, call, hint)


def refuse_under(prefix: str, call: Call, hint: str) -> None:
    """Refuse outputs under a prefix that is watched; raises `argument_invalid`."""
    for name, target in call.writes.items():
        if isinstance(target, Reference) and _is_under(target, prefix):
            raise CallerError(
                "argument_invalid",
                f"{name!r} goes to {target}: what is stored under {prefix} makes the next event, without end",
                where=call.where(name),
                hint=hint,
            )


def _is_under(reference: Reference, prefix: str) -> bool:
    """Stores that keep keys as paths, such as SeaweedFS, take several slashes for one and none for the first."""
    bucket, _, start = prefix.removeprefix("s3://").partition("/")
    return reference.bucket == bucket and _path(reference.key).startswith(_path(start))


def _path(key: str) -> str:
    return re.sub("/+", "/", key).lstrip("/")
