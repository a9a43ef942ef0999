"""Which object a store's notification is about, and which outputs would make the next one."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest_cases import SAXPY

from kaas.call import Call
from kaas.errors import CallerError
from kaas.manifest import Manifest
from kaas.references import Reference
from kaas_proxy.notifications import Nothing, StoredObject, read_notification, refuse_loop

#: As AWS sends it, without what nobody here reads.
AWS: dict[str, Any] = {
    "eventVersion": "2.1",
    "eventSource": "aws:s3",
    "eventName": "ObjectCreated:Put",
    "s3": {
        "s3SchemaVersion": "1.0",
        "configurationId": "upload",
        "bucket": {"name": "photos", "arn": "arn:aws:s3:::photos"},
        "object": {"key": "in/cat+1.npy", "size": 1024, "eTag": "0123", "versionId": "v7", "sequencer": "00"},
    },
}
MANIFEST = Manifest.parse(SAXPY)


def record(key: str = "in/x.npy", event: str = "ObjectCreated:Put", bucket: str = "photos", **told: Any) -> Any:
    return {"eventName": event, "s3": {"bucket": {"name": bucket}, "object": {"key": key, **told}}}


def test_the_forms_that_stores_send() -> None:
    found = StoredObject(Reference.parse("s3://photos/in/cat 1.npy?versionId=v7", ""), "0123")
    assert read_notification({"Records": [AWS]}) == found
    assert read_notification(AWS) == found, "as the data of a CloudEvent"
    minio = {"EventName": "s3:ObjectCreated:Put", "Key": "photos/x", "Records": [record(event="s3:ObjectCreated:Put")]}
    assert read_notification(minio) == StoredObject(Reference("s3", "photos", "in/x.npy"), None)


@given(key=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="?"), min_size=1, max_size=30))
def test_keys_are_decoded(key: str) -> None:
    parts = key.split("/")
    if key.endswith("/") or any(part in (".", "..") for part in parts) or not key.strip("/"):
        return
    told = read_notification(record(quote_plus(key)))
    assert isinstance(told, StoredObject)
    assert (told.reference.key, told.reference.version) == (key, None)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "photos"}, "tests"),
        ({"Records": []}, "no records"),
        (record(event="ObjectRemoved:Delete"), "ObjectRemoved"),
        (record(event="s3:ObjectAccessed:Get"), "ObjectAccessed"),
        (record("in/folder/"), "folder"),
        (record("in%2Ffolder%2F"), "folder"),
        (record(event="s3:ObjectCreated:PutTagging"), "PutTagging"),
        (record(event="s3:ObjectCreated:PutLegalHold"), "PutLegalHold"),
        (record(event="objectcreated:put"), "objectcreated"),
    ],
)
def test_what_calls_for_nothing(data: Any, word: str) -> None:
    told = read_notification(data)
    assert isinstance(told, Nothing)
    assert word in told.reason


@pytest.mark.parametrize("data", [None, [], "s3", {}, {"x": 1}, {"Records": "x"}, {"s3": "s3://data/x.npy"}])
def test_what_is_no_notification(data: Any) -> None:
    assert read_notification(data) is None


@pytest.mark.parametrize(
    ("data", "code", "where"),
    [
        ({"Records": [record(), record()]}, "argument_invalid", "Records"),
        ({"Records": [7]}, "argument_invalid", "eventName"),
        ({"Records": [{"eventName": "ObjectCreated:Put"}]}, "argument_invalid", "s3.bucket.name"),
        (record(""), "argument_invalid", "s3.object.key"),
        (record(bucket=""), "argument_invalid", "s3.bucket.name"),
        ({"s3": {}}, "argument_invalid", "eventName"),
        (record("in/a%FF.npy"), "reference_invalid", "s3.object.key"),
        (record("in/%ED%A0%80"), "reference_invalid", "s3.object.key"),
        (record("in/a%3Fb.npy"), "reference_invalid", "s3.object.key"),
        (record("in/a%3FversionId=7"), "reference_invalid", "s3.object.key"),
        (record("in/a%0A.npy"), "reference_invalid", "s3.object.key"),
        (record("in/../a.npy"), "reference_invalid", "s3.object.key"),
        (record("m.safetensors%23w"), "reference_invalid", "s3.object.key"),
        (record(bucket="a/b"), "reference_invalid", "s3.object.key"),
    ],
)
def test_what_no_single_object_can_be_taken_from(data: Any, code: str, where: str) -> None:
    with pytest.raises(CallerError) as caught:
        read_notification(data)
    assert (caught.value.code, caught.value.where) == (code, where)


@pytest.mark.parametrize(("version", "found"), [("v7", "v7"), ("null", None), ("", None), (None, None), (7, None)])
def test_versions(version: Any, found: str | None) -> None:
    told = read_notification(record(versionId=version, eTag=""))
    assert told == StoredObject(Reference("s3", "photos", "in/x.npy", version=found), None)


def refusal(watched: str | None, **arguments: Any) -> CallerError | None:
    """What is said of a call that an object of `photos` makes."""
    call = Call.parse(MANIFEST, {"x": "s3://photos/in/x.npy", "y": [1], **arguments}, activation_id="id")
    try:
        refuse_loop(call, Reference.parse("s3://photos/in/x.npy", ""), watched)
    except CallerError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("watched", "target", "loops"),
    [
        (None, "s3://photos/out/z.npy", True),
        (None, "s3://results/z.npy", False),
        (None, "inline", False),
        ("s3://photos/in/", "s3://photos/in/z.npy", True),
        ("s3://photos/in/", "s3://photos/in/deeper/z.npy", True),
        ("s3://photos/in/", "s3://photos/out/z.npy", False),
        ("s3://photos/in/", "s3://photos/into/z.npy", False),
        ("s3://photos/i", "s3://photos/into/z.npy", True),
        ("s3://photos/", "s3://photos2/z.npy", False),
        # As paths these are the same.
        ("s3://photos/in/", "s3://photos//in/z.npy", True),
        ("s3://photos/in/", "s3://photos/in//z.npy", True),
        ("s3://photos//", "s3://photos/z.npy", True),
        # What is said to be watched is not where the object is, so something else is watched as well.
        ("s3://photos/other/", "s3://photos/in/z.npy", True),
        ("s3://elsewhere/", "s3://photos/z.npy", True),
        ("s3://elsewhere/", "s3://elsewhere/z.npy", True),
        ("s3://elsewhere/", "s3://results/z.npy", False),
        ("s3://photos/in/x.npy/", "s3://photos/z.npy", True),
    ],
)
def test_outputs_that_would_make_the_next_event(watched: str | None, target: str, loops: bool) -> None:
    error = refusal(watched, z=target)
    assert (error is not None) == loops
    if error is not None:
        assert (error.code, error.where) == ("argument_invalid", "arguments.z")
        assert ("KAAS_WATCHED" in (error.hint or "")) == (f"stored under {watched} " not in error.message)


def test_a_default_output_counts_too() -> None:
    assert refusal(None, outputs="s3://results/saxpy") is None
    error = refusal("s3://photos/in/", outputs="s3://photos/in/out")
    assert error is not None
    assert "s3://photos/in/out/id/z.npy" in error.message
