"""Notifications of object stores: which object was stored, and what may not be written because of it.

S3's own form (`Records`, as AWS, MinIO, Ceph and SeaweedFS send it) and one such record by itself, as sources of
CloudEvents send it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from kaas.call import Call
from kaas.dtypes import shorten
from kaas.errors import CallerError
from kaas.references import Reference

_CREATED = "ObjectCreated"


@dataclass(frozen=True)
class Stored:
    """An object that was stored; `etag` as the store told it, if it did."""

    reference: Reference
    etag: str | None


@dataclass(frozen=True)
class Nothing:
    """A notification that calls for nothing, and why."""

    reason: str


def read_notification(data: Any) -> Stored | Nothing | None:
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


def _record(record: Any) -> Stored | Nothing:
    name = _text(record, "eventName")
    if not name.removeprefix("s3:").startswith(_CREATED):
        return Nothing(f"{shorten(name)} stores no object")
    bucket, key = _text(record, "s3", "bucket", "name"), unquote_plus(_text(record, "s3", "object", "key"))
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
    return Stored(reference, etag if isinstance(etag, str) and etag else None)


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
    """Refuse outputs of which the store would notify again: those under the `watched` prefix, or else in the bucket.

    Raises `argument_invalid`.
    """
    prefix = watched if watched is not None else f"s3://{stored.bucket}/"
    for name, target in call.writes.items():
        if isinstance(target, Reference) and f"s3://{target.bucket}/{target.key}".startswith(prefix):
            hint = "give it another place"
            if watched is None:
                hint += ", or set KAAS_WATCHED to the prefix that notifications are for, if they are not for all of it"
            raise CallerError(
                "argument_invalid",
                f"{name!r} goes to {target}: what is stored under {prefix} makes the next event, without end",
                where=call.where(name),
                hint=hint,
            )
