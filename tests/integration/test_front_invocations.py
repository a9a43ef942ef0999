"""The lives of invocations behind a real front, with scripted peers: order, idempotency, waiting, ends."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from front_peers import ScriptedExecutor
from front_process import IN_PLACE, SAXPY, FrontProcess, wait_until

from kaas_pool.frames import Frame

VALUES = {"x": [1.0, 2.0], "y": [3.0, 4.0], "z": "inline"}
OBJECTS = {"x": "s3://data/x.npy", "y": "s3://data/y.npy", "z": "s3://data/z.npy"}


@pytest.fixture
def front(tmp_path: Any) -> Iterator[FrontProcess]:
    """A front with two objects in its store."""
    with FrontProcess(tmp_path / "state") as running:
        for name in "xy":
            running.mover.put("data", f"{name}.npy", npy(np.ones(4, np.float32)))
        yield running


def npy(array: np.ndarray[Any, Any]) -> bytes:
    """The bytes of an .npy file."""
    body = io.BytesIO()
    np.save(body, array)
    return body.getvalue()


class Gate:
    """Holds back the runs of executors until it is opened."""

    def __init__(self, front: FrontProcess, kind: str = "run") -> None:
        self.held: list[tuple[ScriptedExecutor, Frame]] = []
        self.front = front
        self._kind = kind
        self._open = False
        self._lock = threading.Lock()
        front.supervisor.executor_script = self._hold

    def _hold(self, executor: ScriptedExecutor, frame: Frame) -> bool:
        with self._lock:
            if frame["type"] != self._kind or self._open:
                return False
            self.held.append((executor, frame))
            return True

    def wait_for(self, count: int) -> None:
        """Wait until so many are held."""
        wait_until(lambda: len(self.held) >= count)

    def open(self) -> None:
        """Finish what is held, hold nothing more."""
        with self._lock:
            self._open = True
        for executor, frame in self.held:
            with executor.acting:
                executor.act(frame, [])


def states(front: FrontProcess) -> dict[str, int]:
    """Alice's invocations in flight, by state."""
    queues = front.client().get("/v1/queues").body["queues"]
    return {state: queues[0][state] for state in ("queued", "running")} if queues else {"queued": 0, "running": 0}


def test_results_are_stored_before_they_are_adopted_and_everything_is_given_back(front: FrontProcess) -> None:
    client = front.client()
    reply = client.invoke(client.upload(SAXPY), {**OBJECTS, "a": 2})
    assert reply.body["state"] == "done"
    [executor] = front.supervisor.tenants()
    wait_until(lambda: any(frame["type"] == "adopt" for frame in executor.heard))
    kinds = [frame["type"] for frame in executor.heard]
    assert kinds == ["budget", "bundle", "run", "supply", "supply", "adopt"]
    [adopt] = [frame for frame in executor.heard if frame["type"] == "adopt"]
    # The output's key is that of an input which reads it: its second use needs no load.
    again = client.invoke(client.upload(SAXPY), {**OBJECTS, "x": "s3://data/z.npy", "z": "inline"})
    assert again.body["state"] == "done"
    [run] = [frame for frame in executor.heard if frame["type"] == "run" and frame["inv"] != adopt["inv"]]
    keys = {item["buffer"]: item["key"] for item in run["inputs"]}
    assert adopt["keys"] == {"z": keys["x"]}
    front.mover.wait_until(lambda: not front.mover.leased)


def test_statistics_count_objects_by_tier(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)

    def counts() -> tuple[int, int, int, int]:
        stats = client.invoke(bundle, {**OBJECTS, "z": "inline"}).body["result"]["kaas"]["stats"]
        return stats["device_hits"], stats["host_hits"], stats["misses"], stats["bytes_loaded"]

    assert counts() == (0, 0, 2, 32)
    assert counts() == (2, 0, 0, 0)
    front.supervisor.tenants()[0].resident.clear()
    assert counts() == (0, 2, 0, 0)


