"""Objects that are stored make calls: notifications, plain and as CloudEvents, with a real pool and a real store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import numpy as np
import pytest
from knative_service import Answer, KnativeService, event, ready_service
from pool_calls import get, keys
from pool_process import PoolProcess
from seaweed import S3Client

#: Counts the bytes of whatever is stored.
HISTOGRAM = Path(__file__).parents[2] / "examples" / "histogram"
CONTENT = b"an object of seven words, more or less"
COUNTS = np.bincount(np.frombuffer(CONTENT, np.uint8), minlength=256)


@pytest.fixture(scope="module")
def service(pool: PoolProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnativeService]:
    bound = {"KAAS_ARGUMENTS": json.dumps({"outputs": "s3://alice/counts"}), "KAAS_WATCHED": "s3://alice/test/"}
    url = f"http://127.0.0.1:{pool.port}"
    with ready_service(tmp_path_factory.mktemp("service"), url, HISTOGRAM, **bound) as running:
        yield running


@pytest.fixture
def stored(s3: S3Client, name: str) -> dict[str, Any]:
    """The record of an object with a key that needs encoding."""
    key = f"{name}/a photo + ü.bin"
    told = s3.put_object(Bucket="alice", Key=key, Body=CONTENT)
    return record(key, eTag=told["ETag"].strip('"'), size=len(CONTENT))


def record(key: str, event: str = "ObjectCreated:Put", **told: Any) -> dict[str, Any]:
    bucket = {"name": "alice"}
    return {"eventName": event, "s3": {"bucket": bucket, "object": {"key": quote_plus(key, safe="/"), **told}}}


def counts(s3: S3Client, result: Any) -> None:
    """The result is the histogram of CONTENT."""
    assert result["counts"].startswith("s3://alice/counts/")
    np.testing.assert_array_equal(get(s3, result["counts"]), COUNTS)


def is_handled(answer: Answer) -> bool:
    """Whether the answer is that of an event that calls for nothing."""
    return (answer.status, answer.body) == (202, b"")


def test_a_stores_own_notification(service: KnativeService, s3: S3Client, stored: Any) -> None:
    answer = service.call({"Records": [stored]})
    assert answer.status == 200
    counts(s3, answer.json)


@pytest.mark.parametrize("structured", [False, True])
@pytest.mark.parametrize("form", ["records", "record"])
def test_an_event_of_a_source(service: KnativeService, s3: S3Client, stored: Any, structured: bool, form: str) -> None:
    data = {"Records": [stored]} if form == "records" else stored
    kind, key = "com.amazonaws.s3.ObjectCreated:Put", stored["s3"]["object"]["key"]
    one = event(data, type=kind, source="aws:s3.us-east-1.alice", subject=key)
    answer = service.send(one, structured=structured)
    assert answer.status == 200, answer
    told = answer.event()
    assert (told.get_type(), told.get_subject()) == ("dev.kaas.result", key)
    counts(s3, told.get_data())
    again = service.send(one, structured=not structured).event()
    assert (again.get_id(), again.get_data()) == (told.get_id(), told.get_data())


def test_an_ordinary_call_still_works(service: KnativeService) -> None:
    answer = service.call({"data": list(CONTENT), "counts": "inline"})
    assert answer.json["counts"] == COUNTS.tolist()


@pytest.mark.parametrize(
    "data",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent"},
        {"Records": [record("test/x.bin", "ObjectRemoved:Delete")]},
        {"Records": [record("test/folder/")]},
    ],
)
def test_what_calls_for_nothing_is_handled(service: KnativeService, pool: PoolProcess, data: Any) -> None:
    before = pool.client().get("/v1/tenants").body
    service.mark()
    assert is_handled(service.call(data))
    for structured in (False, True):
        assert is_handled(service.send(event(data), structured=structured))
    assert pool.client().get("/v1/tenants").body == before
    assert service.stdout.count('"ignored"') == 3
    assert service.stderr == ""


@pytest.mark.parametrize("attributes", [{}, {"subject": "x"}])
def test_several_records_are_refused(service: KnativeService, stored: Any, attributes: Any) -> None:
    answer = service.send(event({"Records": [stored, stored]}, **attributes))
    assert (answer.status, answer.error["code"]) == (422, "argument_invalid")
    assert "2 objects" in answer.error["message"]


def test_an_object_that_is_gone(service: KnativeService) -> None:
    answer = service.send(event({"Records": [record("test/none.bin")]}))
    assert (answer.status, answer.error["code"]) == (422, "object_not_found")


def test_an_output_that_would_make_the_next_event_is_refused(
    pool: PoolProcess, s3: S3Client, stored: Any, name: str, tmp_path: Path
) -> None:
    """Without KAAS_WATCHED the whole bucket counts as watched."""
    bound = {"KAAS_ARGUMENTS": json.dumps({"outputs": f"s3://alice/{name}/out"})}
    with ready_service(tmp_path, f"http://127.0.0.1:{pool.port}", HISTOGRAM, **bound) as service:
        answer = service.send(event({"Records": [stored]}))
    assert (answer.status, answer.error["code"]) == (422, "argument_invalid")
    assert answer.error["where"] == "arguments.outputs"
    assert "KAAS_WATCHED" in answer.error["hint"]
    assert keys(s3, f"{name}/out") == []


def test_a_prefix_that_the_notification_cannot_have_come_from(
    pool: PoolProcess, s3: S3Client, stored: Any, name: str, tmp_path: Path
) -> None:
    """Something else is watched, too."""
    bound = {"KAAS_ARGUMENTS": json.dumps({"outputs": f"s3://alice/{name}/out"}), "KAAS_WATCHED": "s3://alice/other/"}
    with ready_service(tmp_path, f"http://127.0.0.1:{pool.port}", HISTOGRAM, **bound) as service:
        answer = service.call({"Records": [stored]})
    assert (answer.status, answer.error["code"]) == (422, "argument_invalid")
    assert "without end" in answer.error["message"]
    assert keys(s3, f"{name}/out") == []


def test_a_loop_in_disguise_does_not_start(s3: S3Client, name: str, tmp_path: Path) -> None:
    s3.put_object(Bucket="alice", Key=f"/{name}//x.bin", Body=CONTENT)
    assert keys(s3, f"{name}/") == [f"{name}/x.bin"], "several slashes are one to this store"
    bound = {
        "KAAS_ARGUMENTS": json.dumps({"outputs": f"s3://alice//{name}"}),
        "KAAS_WATCHED": f"s3://alice/{name}/",
    }
    with KnativeService(tmp_path, "http://127.0.0.1:9", HISTOGRAM, None, **bound) as service:
        assert service.process.wait(60) == 1
        assert "without end" in service.stderr


@pytest.mark.parametrize(
    ("manifest", "bound"),
    [
        ("rename: {image: data}\n", {"image": [1, 2, 3]}),
        ("rename: {data: other}\n", {}),
        ("", {"image": [1, 2, 3], "rename": {"image": "data"}}),
        ("", {"rename": {"data": "other"}}),
    ],
)
def test_the_object_is_the_buffers_whatever_is_renamed(
    pool: PoolProcess, s3: S3Client, stored: Any, tmp_path: Path, manifest: str, bound: dict[str, Any]
) -> None:
    action = tmp_path / "action"
    shutil.copytree(HISTOGRAM, action)
    text = (action / "kaas.yaml").read_text() + manifest
    (action / "kaas.yaml").write_text(
        text.replace("buffers:\n", "params: {other: {type: int32, default: 0}}\nbuffers:\n")
    )
    variables = {
        "KAAS_ARGUMENTS": json.dumps({"outputs": "s3://alice/counts", **bound}),
        "KAAS_WATCHED": "s3://alice/test/",
    }
    with ready_service(tmp_path / "s", f"http://127.0.0.1:{pool.port}", action, **variables) as service:
        answer = service.call({"Records": [stored]})
    assert answer.status == 200, answer
    counts(s3, answer.json)
