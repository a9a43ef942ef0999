"""`ack: device`: what is acknowledged before its PUT, who sees it, in what order it is stored, and how it is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from front_peers import ScriptedExecutor
from front_process import IN_PLACE, SAXPY, FrontProcess, HttpClient, Pending, Reply, wait_until
from test_front_faults import Script, assert_all_given_back, nothing
from test_front_freshness import Calls, loaded, refresh, stats_of
from test_front_invocations import Gate, npy

from kaas_pool.frames import Frame

MIDDLE = "s3://data/middle.npy"
EAGER = SAXPY.replace("kaas: 1\n", "kaas: 1\nack: device\n")

#: What scripted executors compute.
SEVENS = b"\x07" * 8


@pytest.fixture
def front(tmp_path: Path) -> Iterator[FrontProcess]:
    """A front whose executors keep what they adopt."""
    with FrontProcess(tmp_path / "state") as running:
        running.supervisor.executor_script = adopt
        yield running


def adopt(executor: ScriptedExecutor, frame: Frame) -> bool:
    if frame["type"] == "adopt":
        executor.resident |= dict.fromkeys(frame["keys"].values(), 8)
    elif frame["type"] == "rename":
        # The former key finds it, too.
        executor.resident |= {new: 8 for old, new in frame["keys"].items() if old in executor.resident}
    return False


class Puts:
    """Holds PUTs back until they are released, in the order they came."""

    def __init__(self, front: FrontProcess) -> None:
        self.front = front
        self.held: list[tuple[Any, Frame]] = []
        front.mover.script = self._hold

    def _hold(self, peer: Any, frame: Frame) -> bool:
        is_put: bool = frame["type"] == "store"
        if is_put:
            self.held.append((peer, frame))
        return is_put

    def next(self) -> tuple[Any, Frame]:
        """The oldest that is held, taken out."""
        self.front.mover.wait_until(lambda: bool(self.held))
        return self.held.pop(0)

    def release(self) -> None:
        """Carry the oldest out."""
        peer, frame = self.next()
        peer.serve(frame)

    def refuse(self, code: str) -> None:
        """Refuse the oldest."""
        peer, frame = self.next()
        peer.refuse(frame, code)


def first(client: HttpClient, bundle: str = EAGER, **more: Any) -> dict[str, Any]:
    """Write MIDDLE through the pool; the result."""
    reply = Calls(client, bundle, {"x": [1.0, 2.0], "y": [0.0, 0.0], "z": MIDDLE, **more})()
    assert reply.body["state"] == "done", reply
    result: dict[str, Any] = reply.body["result"]
    return result


def following(client: HttpClient, kaas: object = None, **more: Any) -> Reply:
    """Run an action on MIDDLE."""
    return Calls(client, SAXPY, {"x": MIDDLE, "y": [1.0, 1.0], "z": "inline", "kaas": kaas, **more})()


def stats(reply: Reply) -> tuple[int, int, int]:
    """Where the object that a call reads was found: device, host, store."""
    assert reply.body.get("state") == "done", reply
    found = reply.body["result"]["kaas"]["stats"]
    return found["device_hits"], found["host_hits"], found["misses"]


def version_of(result: dict[str, Any]) -> str:
    """The version in the etag's place."""
    assert "etag" not in result["kaas"]["outputs"]["z"]
    version: str = result["kaas"]["outputs"]["z"]["version"]
    return version


def outcome(client: HttpClient, result: dict[str, Any]) -> dict[str, Any]:
    """What GET says of the invocation that wrote MIDDLE."""
    body: dict[str, Any] = client.get(f"/v1/invocations/{version_of(result).partition('/')[0]}").body
    return body


def ended(client: HttpClient, result: dict[str, Any], how: str) -> dict[str, Any]:
    """Wait until GET says that the output is stored or lost; what it says of it."""
    wait_until(lambda: how in outcome(client, result)["result"]["kaas"]["outputs"]["z"])
    body = outcome(client, result)
    assert body["state"] == "done"
    word = "stored z" if how == "etag" else "lost z"
    assert body["story"][-1]["event"].startswith(word), body["story"]
    assert (body["result"]["z"], version_of(result)) == (MIDDLE, body["result"]["kaas"]["outputs"]["z"]["version"])
    return dict(body["result"]["kaas"]["outputs"]["z"])


