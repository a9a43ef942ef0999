"""A kernel action as a Knative Service, with a real pool and a real store behind it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from front_process import SAXPY, wait_until
from knative_service import Answer, KnativeService, event, ready_service, variables
from pool_calls import get, keys, put
from pool_process import PoolProcess
from seaweed import S3Client
from tcp_proxy import TcpProxy

from kaas.client import PoolClient, bearer, digest_of


def url(pool: PoolProcess) -> str:
    return f"http://127.0.0.1:{pool.port}"


@pytest.fixture(scope="module")
def action(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("action") / "kaas.yaml"
    path.write_text(SAXPY)
    return path


@pytest.fixture(scope="module")
def service(pool: PoolProcess, action: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnativeService]:
    bound = {"KAAS_ARGUMENTS": json.dumps({"a": 2, "outputs": "s3://alice/knative"})}
    with ready_service(tmp_path_factory.mktemp("service"), url(pool), action, **bound) as running:
        yield running


def result_of(answer: Answer) -> Any:
    """The data of an event that went well."""
    assert answer.status == 200, answer
    found = answer.event()
    assert found.get_type() == "dev.kaas.result"
    return found.get_data()


@pytest.mark.parametrize("structured", [False, True])
def test_an_event_from_the_store_to_the_store(
    service: KnativeService, s3: S3Client, name: str, structured: bool
) -> None:
    x = np.arange(7, dtype=np.float32)
    result = result_of(service.send(event({"x": put(s3, f"{name}/x.npy", x), "y": [1.0] * 7}), structured=structured))
    np.testing.assert_array_equal(get(s3, result["z"]), 2 * x + 1)
    assert result["z"].startswith("s3://alice/knative/event-")
    assert result["kaas"]["outputs"]["z"]["ref"] == result["z"]


def test_the_same_event_runs_once(service: KnativeService, pool: PoolProcess, s3: S3Client) -> None:
    def runs() -> int:
        return sum(account["done"] for account in pool.client().get("/v1/tenants").body["tenants"])

    before = runs()
    one = event({"x": [1.0], "y": [4.0]}, id="once")
    answers = [service.send(one, structured=structured) for structured in (False, True, False, True)]
    results = [result_of(answer) for answer in answers]
    assert all(result == results[0] for result in results)
    assert {answer.event().get_id() for answer in answers} == {answers[0].event().get_id()}
    assert runs() == before + 1
    np.testing.assert_array_equal(get(s3, results[0]["z"]), [6])


def test_an_event_that_is_sent_with_other_data_is_a_conflict(service: KnativeService) -> None:
    assert service.send(event({"x": [1.0], "y": [1.0]}, id="conflict")).status == 200
    answer = service.send(event({"x": [2.0], "y": [1.0]}, id="conflict"))
    assert (answer.status, answer.error["code"]) == (422, "id_conflict")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (None, "input_missing"),
        ({}, "input_missing"),
        ({"x": "s3://alice/none.npy", "y": [1.0]}, "object_not_found"),
        ({"x": "s3://bob/x.npy", "y": [1.0]}, "object_forbidden"),
        ({"x": [1.0, 2.0], "y": [1.0]}, "shape_mismatch"),
        ({"x": [1.0], "y": [1.0], "outputs": "nowhere"}, "reference_invalid"),
    ],
)
def test_the_callers_fault_is_422(service: KnativeService, data: Any, code: str) -> None:
    answer = service.send(event(data))
    assert (answer.status, answer.error["code"]) == (422, code)


def test_a_bundle_in_the_store(pool: PoolProcess, s3: S3Client, name: str, tmp_path: Path) -> None:
    manifest = SAXPY.replace("name: saxpy", "name: stored")
    key = f"{name}/saxpy.yaml"
    with KnativeService(tmp_path, url(pool), f"s3://alice/{key}") as service:
        wait_until(lambda: "not ready" in service.stderr)
        assert service.request("GET", "/health/readiness").error["code"] == "object_not_found"
        assert service.send(event({})).error["code"] == "action_unavailable"
        s3.put_object(Bucket="alice", Key=key, Body=manifest.encode())
        service.wait_until_ready()
        # What is found at the start is what is served, whatever becomes of the object.
        s3.put_object(Bucket="alice", Key=key, Body=manifest.replace("a * x[i]", "7.0f").encode())
        assert service.call({"x": [1], "y": [2], "z": "inline"}).json["z"] == [3.0]
    digest = digest_of(manifest.encode())
    with KnativeService(tmp_path / "pinned", url(pool), f"s3://alice/{key}", KAAS_ACTION_DIGEST=digest) as pinned:
        wait_until(lambda: "not ready" in pinned.stderr)
        assert pinned.request("GET", "/health/readiness").error["code"] == "object_changed"


def test_a_bundle_that_the_pool_knows(pool: PoolProcess, tmp_path: Path) -> None:
    content = SAXPY.replace("name: saxpy", "name: known").encode()
    with KnativeService(tmp_path, url(pool), digest_of(content)) as service:
        wait_until(lambda: "not ready" in service.stderr)
        assert service.request("GET", "/health/readiness").error["code"] == "bundle_unknown"
        with PoolClient(url(pool), bearer("alice-token")) as client:
            client.put_bundle(content)
        service.wait_until_ready()
        assert service.call({"x": [1], "y": [2], "z": "inline"}).json["z"] == [3.0]


def test_a_bundle_that_does_not_compile(pool: PoolProcess, tmp_path: Path) -> None:
    action = tmp_path / "kaas.yaml"
    action.write_text(SAXPY.replace("a * x[i]", "a * no_such_name"))
    with KnativeService(tmp_path, url(pool), action) as service:
        wait_until(lambda: "not ready" in service.stderr)
        told = service.request("GET", "/health/readiness").error
        assert told["code"] == "compile_error"
        assert "no_such_name" in told["message"]
        assert service.process.poll() is None


def test_a_token_that_the_pool_does_not_know(pool: PoolProcess, action: Path, tmp_path: Path) -> None:
    with KnativeService(tmp_path, url(pool), action, KAAS_TOKEN="wrong") as service:
        wait_until(lambda: "not ready" in service.stderr)
        assert service.request("GET", "/health/readiness").error["code"] == "unauthenticated"


@pytest.mark.slow
def test_what_the_pool_has_lost_it_gets_again(
    s3_server: Any, s3: S3Client, name: str, action: Path, tmp_path: Path
) -> None:
    """A pool that comes back with an empty state directory, at the same address."""
    stores = {"alice": s3_server.rights("alice")}
    reference = f"s3://alice/{name}/saxpy.yaml"
    s3.put_object(Bucket="alice", Key=f"{name}/saxpy.yaml", Body=SAXPY.encode())
    known = digest_of(SAXPY.encode())
    one = event({"x": [1], "y": [2], "z": "inline"}, id=name)
    with (
        PoolProcess(tmp_path / "one", stores) as first,
        ready_service(tmp_path / "a", url(first), action) as packed,
        ready_service(tmp_path / "b", url(first), reference) as stored,
    ):
        assert first.stop() == 0
        with PoolProcess(tmp_path / "two", stores, "--listen", f"127.0.0.1:{first.port}") as second:
            for service in (packed, stored):
                answer = service.send(one)
                assert (answer.status, answer.event().get_data().get("z")) == (200, [3.0]), answer
            with ready_service(tmp_path / "c", url(second), known) as named:
                assert second.stop() == 0
                s3.put_object(Bucket="alice", Key=f"{name}/saxpy.yaml", Body=b"kaas: 1\nname: another\n")
                with PoolProcess(tmp_path / "three", stores, "--listen", f"127.0.0.1:{first.port}"):
                    # What cannot be had again is no fault of the event's: it is kept, and comes again.
                    for service in (stored, named):
                        answer = service.send(one)
                        assert (answer.status, answer.error["code"]) == (503, "action_unavailable")
                        wait_until(lambda service=service: not service.is_ready())  # type: ignore[misc]
                    assert packed.send(one).status == 200
                    for service in (stored, named):
                        service.wait_until_ready()
                        assert service.send(one).status == 200


def mixed(rng: random.Random, number: int) -> tuple[str, Any, str]:
    """A kind of event, the event, and the code of what is wrong with it."""
    kind = rng.choice(["inline", "inline", "inline", "empty", "mismatch", "no object"])
    x = [float(number), 1.0]
    data: Any = {"x": x, "y": [0.0, 0.5], "z": "inline"}
    code = ""
    if kind == "empty":
        data, code = None, "input_missing"
    elif kind == "mismatch":
        data, code = {**data, "y": [0.0]}, "shape_mismatch"
    elif kind == "no object":
        data, code = {**data, "x": "s3://alice/none.npy"}, "object_not_found"
    return kind, event(data, id=f"mixed-{number}", subject=f"n {number}"), code


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_mixed_events(service: KnativeService, count: int) -> None:
    """Good and bad ones, binary and structured, each delivered once or twice."""
    rng = random.Random(count)
    cases = [(number, *mixed(rng, number + count), rng.random() < 0.5) for number in range(count)]
    twice = [*cases, *rng.sample(cases, count // 5)]
    rng.shuffle(twice)
    seen: dict[int, Any] = {}

    def deliver(case: Any) -> None:
        number, _, one, code, structured = case
        answer = service.send(one, structured=structured)
        while answer.status == 409:  # Its twin is being handled.
            answer = service.send(one, structured=structured)
        if code:
            assert (answer.status, answer.error["code"]) == (422, code)
            return
        told = answer.event()
        assert told.get_subject() == one.get_subject()
        assert told.get_data()["z"] == [2 * float(number + count), 2.5]
        assert seen.setdefault(number, (told.get_id(), told.get_data())) == (told.get_id(), told.get_data())

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(deliver, twice))
    assert len(seen) == sum(not code for _, _, _, code, _ in cases)


@pytest.mark.parametrize("count", [60, pytest.param(600, marks=pytest.mark.slow)])
def test_sigterm_under_load_loses_no_event(
    pool: PoolProcess, s3: S3Client, action: Path, name: str, tmp_path: Path, count: int
) -> None:
    """Two instances behind one socket, as behind a Kubernetes Service; one of them is told to end.

    Every event is delivered once, on a connection of its own, and none of them may fail.
    """
    bound = {"KAAS_ARGUMENTS": json.dumps({"outputs": f"s3://alice/{name}"})}
    answered = threading.Semaphore(0)

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        KnativeService(tmp_path / "first", url(pool), action, listener, **bound) as first,
        KnativeService(tmp_path / "second", url(pool), action, listener, **bound) as second,
    ):
        wait_until(lambda: all('"ready"' in service.stdout for service in (first, second)))

        def deliver(number: int) -> str:
            one = event({"x": [float(number)], "y": [0.0]}, id=f"{name}/{number}")
            result = result_of(first.send(one, structured=bool(number % 2)))
            answered.release()
            return str(result["z"])

        with ThreadPoolExecutor(8) as threads:
            deliveries = threads.map(deliver, range(count))
            for _ in range(count // 4):
                assert answered.acquire(timeout=60)
            first.process.terminate()
            assert first.process.wait(60) == 0
            results = list(deliveries)
        assert second.process.poll() is None
        handled = [service.stdout.count('"event"') for service in (first, second)]
    assert min(handled) > 0
    assert sum(handled) == count
    assert len(set(results)) == len(keys(s3, name)) == count
    assert [float(get(s3, reference)[0]) for reference in results] == [float(number) for number in range(count)]


def test_an_event_whose_instance_is_killed_is_handled_by_the_next(
    gated_pool: PoolProcess, store: TcpProxy, s3: S3Client, action: Path, name: str, tmp_path: Path
) -> None:
    bound = {"KAAS_ARGUMENTS": json.dumps({"outputs": f"s3://alice/{name}"})}
    one = event({"x": [1.0], "y": [4.0]}, id=name)
    store.hold(rb"^PUT ")
    with ready_service(tmp_path / "first", url(gated_pool), action, **bound) as first, ThreadPoolExecutor() as threads:
        lost = threads.submit(first.send, one)
        store.wait_until_held()
        [worker] = Path(f"/proc/{first.process.pid}/task/{first.process.pid}/children").read_text().split()
        os.kill(int(worker), signal.SIGKILL)
        assert isinstance(lost.exception(60), (HTTPException, OSError))
        assert first.process.wait(60) == 1, "so that the platform replaces the container"
    wait_until(lambda: not any(queue["running"] for queue in gated_pool.client().get("/v1/queues").body["queues"]))
    store.release()
    with ready_service(tmp_path / "second", url(gated_pool), action, **bound) as second:
        result = result_of(second.send(one))
    np.testing.assert_array_equal(get(s3, result["z"]), [5])


def test_the_port_is_the_platforms(pool: PoolProcess, action: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {**os.environ, **variables(url(pool), action), "PORT": str(port)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "kaas_proxy"], env=environment, stdout=log, stderr=log)

    def is_live() -> bool:
        with (
            contextlib.suppress(OSError),
            contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection,
        ):
            connection.request("GET", "/health/liveness")
            return connection.getresponse().status == 200
        return False

    try:
        wait_until(is_live)
    finally:
        process.terminate()
        assert process.wait(30) == 0
