"""What a front does when its peers die, stall or refuse, and when it dies itself."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from front_peers import ScriptedExecutor
from front_process import IN_PLACE, SAXPY, FrontProcess, Reply, wait_until
from test_front_invocations import OBJECTS, VALUES, Gate, npy

from kaas.client import digest_of
from kaas_pool.frames import Frame

IN_PLACE_ARGUMENTS = {"x": "s3://data/x.npy", "w": [2.0]}
#: With an output beside the one that is changed in place.
IN_PLACE_AND_MORE = IN_PLACE.replace("graph:\n", "  also: {io: out, dtype: float32, shape: [n]}\ngraph:\n").replace(
    "args: [w, x, int32(n)]", "args: [w, x, int32(n)]\n  - copy: {from: x, to: also}"
)


@pytest.fixture
def front(tmp_path: Path) -> Iterator[FrontProcess]:
    """A front with two objects in its store."""
    with FrontProcess(tmp_path / "state") as running:
        for name in "xy":
            running.mover.put("data", f"{name}.npy", npy(np.ones(4, np.float32)))
        yield running


class Script:
    """Deals with the first frames of a kind in its own way, and lets the others pass."""

    def __init__(self, kind: str, act: Any, times: int = 1) -> None:
        self.kind, self.act, self.left = kind, act, times
        self.seen: list[Frame] = []
        self._lock = threading.Lock()

    def __call__(self, peer: Any, frame: Frame) -> bool:
        with self._lock:
            if frame["type"] != self.kind or not self.left:
                return False
            self.left -= 1
        self.seen.append(frame)
        self.act(peer, frame)
        return True


def die(executor: ScriptedExecutor, _: Frame) -> None:
    executor.die()


def nothing(_: Any, __: Frame) -> None:
    """Never answer."""


def assert_all_given_back(front: FrontProcess) -> None:
    """No slot, lease or user is left."""
    admin = front.client("admin-token")
    wait_until(lambda: admin.get("/v1/devices").body["devices"][0]["busy"] == 0)
    wait_until(lambda: all(one["users"] == 0 for one in admin.get("/v1/devices").body["devices"][0]["executors"]))
    front.mover.wait_until(lambda: not front.mover.leased)


# ***** executors *****


def test_an_attempt_lost_with_its_executor_is_made_again_with_the_same_versions(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    front.supervisor.executor_script = script = Script("run", die, times=2)
    reply = client.invoke(bundle, OBJECTS, id="lost")
    assert reply.body["state"] == "done", reply.body
    assert reply.body["result"]["kaas"]["stats"]["attempts"] == 3
    events = [line["event"] for line in client.get("/v1/invocations/lost").body["story"]]
    assert sum("lost: executor_lost" in event for event in events) == 2
    last = front.supervisor.tenants()[-1]
    runs = [*script.seen, *(frame for frame in last.heard if frame["type"] == "run")]
    assert [run["inv"].rpartition("/")[2] for run in runs] == ["1", "2", "3"]
    assert runs[0]["inputs"] == runs[1]["inputs"] == runs[2]["inputs"]
    assert [run.get("alone", False) for run in runs] == [False, True, True], "retries run alone"
    assert len(front.mover.of("stat")) == 1
    assert_all_given_back(front)


def test_three_lost_attempts_are_the_end(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    front.supervisor.executor_script = Script("run", die, times=9)
    reply = client.invoke(bundle, VALUES)
    assert (reply.status, reply.body["state"], reply.body["error"]["code"]) == (200, "failed", "executor_lost")
    assert len(front.supervisor.tenants()) == 3
    front.supervisor.executor_script = lambda _, __: False
    assert client.invoke(bundle, VALUES).body["state"] == "done"


def test_a_fault_ends_its_invocation_and_its_victims_are_made_again(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    gate = Gate(front)
    culprit, victim = client.invoking(bundle, VALUES, id="culprit"), client.invoking(bundle, VALUES, id="victim")
    gate.wait_for(2)
    front.supervisor.executor_script = lambda _, __: False
    executor = gate.held[0][0]
    executor.fail("alice/culprit/1", "kernel_fault", fatal=True)
    executor.die()
    reply = culprit.reply()
    assert (reply.body["state"], reply.body["error"]["code"]) == ("failed", "kernel_fault")
    assert victim.reply().body["result"]["kaas"]["stats"]["attempts"] == 2
    assert_all_given_back(front)


def test_an_executor_cannot_claim_more_time_than_it_had(front: FrontProcess) -> None:
    def boast(executor: ScriptedExecutor, run: Frame) -> None:
        stats = dict.fromkeys(("load_ms", "compute_ms", "gpu_ms"), 1 << 61)
        executor.send({"type": "done", "inv": run["inv"], "stats": stats, "inline": {"z": "BwcHBwcHBwc="}})

    client = front.client()
    bundle = client.upload(SAXPY)
    front.supervisor.executor_script = Script("run", boast)
    began = time.monotonic()
    reply = client.invoke(bundle, VALUES)
    passed_ms = (time.monotonic() - began) * 1e3
    stats = reply.body["result"]["kaas"]["stats"]
    assert all(0 < stats[name] <= passed_ms for name in ("compute_ms", "gpu_ms")), (stats, passed_ms)
    [account] = client.get("/v1/tenants").body["tenants"]
    assert account["gpu_ms"] == stats["gpu_ms"]


def test_an_endless_kernel_is_killed_after_its_budget_and_others_are_made_again(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    gate = Gate(front)
    began = time.monotonic()
    endless = client.invoking(bundle, VALUES, id="endless", budget_ms=700)
    neighbour = client.invoking(bundle, VALUES, id="neighbour")
    gate.wait_for(2)
    reply = endless.reply()
    assert (reply.body["state"], reply.body["error"]["code"]) == ("failed", "budget_exceeded")
    assert "computing" in reply.body["error"]["message"]
    # It does not answer the drop, so it is killed, and the neighbour runs on another.
    front.supervisor.executor_script = lambda _, __: False
    wait_until(lambda: any("budget" in reason for _, reason in front.supervisor.killed))
    assert time.monotonic() - began >= 0.7, "nobody is killed before the budget is spent"
    assert neighbour.reply().body["result"]["kaas"]["stats"]["attempts"] == 2
    assert_all_given_back(front)


def test_a_budget_spent_in_the_queue(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    gate = Gate(front)
    held = [client.invoking(bundle, VALUES) for _ in range(2)]
    gate.wait_for(2)
    reply = client.invoke(bundle, VALUES, budget_ms=100)
    assert reply.body["error"]["code"] == "budget_exceeded"
    assert "waiting for a slot" in reply.body["error"]["message"]
    gate.open()
    assert all(one.reply().body["state"] == "done" for one in held)
    assert not any("budget" in reason for _, reason in front.supervisor.killed)


def test_an_executor_that_never_greets_is_not_waited_for_beyond_the_budget(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)

    def spawn(supervisor: Any, frame: Frame) -> bool:
        if frame["role"] != "executor":
            return False
        supervisor.send({"type": "error", "id": frame["id"], "error": {"code": "sandbox_unavailable", "message": "no"}})
        return True

    front.supervisor.spawn_script = spawn
    reply = client.invoke(bundle, VALUES)
    assert (reply.body["state"], reply.body["error"]["code"]) == ("failed", "sandbox_unavailable")
    front.supervisor.spawn_script = lambda _, frame: frame["role"] == "executor"
    reply = client.invoke(bundle, VALUES, budget_ms=150)
    assert "loading inputs" in reply.body["error"]["message"]
    front.supervisor.spawn_script = lambda _, __: False


def test_an_idle_executor_is_stopped(tmp_path: Path) -> None:
    with FrontProcess(tmp_path / "state", "--idle-stop", "0.1") as front:
        client = front.client()
        assert client.invoke(client.upload(SAXPY), VALUES).body["state"] == "done"
        wait_until(lambda: not client.get("/v1/devices").body["devices"][0]["executors"])
        assert (front.supervisor.tenants()[0].child, "idle") in front.supervisor.killed
        assert client.invoke(client.upload(SAXPY), VALUES).body["state"] == "done"


def test_tenants_of_one_domain_share_an_executor_that_scrubs(tmp_path: Path) -> None:
    arguments = ["--domain-of", "alice=both", "--domain-of", "bob=both"]
    with FrontProcess(tmp_path / "state", *arguments) as front:
        for token in ("alice-token", "bob-token"):
            client = front.client(token)
            assert client.invoke(client.upload(SAXPY), VALUES).body["state"] == "done"
        [executor] = front.supervisor.tenants()
        assert executor.domain == "both"
        runs = [frame for frame in executor.heard if frame["type"] == "run"]
        assert [run.get("scrub") for run in runs] == [True, True]


# ***** the mover *****


def test_a_mover_that_dies_is_waited_for_and_the_attempt_made_again(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    front.mover.script = script = Script("load", nothing)
    pending = client.invoking(bundle, OBJECTS)
    front.mover.wait_until(lambda: bool(script.seen))
    front.mover.stop()
    front.mover.start()
    reply = pending.reply()
    assert reply.body["state"] == "done", reply.body
    assert reply.body["result"]["kaas"]["stats"]["attempts"] == 2
    assert len(set(front.mover.epochs)) == 2
    assert_all_given_back(front)


def test_results_lost_with_the_mover_are_computed_again(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    front.mover.script = script = Script("store", nothing)
    pending = client.invoking(bundle, OBJECTS)
    front.mover.wait_until(lambda: bool(script.seen))
    assert ("data", "z.npy") not in front.mover.objects
    front.mover.stop()
    front.mover.start()
    assert pending.reply().body["result"]["kaas"]["stats"]["attempts"] == 2
    assert front.mover.objects["data", "z.npy"].data.endswith(b"\x07" * 16)
    [executor] = front.supervisor.tenants()
    kinds = [frame["type"] for frame in executor.heard if frame.get("inv", "").endswith("/1")]
    assert kinds[-1] == "drop", "what was not stored is not kept"


def test_a_store_that_stays_away_fails_after_three_attempts(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    front.mover.script = script = Script("store", lambda peer, frame: peer.refuse(frame, "store_unreachable"), 9)
    reply = client.invoke(bundle, OBJECTS)
    assert (reply.body["state"], reply.body["error"]["code"]) == ("failed", "store_unreachable")
    assert len(script.seen) == 3
    assert_all_given_back(front)


@pytest.mark.parametrize(
    ("kind", "code"),
    [("load", "object_changed"), ("alloc", "store_not_configured"), ("store", "object_forbidden")],
)
def test_refusals_of_the_store_end_the_invocation_at_once(front: FrontProcess, kind: str, code: str) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    front.mover.script = Script(kind, lambda peer, frame: peer.refuse(frame, code))
    reply = client.invoke(bundle, OBJECTS)
    assert (reply.body["state"], reply.body["error"]["code"]) == ("failed", code)
    assert ("data", "z.npy") not in front.mover.objects
    assert client.invoke(bundle, OBJECTS).body["state"] == "done"
    assert_all_given_back(front)


def test_a_budget_spent_while_loading_cancels_the_load(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    front.mover.script = script = Script("load", nothing, times=2)
    reply = client.invoke(bundle, OBJECTS, budget_ms=300)
    assert reply.body["error"]["code"] == "budget_exceeded"
    assert "loading inputs" in reply.body["error"]["message"]
    front.mover.wait_until(lambda: len(front.mover.of("cancel")) == 2)
    assert sorted(frame["id"] for frame in front.mover.of("cancel")) == sorted(frame["id"] for frame in script.seen)
    assert_all_given_back(front)
    assert not any("budget" in reason for _, reason in front.supervisor.killed), "the executor gave it up by itself"


def test_a_budget_spent_while_storing(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    front.mover.script = Script("store", nothing)
    reply = client.invoke(bundle, OBJECTS, budget_ms=400)
    assert "storing results" in reply.body["error"]["message"], reply.body
    front.mover.wait_until(lambda: len(front.mover.of("cancel")) == 1)
    assert_all_given_back(front)


def test_an_answer_that_comes_too_late_is_given_back(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    peers: list[Any] = []
    front.mover.script = script = Script("alloc", lambda peer, _: peers.append(peer))
    reply = client.invoke(bundle, OBJECTS, budget_ms=300)
    assert reply.body["error"]["code"] == "budget_exceeded"
    peers[0].serve(script.seen[0])
    front.mover.wait_until(lambda: len(front.mover.of("release")) == 1)
    assert_all_given_back(front)


# ***** in-place outputs *****


def test_a_retry_knows_its_own_write(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(IN_PLACE)

    def store_and_die(peer: Any, frame: Frame) -> None:
        item = frame["object"]
        front.mover.put(item["bucket"], item["key"], b"written", frame["activation"])
        threading.Thread(target=restart).start()

    def restart() -> None:
        front.mover.stop()
        front.mover.start()

    front.mover.script = Script("store", store_and_die)
    reply = client.invoke(bundle, IN_PLACE_ARGUMENTS, id="mine")
    assert reply.body["state"] == "done", reply.body
    written = front.mover.objects["data", "x.npy"]
    assert (written.data, written.activation) == (b"written", "mine")
    assert reply.body["result"]["kaas"]["outputs"]["x"]["etag"] == written.etag
    assert len(front.mover.of("store")) == 1


@pytest.mark.parametrize("beside", [{}, {"also": "inline"}])
def test_what_was_left_does_not_change_an_object_twice(front: FrontProcess, beside: dict[str, str]) -> None:
    client = front.client()
    bundle = client.upload(IN_PLACE_AND_MORE if beside else IN_PLACE)
    arguments = {**IN_PLACE_ARGUMENTS, **beside}

    def store_silently(_: Any, frame: Frame) -> None:
        item = frame["object"]
        front.mover.put(item["bucket"], item["key"], npy(np.ones(4, np.float32)), frame["activation"])

    front.mover.script = script = Script("store", store_silently)
    with client.connection({"bundle": bundle, "arguments": arguments, "id": "mine"}):
        front.mover.wait_until(lambda: bool(script.seen))
    wait_until(lambda: client.get("/v1/invocations/mine").body["state"] == "cancelled")
    body = client.invoke(bundle, arguments, id="mine").body
    if beside:
        assert body["error"]["code"] == "object_changed", "what else it had to say is lost"
    else:
        assert body["result"]["kaas"]["outputs"]["x"]["etag"] == front.mover.objects["data", "x.npy"].etag
    assert len(front.mover.of("store")) == 1


def test_somebody_elses_write_is_a_conflict(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(IN_PLACE)

    def overtaken(peer: Any, frame: Frame) -> None:
        front.mover.put("data", "x.npy", b"theirs", "another")
        peer.serve(frame)

    front.mover.script = Script("store", overtaken)
    reply = client.invoke(bundle, IN_PLACE_ARGUMENTS)
    assert reply.body["error"]["code"] == "output_conflict"
    assert front.mover.objects["data", "x.npy"].data == b"theirs"


# ***** the front *****


def test_promised_invocations_survive_a_crash(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    gate = Gate(front)
    fixed = front.mover.objects["data", "x.npy"].etag
    assert client.invoke(bundle, OBJECTS, id="promised", wait_ms=0).status == 202
    waiting = client.invoking(bundle, {**OBJECTS, "z": "s3://data/other.npy"}, id="waiting")
    gate.wait_for(2)
    front.kill()
    with pytest.raises(OSError):
        waiting.reply()
    front.start()
    client = front.client()
    wait_until(lambda: client.get("/v1/invocations/promised").body.get("state") == "done")
    body = client.get("/v1/invocations/promised").body
    assert any("taken up again" in line["event"] for line in body["story"])
    assert ("data", "z.npy") in front.mover.objects
    loads = {frame["object"]["key"]: frame["object"]["etag"] for frame in front.mover.of("load")}
    assert loads["x.npy"] == fixed
    assert len(front.mover.of("stat")) == 2, "the versions are those of the acceptance"
    # What was only waited for is gone with the front, and its client asks again under the same id.
    assert client.get("/v1/invocations/waiting").code == "invocation_unknown"
    assert client.invoke(bundle, OBJECTS, id="promised").body["result"] == body["result"]


def test_delete_reaches_what_is_not_accepted_yet(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    front.mover.script = script = Script("stat", nothing)
    first = client.invoking(bundle, OBJECTS, id="looked-at")
    front.mover.wait_until(lambda: bool(script.seen))
    assert client.get("/v1/invocations/looked-at").body["state"] == "accepted"
    assert client.delete("/v1/invocations/looked-at").body["state"] == "cancelled"
    assert (first.reply().status, first.reply().code) == (409, "cancelled")
    assert client.get("/v1/invocations/looked-at").body["error"]["code"] == "cancelled"
    assert client.invoke(bundle, OBJECTS, id="looked-at").body["state"] == "cancelled"
    assert client.invoke(bundle, OBJECTS).body["state"] == "done"
    assert_all_given_back(front)


def test_delete_reaches_what_was_recovered_before_any_device_serves(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    gate = Gate(front)
    assert client.invoke(bundle, OBJECTS, id="promised", wait_ms=0).status == 202
    gate.wait_for(1)
    front.kill()
    front.start(wait_ready=False, spawns=False)
    client = front.client()
    assert client.delete("/v1/invocations/promised").body["state"] == "cancelled"
    with contextlib.closing(sqlite3.connect(front.state / "journal.sqlite")) as journal:
        wait_until(lambda: journal.execute("SELECT ended FROM invocations").fetchone()[0] is not None)
    front.kill()
    front.start()
    assert front.client().get("/v1/invocations/promised").body["state"] == "cancelled"
    assert not front.mover.of("store")


def test_outcomes_survive_a_crash_and_are_not_made_twice(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    gate = Gate(front, "supply")
    assert client.invoke(bundle, OBJECTS, id="early", wait_ms=0).status == 202
    gate.wait_for(1)
    gate.open()
    wait_until(lambda: client.get("/v1/invocations/early").body["state"] == "done")
    with sqlite3.connect(front.state / "journal.sqlite") as journal:
        wait_until(lambda: journal.execute("SELECT ended FROM invocations").fetchone()[0] is not None)
    journal.close()
    before = client.get("/v1/invocations/early").body
    front.kill()
    front.start()
    client = front.client()
    assert client.get("/v1/invocations/early").body == before
    assert client.invoke(bundle, OBJECTS, id="early").body["result"] == before["result"]
    assert client.invoke(bundle, VALUES, id="early").code == "id_conflict"
    assert len(front.mover.of("store")) == 1


def test_a_recovered_in_place_output_is_recognised(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(IN_PLACE)

    def store_silently(_: Any, frame: Frame) -> None:
        item = frame["object"]
        front.mover.put(item["bucket"], item["key"], b"written", frame["activation"])

    front.mover.script = script = Script("store", store_silently)
    assert client.invoke(bundle, IN_PLACE_ARGUMENTS, id="mine", wait_ms=0).status == 202
    front.mover.wait_until(lambda: bool(script.seen))
    front.kill()
    etag = front.mover.objects["data", "x.npy"].etag
    front.start()
    client = front.client()
    wait_until(lambda: client.get("/v1/invocations/mine").body.get("state") == "done")
    body = client.get("/v1/invocations/mine").body
    assert body["result"]["kaas"]["outputs"]["x"]["etag"] == etag
    assert len(front.mover.of("store")) == 1, "it was not scaled twice"


def test_executors_that_outlive_a_front_keep_their_cache(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    assert client.invoke(bundle, OBJECTS).body["state"] == "done"
    [old] = front.supervisor.tenants()
    front.kill()
    front.start(wait_ready=False)
    front.supervisor.adopt(old)
    wait_until(lambda: front.client(None).get("/healthz/ready").status == 200)
    wait_until(lambda: bool(front.client().get("/v1/devices").body["devices"][0]["executors"]))
    reply = front.client().invoke(bundle, OBJECTS)
    assert reply.body["result"]["kaas"]["stats"]["device_hits"] == 2
    assert len(front.supervisor.tenants()) == 1, "no other was started"


def test_sigterm_finishes_what_runs_and_refuses_more(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    gate = Gate(front)
    pending = client.invoking(bundle, VALUES)
    gate.wait_for(1)
    assert front.process is not None
    front.process.send_signal(signal.SIGTERM)
    wait_until(lambda: front.client(None).get("/healthz/ready").status == 503)
    refused = client.invoke(bundle, VALUES)
    assert (refused.status, refused.code) == (503, "pool_draining")
    gate.open()
    assert pending.reply().body["state"] == "done"
    assert front.process.wait(30) == 0


def test_an_upload_that_the_end_cuts_off_is_told_so(front: FrontProcess) -> None:
    compiling = threading.Event()
    front.supervisor.compiler_script = Script("compile", lambda compiler, _: compiling.set())
    text = SAXPY.replace("a * x[i]", "a * x[i] * 3.0f").encode()
    replies: list[Reply] = []
    client = front.client()
    upload = threading.Thread(
        target=lambda: replies.append(client.request("PUT", f"/v1/bundles/{digest_of(text)}", text))
    )
    upload.start()
    assert compiling.wait(30)
    assert front.process is not None
    front.process.send_signal(signal.SIGTERM)
    upload.join(30)
    (reply,) = replies
    assert (reply.status, reply.code) == (503, "pool_draining")
    assert front.process.wait(30) == 0


def test_the_front_ends_with_its_supervisor(front: FrontProcess) -> None:
    assert front.process is not None
    front.supervisor.close()
    assert front.process.wait(30) == 1


def test_compilers_that_die_are_reported_and_the_next_upload_works(front: FrontProcess) -> None:
    text = SAXPY.replace("a * x[i]", "a * x[i] * 1.0f")
    front.supervisor.compiler_script = Script("compile", lambda compiler, _: compiler.close())
    with pytest.raises(AssertionError, match="error"):
        front.client().upload(text)
    assert front.client().upload(text)


def test_a_compiler_that_lies_is_a_compile_that_failed(front: FrontProcess) -> None:
    lies = [{"type": "error", "error": "x"}, {"type": "compiled", "signatures": [], "log": 1, "seconds": "x"}]
    for lie in lies:
        front.supervisor.compiler_script = Script("compile", lambda compiler, _, lie=lie: compiler.send(lie))
        reply = front.client().request("PUT", f"/v1/bundles/{digest_of(SAXPY.encode())}", SAXPY.encode())
        assert (reply.status, reply.code) == (400, "compile_error")
    assert front.client().upload(SAXPY)