def is_lost(reply: Reply, why: str) -> None:
    """A refusal that names the object, says why, and what to do."""
    assert (reply.status, reply.code) == (410, "output_lost"), reply
    error = reply.body["error"]
    assert MIDDLE in error["message"]
    assert re.search(why, error["message"]), error
    assert error["where"] == "arguments.x"
    assert "run the action that makes it again" in error["hint"]


def middle(front: FrontProcess) -> Any:
    """MIDDLE as the store has it, or None."""
    return front.mover.objects.get(("data", "middle.npy"))


# ***** seen before it is stored *****


def test_the_next_action_has_it_while_it_is_being_stored(front: FrontProcess) -> None:
    puts, client = Puts(front), front.client()
    result = first(client)
    assert middle(front) is None
    for kaas in (result["kaas"], None):
        for freshness in ("always", "max_age=100"):
            assert stats(following(client, kaas, freshness=freshness)) == (1, 0, 0)
    assert stats_of(front) == 1, "only where the tenant's store is: no object was looked at"
    assert "stored z" not in str(outcome(client, result)["story"])
    puts.release()
    found = ended(client, result, "etag")
    assert middle(front).data.endswith(SEVENS)
    assert (found["etag"], version_of(result)) == (middle(front).etag, middle(front).activation)
    assert stats(following(client, result["kaas"])) == (1, 0, 0), "it has the etag's key now"
    assert stats(following(client, {"outputs": {"z": found}})) == (1, 0, 0)
    assert (stats_of(front), loaded(front)) == (1, [])
    assert_all_given_back(front)


def test_another_device_gets_it_from_the_host_tier(front: FrontProcess) -> None:
    puts, client = Puts(front), front.client()
    result = first(client)
    front.supervisor.tenants()[0].die()
    assert stats(following(client)) == (0, 1, 0)
    supplies = [frame for frame in front.supervisor.tenants()[-1].heard if frame["type"] == "supply"]
    assert [(frame["offset"], frame["size"]) for frame in supplies if "data" not in frame] == [(0, 8)]
    part = f"{MIDDLE}?offset={128 + 4}&size=4"
    assert stats(following(client, x=part, y=[0.0])) == (0, 1, 0)
    assert front.mover.leased
    puts.release()
    ended(client, result, "etag")
    front.supervisor.tenants()[-1].resident.clear()
    assert stats(following(client, result["kaas"])) == (0, 0, 1)
    assert_all_given_back(front)


def test_who_was_accepted_with_a_version_keeps_it(front: FrontProcess) -> None:
    puts, client = Puts(front), front.client()
    result = first(client)
    gate = Gate(front)
    waiting = [client.invoking(client.upload(SAXPY), {"x": MIDDLE, "y": [1.0, 1.0], "z": "inline"}) for _ in range(2)]
    gate.wait_for(2)
    puts.release()
    ended(client, result, "etag")
    front.supervisor.tenants()[0].resident.clear()
    gate.open()
    for one in waiting:
        assert one.reply().body["state"] == "done"
    assert {frame["object"]["etag"] for frame in front.mover.of("load")} == {middle(front).etag}


NEEDY: dict[str, tuple[str, dict[str, Any]]] = {
    "in place": (IN_PLACE, {"x": MIDDLE, "w": [2.0]}),
    "over its input": (SAXPY, {"x": MIDDLE, "y": [1.0, 1.0], "z": MIDDLE}),
    "pinned": (SAXPY.replace("y: {io: in,", "y: {io: const,"), {"x": [1.0, 1.0], "y": MIDDLE, "z": "inline"}),
    "header": (SAXPY, {"x": f"{MIDDLE}?offset=0&size=8", "y": [1.0, 1.0], "z": "inline"}),
}


@pytest.mark.parametrize("case", NEEDY)
def test_what_needs_the_store_waits_for_it(front: FrontProcess, case: str) -> None:
    puts, client = Puts(front), front.client()
    result = first(client)
    bundle, arguments = NEEDY[case]
    waiting = client.invoking(client.upload(bundle), arguments, id="waiting")
    wait_until(lambda: client.get("/v1/invocations/waiting").status == 200)
    assert client.get("/v1/invocations/waiting").body["state"] == "accepted"
    peer, frame = puts.next()
    front.mover.script = lambda _, __: False
    peer.serve(frame)
    etag = ended(client, result, "etag")["etag"]
    assert waiting.reply().body["state"] == "done"
    assert set(loaded(front)) <= {etag}
    assert {frame.get("if_match", etag) for frame in front.mover.of("store")} == {etag}