def test_the_same_id_is_the_same_invocation(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    first = client.invoke(bundle, VALUES, id="one")
    assert client.invoke(bundle, VALUES, id="one", budget_ms=7_000).body == first.body
    assert client.get("/v1/invocations/one").body["result"] == first.body["result"]
    [executor] = front.supervisor.tenants()
    assert [frame["type"] for frame in executor.heard].count("run") == 1
    other = client.invoke(bundle, {**VALUES, "a": 3}, id="one")
    assert (other.status, other.code) == (409, "id_conflict")
    assert client.invoke(bundle, {**VALUES, "a": 3}, id="two").body["state"] == "done"
    bob = front.client("bob-token")
    bob.upload(SAXPY)
    assert bob.invoke(bundle, {**VALUES, "a": 3}, id="one").body["state"] == "done", "ids belong to tenants"


@pytest.mark.parametrize(
    ("code", "runs_again"), [("internal", True), ("device_unavailable", True), ("kernel_fault", False)]
)
def test_the_platforms_failure_is_no_result(front: FrontProcess, code: str, runs_again: bool) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    gate = Gate(front)
    pending = client.invoking(bundle, VALUES, id="one")
    gate.wait_for(1)
    executor, frame = gate.held.pop()
    executor.fail(frame["inv"], code)
    assert pending.reply().code == code
    gate.open()
    assert client.invoke(bundle, {**VALUES, "a": 9}, id="one").code == "id_conflict"
    again = client.invoke(bundle, VALUES, id="one").body
    assert again["state"] == ("done" if runs_again else "failed")
    assert client.invoke(bundle, VALUES, id="one").body == again
    told = client.get("/v1/invocations/one").body
    assert told.items() >= again.items()


def test_equal_requests_at_one_moment_are_one_invocation(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    gate = Gate(front)
    pending = [client.invoking(bundle, OBJECTS, id="same") for _ in range(5)]
    gate.wait_for(1)
    conflict = client.invoke(bundle, {**OBJECTS, "a": 9}, id="same")
    assert conflict.code == "id_conflict"
    for executor, frame in gate.held:
        executor.resident.update({item["key"]: item["size"] for item in frame["inputs"]})
    held = gate.held[0]
    held[0].world.executor_script = lambda _, __: False
    held[0].fail(held[1]["inv"], "kernel_fault")
    bodies = [one.reply().body for one in pending]
    assert all(body == bodies[0] for body in bodies)
    assert len(gate.held) == 1


def test_a_spent_wait_is_answered_with_202_and_goes_on(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    gate = Gate(front)
    for wait in (0, 60):
        reply = client.invoke(bundle, VALUES, id=f"wait-{wait}", wait_ms=wait)
        assert reply.status == 202
        assert reply.body["state"] in ("accepted", "queued", "running")
    gate.wait_for(2)
    assert client.get("/v1/invocations/wait-0").body["state"] == "running"
    gate.open()
    for wait in (0, 60):
        wait_until(lambda wait=wait: client.get(f"/v1/invocations/wait-{wait}").body["state"] == "done")  # type: ignore[misc]
    story = [line["event"] for line in client.get("/v1/invocations/wait-0").body["story"]]
    assert story[0] == "queued"
    assert story[-1] == "done"


def test_slots_bound_what_runs_and_the_queue_is_served_in_order(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    gate = Gate(front)
    for index in range(5):
        assert client.invoke(bundle, VALUES, id=f"id-{index}", wait_ms=0).status == 202
    gate.wait_for(2)
    assert states(front) == {"queued": 3, "running": 2}
    gate.open()
    wait_until(lambda: states(front) == {"queued": 0, "running": 0})
    [executor] = front.supervisor.tenants()
    runs = [frame["inv"] for frame in executor.heard if frame["type"] == "run"]
    assert runs == [f"alice/id-{index}/1" for index in range(5)]


def test_a_client_that_leaves_cancels(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    gate = Gate(front)
    with client.connection({"bundle": bundle, "arguments": VALUES, "id": "left"}):
        gate.wait_for(1)
    wait_until(lambda: client.get("/v1/invocations/left").body["state"] == "cancelled")
    [executor] = front.supervisor.tenants()
    wait_until(lambda: any(frame["type"] == "drop" for frame in executor.heard))
    assert states(front) == {"queued": 0, "running": 0}
    # The slot is the executor's until it says so.
    busy = front.client("admin-token").get("/v1/devices").body["devices"][0]["busy"]
    assert busy == 1
    executor.fail(gate.held[0][1]["inv"], "cancelled")
    wait_until(lambda: front.client("admin-token").get("/v1/devices").body["devices"][0]["busy"] == 0)


def test_what_a_client_left_runs_again_when_it_comes_back(front: FrontProcess) -> None:
    """Its instance was killed, say, and the event is delivered to the next one."""
    client = front.client()
    bundle = client.upload(SAXPY)
    gate = Gate(front)
    for count in (1, 2):
        with client.connection({"bundle": bundle, "arguments": VALUES, "id": "left"}):
            gate.wait_for(count)
        wait_until(lambda: client.get("/v1/invocations/left").body["state"] == "cancelled")
    assert client.invoke(bundle, {**VALUES, "a": 7}, id="left").code == "id_conflict"
    # The slots are still those of the runs that were left, until their executor lets go of them.
    last = client.invoking(bundle, VALUES, id="left")
    wait_until(lambda: states(front)["queued"] == 1)
    [executor] = front.supervisor.tenants()
    for _, frame in list(gate.held):
        executor.fail(frame["inv"], "cancelled")
    gate.wait_for(3)
    assert len({frame["inv"] for _, frame in gate.held}) == 3
    executor.fail(gate.held[2][1]["inv"], "kernel_fault")
    assert last.reply().body["error"]["code"] == "kernel_fault"
    assert client.invoke(bundle, VALUES, id="left").body["error"]["code"] == "kernel_fault", "that is a result"
    assert len(gate.held) == 3


def test_what_was_cancelled_on_request_stays_so(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    gate = Gate(front)
    pending = client.invoking(bundle, VALUES, id="unwanted")
    gate.wait_for(1)
    client.delete("/v1/invocations/unwanted")
    for reply in (pending.reply(), client.invoke(bundle, VALUES, id="unwanted")):
        assert reply.body["error"]["code"] == "cancelled"
    assert len(gate.held) == 1


def test_a_client_that_leaves_with_another_request_behind_cancels(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    gate = Gate(front)
    with client.connection({"bundle": bundle, "arguments": VALUES, "id": "left"}) as sock:
        gate.wait_for(1)
        sock.sendall(b"GET /healthz/live HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: client.get("/v1/invocations/left").body["state"] == "cancelled")


def test_a_client_that_leaves_does_not_cancel_for_others(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    gate = Gate(front)
    body = {"bundle": bundle, "arguments": VALUES, "id": "shared"}
    with client.connection(body):
        gate.wait_for(1)
        other = client.invoking(bundle, VALUES, id="shared")
        # The second request is in once a third, answered at once, is.
        assert client.invoke(bundle, VALUES, id="shared", wait_ms=0).status == 202
    gate.open()
    assert other.reply().body["state"] == "done"


def test_delete_cancels_what_waits_and_what_runs(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    gate = Gate(front)
    pending = {name: client.invoking(bundle, VALUES, id=name) for name in ("a", "b")}
    gate.wait_for(2)
    pending["c"] = client.invoking(bundle, VALUES, id="c")
    wait_until(lambda: states(front)["queued"] == 1)
    for name in ("c", "a"):
        assert client.delete(f"/v1/invocations/{name}").body["state"] == "cancelled"
        reply = pending[name].reply()
        assert (reply.status, reply.body["state"], reply.body["error"]["code"]) == (200, "cancelled", "cancelled")
    gate.open()
    assert pending["b"].reply().body["state"] == "done"
    assert client.delete("/v1/invocations/b").body["state"] == "done", "what has ended stays as it is"
    [executor] = front.supervisor.tenants()
    assert not any("/c/" in frame.get("inv", "") for frame in executor.heard)


def test_a_full_queue_answers_pool_busy(tmp_path: Any) -> None:
    with FrontProcess(tmp_path / "state", "--queue", "3", "--tenant-queue", "4") as front:
        client, bob = front.client(), front.client("bob-token")
        bundle = client.upload(SAXPY)
        bob.upload(SAXPY)
        gate = Gate(front)
        for _ in range(4):
            assert client.invoke(bundle, VALUES, wait_ms=0).status == 202
        busy = client.invoke(bundle, VALUES, wait_ms=0)
        assert (busy.status, busy.code) == (429, "pool_busy")
        assert "tenant" in busy.body["error"]["message"]
        assert bob.invoke(bundle, VALUES, wait_ms=0).status == 202
        busy = bob.invoke(bundle, VALUES, wait_ms=0)
        assert (busy.status, busy.code) == (429, "pool_busy")
        assert busy.body["error"]["retry_after_ms"] >= 100
        assert int(busy.headers["retry-after"]) >= 1
        gate.wait_for(2)
        gate.open()
        wait_until(lambda: bob.invoke(bundle, VALUES).body.get("state") == "done")


def test_what_no_device_can_hold_is_refused(front: FrontProcess) -> None:
    front.mover.put("data", "raw", b"")
    front.mover.objects["data", "raw"].data = b"\0" * 1024
    client = front.client()
    bundle = client.upload(SAXPY)

    def huge(peer: Any, frame: Frame) -> bool:
        if frame["type"] != "stat":
            return False
        found = {"etag": "e", "size": 1 << 30, "head": ""}
        peer.answer(frame, "stat", origin="store", objects=[found for _ in frame["objects"]])
        return True

    front.mover.script = huge
    reply = client.invoke(bundle, {"x": "s3://data/raw", "y": "s3://data/raw", "z": "inline"})
    assert reply.code in ("device_out_of_memory", "inline_too_large")
    reply = client.invoke(bundle, {"x": "s3://data/raw", "y": "s3://data/raw", "z": "s3://data/z"})
    assert (reply.status, reply.code) == (422, "device_out_of_memory")


def test_constants_are_looked_at_once(front: FrontProcess) -> None:
    front.mover.put("data", "w.npy", npy(np.ones(1, np.float32)))
    client = front.client()
    bundle = client.upload(IN_PLACE)
    arguments = {"x": {"from": [1.0, 2.0], "to": "inline"}, "w": "s3://data/w.npy"}
    for _ in range(3):
        assert client.invoke(bundle, arguments).body["state"] == "done"
    assert len(front.mover.of("stat")) == 1
    front.kill()
    front.start()
    assert client_of(front).invoke(bundle, arguments).body["state"] == "done"
    _, rights = front.mover.of("stat")
    assert rights["head_bytes"] == 0, "the pinned version is on disk; only the tenant's rights are looked at again"


def client_of(front: FrontProcess) -> Any:
    """A client of the front's present port."""
    return front.client()


def test_unknown_arguments_are_noted(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    times = []
    for _ in range(2):
        [line] = client.invoke(bundle, {**VALUES, "colour": "red"}).body["logs"]
        assert "'colour'" in line["line"]
        times.append(line["time"])
    assert times[0] < times[1], "the second call is noted anew, though its work was remembered"


def test_retries_of_a_read_of_the_object_store_stay_within_the_budget(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    front.mover.script = lambda peer, frame: frame["type"] == "stat"
    reply = client.invoke(bundle, OBJECTS, budget_ms=200)
    assert (reply.status, reply.code) == (422, "budget_exceeded")
    assert "being accepted" in reply.body["error"]["message"]