def test_others_see_what_the_store_has(front: FrontProcess) -> None:
    puts, client, bob = Puts(front), front.client(), front.client("bob-token")
    result = first(client)
    assert following(bob).code == "object_not_found"
    is_lost(following(bob, result["kaas"]), "may have been lost")
    front.mover.put("data", "middle.npy", npy(np.ones(2, np.float32)))
    assert stats(following(bob)) == (0, 0, 1)
    is_lost(following(bob, result["kaas"]), "may have been lost")
    assert stats(following(client)) == (1, 0, 0)
    puts.release()
    ended(client, result, "etag")
    assert stats(following(bob, result["kaas"])) == (0, 0, 1), "from the store, under its own rights"
    assert loaded(front)[-1] == middle(front).etag


@pytest.mark.parametrize("forged", ["", "forged", "a/0123456789abcdef", "x" * 5000])
def test_a_forged_version_gives_nothing(front: FrontProcess, forged: str) -> None:
    client = front.client()
    front.mover.put("data", "middle.npy", npy(np.ones(2, np.float32)), activation="another")
    is_lost(following(client, {"outputs": {"z": {"ref": MIDDLE, "version": forged}}}), "may have been lost")
    assert loaded(front) == []
    assert stats(following(client, {"outputs": {"z": {"ref": "s3://data/other.npy", "version": forged}}})) == (0, 0, 1)


def test_a_stale_version_gives_the_present_one(front: FrontProcess) -> None:
    puts, client = Puts(front), front.client()
    old = first(client)
    puts.release()
    ended(client, old, "etag")
    new = first(client)
    assert stats(following(client, old["kaas"])) == (1, 0, 0), "the newest, which is under way"
    puts.release()
    etag = ended(client, new, "etag")["etag"]
    front.supervisor.tenants()[0].resident.clear()
    assert stats(following(client, old["kaas"])) == (0, 0, 1)
    assert loaded(front) == [etag]


# ***** order and bounds *****


def test_puts_of_one_object_go_out_in_order(front: FrontProcess) -> None:
    puts, client = Puts(front), front.client()
    results = [first(client), first(client)]
    other = client.invoke(client.upload(EAGER), {"x": [1.0], "y": [1.0], "z": "s3://data/other.npy"}).body["result"]
    durable = client.invoking(client.upload(SAXPY), {"x": [1.0, 2.0], "y": [1.0, 1.0], "z": MIDDLE}, id="durable")
    wait_until(lambda: "computed" in str(client.get("/v1/invocations/durable").body.get("story")))
    front.mover.wait_until(lambda: len(puts.held) == 2)
    assert [frame["activation"] for _, frame in puts.held] == [version_of(results[0]), version_of(other)]
    puts.release()
    puts.release()
    puts.release()
    assert not durable.is_done
    puts.release()
    assert durable.reply().body["state"] == "done"
    sent = [frame["activation"] for frame in front.mover.of("store") if frame["object"]["key"] == "middle.npy"]
    assert sent == [*map(version_of, results), "durable"]
    assert [ended(client, result, "etag")["etag"] != middle(front).etag for result in results] == [True, True]


def test_what_would_be_too_much_is_answered_when_it_is_stored(front: FrontProcess) -> None:
    client = front.client()
    epochs = len(front.mover.epochs)

    def small(peer: Any, frame: Frame) -> bool:
        if frame["type"] != "hello":
            return False
        front.mover.epochs.append(frame["epoch"])
        peer.send({"type": "hello", "epoch": frame["epoch"], "boot": "b", "host_bytes": 8 * 4096})
        return True

    front.mover.stop()
    front.mover.script = small
    front.mover.start()
    front.mover.wait_until(lambda: len(front.mover.epochs) > epochs)
    wait_until(lambda: client.get("/healthz/ready").status == 200)
    puts = Puts(front)
    results = [first(client, outputs="s3://data/many", z=f"s3://data/{number}.npy") for number in range(2)]
    bundle = client.upload(EAGER)
    more = client.invoking(bundle, {"x": [1.0], "y": [1.0], "z": MIDDLE}, id="more")
    front.mover.wait_until(lambda: len(puts.held) == 3)
    assert not more.is_done
    for _ in range(3):
        puts.release()
    stored = more.reply().body["result"]["kaas"]["outputs"]["z"]
    assert (stored["etag"], stored.get("version")) == (middle(front).etag, None)
    assert all(version_of(result) for result in results)
    assert_all_given_back(front)


def test_what_is_acknowledged_is_not_cancelled(front: FrontProcess) -> None:
    puts, client = Puts(front), front.client()
    result = first(client)
    identifier = version_of(result).partition("/")[0]
    assert client.delete(f"/v1/invocations/{identifier}").body["state"] == "done"
    assert client.post("/v1/cache/purge", {}).status == 200
    puts.release()
    ended(client, result, "etag")


def test_cancelled_before_its_acknowledgement_it_leaves_nothing(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(EAGER)
    # It is about to be acknowledged when it asks where its tenant's store is.
    front.mover.script = script = Script("stat", nothing)
    pending = client.invoking(bundle, {"x": [1.0], "y": [1.0], "z": MIDDLE}, id="early")
    front.mover.wait_until(lambda: bool(script.seen))
    client.delete("/v1/invocations/early")
    assert pending.reply().body["state"] == "cancelled"
    assert_all_given_back(front)
    assert front.mover.of("store") == []
    assert following(client).code == "object_not_found"


def test_sigterm_waits_for_what_is_under_way(front: FrontProcess) -> None:
    puts = Puts(front)
    first(front.client())
    stopping = Pending(lambda: Reply(front.terminate(), None, {}))
    # Nothing more is taken, and the PUT is still there to end.
    wait_until(lambda: front.client().get("/healthz/ready").status == 503)
    puts.release()
    assert stopping.reply().status == 0
    assert middle(front).data.endswith(SEVENS)
    front.start()
    assert stats(following(front.client())) == (0, 0, 1)
    assert stats_of(front) == 2, "nothing is in doubt"


# ***** lost *****


def test_what_the_store_refuses_is_lost(front: FrontProcess) -> None:
    puts, client = Puts(front), front.client()
    front.mover.put("data", "middle.npy", npy(np.ones(2, np.float32)))
    result = first(client)
    puts.refuse("object_forbidden")
    lost = ended(client, result, "lost")["lost"]
    assert (lost["code"], "etag" in lost) == ("output_lost", False)
    for kaas in (None, result["kaas"]):
        is_lost(following(client, kaas), "scripted")
    assert loaded(front) == [], "never the older object"
    assert 'kaas_lost_outputs_total{tenant="alice"} 1.0' in client.get("/metrics").body
    assert stats(following(front.client("bob-token"))) == (0, 0, 1)
    assert refresh(client, reference=MIDDLE) == 0
    assert stats(following(client)) == (0, 1, 0)
    is_lost(following(client, result["kaas"]), "scripted")
    assert_all_given_back(front)


def test_where_the_store_lets_nobody_look_it_is_lost_all_the_same(front: FrontProcess) -> None:
    puts, client = Puts(front), front.client()
    result = first(client)
    puts.refuse("object_forbidden")
    ended(client, result, "lost")
    front.mover.script = lambda peer, frame: peer.refuse_look(frame, "object_forbidden")
    for kaas in (None, result["kaas"]):
        is_lost(following(client, kaas), "scripted")
    strange = front.client("bob-token")
    assert following(strange, result["kaas"]).code == "object_forbidden", "another's word changes nothing"
    assert_all_given_back(front)


@pytest.mark.parametrize("ack", ["durable", "device"])
def test_writing_it_anew_makes_it_good(front: FrontProcess, ack: str) -> None:
    puts, client = Puts(front), front.client()
    result = first(client)
    puts.refuse("bucket_not_found")
    ended(client, result, "lost")
    is_lost(following(client), "scripted")
    front.mover.script = lambda _, __: False
    again = first(client, ack=ack)
    assert stats(following(client, again["kaas"])) == (1, 0, 0)
    if ack == "device":
        ended(client, again, "etag")
    front.supervisor.tenants()[0].resident.clear()
    assert stats(following(client)) == (0, 0, 1)


def test_the_stores_trouble_is_outlasted(front: FrontProcess) -> None:
    puts, client = Puts(front), front.client()
    result = first(client, id="brief")
    for code in ("store_unreachable", "store_error"):
        puts.refuse(code)
    puts.release()
    ended(client, result, "etag")
    events = [line["event"] for line in outcome(client, result)["story"]]
    assert [event.split(":")[:2] for event in events if "again" in event] == [
        ["storing z again", " store_unreachable"],
        ["storing z again", " store_error"],
    ]


@pytest.mark.parametrize("through", [True, False])
def test_a_mover_that_dies_may_have_stored_it(front: FrontProcess, through: bool) -> None:
    puts, client = Puts(front), front.client()
    result = first(client)
    puts.next()
    front.mover.script = lambda _, __: False
    front.mover.stop()
    front.mover.start()
    ended(client, result, "lost")
    if through:
        etag = front.mover.put("data", "middle.npy", npy(np.ones(2, np.float32)), activation=version_of(result))
        assert stats(following(client, result["kaas"])) == (0, 0, 1)
        assert stats(following(client)) == (1, 0, 0)
        assert loaded(front) == [etag]
    else:
        for kaas in (None, result["kaas"]):
            is_lost(following(client, kaas), "lost with the mover|mover restarted")


@pytest.mark.parametrize("through", [True, False])
def test_a_front_that_dies_may_have_stored_it(front: FrontProcess, through: bool) -> None:
    puts = Puts(front)
    front.mover.put("data", "middle.npy", npy(np.ones(2, np.float32)), activation="older")
    result = first(front.client())
    puts.next()
    front.mover.script = lambda _, __: False
    front.kill()
    front.start()
    client = front.client()
    if not through:
        for kaas in (None, result["kaas"]):
            is_lost(following(client, kaas), "restarted before its PUT ended")
        front.kill()
        front.start()
        client = front.client()
        is_lost(following(client), "restarted before its PUT ended")
        assert refresh(client) == 0
        assert stats(following(client)) == (0, 0, 1)
        return
    etag = front.mover.put("data", "middle.npy", npy(np.ones(2, np.float32)), activation=version_of(result))
    assert stats(following(client)) == (0, 0, 1)
    assert stats(following(client, result["kaas"])) == (1, 0, 0)
    assert loaded(front) == [etag]
    before = stats_of(front)
    front.kill()
    front.start()
    assert stats(following(front.client())) == (0, 1, 0)
    assert stats_of(front) == before + 1, "nothing is in doubt any more"


@pytest.mark.parametrize("through", [True, False])
def test_an_invocation_on_disk_keeps_its_version_over_a_restart(front: FrontProcess, through: bool) -> None:
    puts, client = Puts(front), front.client()
    result = first(client)
    puts.next()
    Gate(front)
    call = {"x": MIDDLE, "y": [1.0, 1.0], "z": "inline"}
    assert client.invoke(client.upload(SAXPY), call, id="later", wait_ms=0).status == 202
    front.mover.script = lambda _, __: False
    front.kill()
    if through:
        front.mover.put("data", "middle.npy", npy(np.ones(2, np.float32)), activation=version_of(result))
    front.start()
    client = front.client()
    wait_until(lambda: client.get("/v1/invocations/later").body["state"] in ("done", "failed"))
    body = client.get("/v1/invocations/later").body
    assert body["state"] == ("done" if through else "failed"), body
    assert through or body["error"]["code"] == "output_lost"


def test_the_outcome_of_an_invocation_on_disk_is_amended_there(front: FrontProcess) -> None:
    puts, client = Puts(front), front.client()
    bundle = client.upload(EAGER)
    call = {"x": [1.0, 2.0], "y": [0.0, 0.0], "z": MIDDLE}
    assert client.invoke(bundle, call, id="kept", wait_ms=0).status == 202
    wait_until(lambda: client.get("/v1/invocations/kept").body["state"] == "done")
    result = client.get("/v1/invocations/kept").body["result"]
    puts.release()
    etag = ended(client, result, "etag")["etag"]
    client.upload(SAXPY)  # What is written after it is on disk no earlier.
    front.kill()
    front.start()
    found = front.client().get("/v1/invocations/kept").body["result"]["kaas"]["outputs"]["z"]
    assert (found["version"], found["etag"]) == (version_of(result), etag)
