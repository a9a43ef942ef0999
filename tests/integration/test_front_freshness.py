"""Which versions a front computes with: pinned ones, their rights, and what lets go of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from front_process import IN_PLACE, SAXPY, FrontProcess, HttpClient, Reply, wait_until
from kaas_command import kaas
from test_front_invocations import npy

from kaas.client import PoolClient, bearer
from kaas.errors import KaasError
from kaas_pool.frames import Frame

ARGUMENTS: dict[str, Any] = {"x": {"from": [1.0, 2.0], "to": "inline"}, "w": "s3://data/w.npy"}

#: Rights are looked at again at every call that comes later than this, in seconds.
SHORT = "0.05"


@pytest.fixture
def front(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[FrontProcess]:
    """A front with a constant in its store; `parametrize("front", [...], indirect=True)` gives it arguments."""
    with FrontProcess(tmp_path / "state", *getattr(request, "param", ())) as running:
        running.mover.put("data", "w.npy", npy(np.ones(1, np.float32)))
        yield running


short = pytest.mark.parametrize("front", [("--authorisation", SHORT)], indirect=True)


class Calls:
    """The same call again and again."""

    def __init__(self, client: HttpClient, bundle: str = IN_PLACE, arguments: dict[str, Any] | None = None) -> None:
        self.client = client
        self.bundle = client.upload(bundle)
        self.arguments = arguments or ARGUMENTS

    def __call__(self) -> Reply:
        return self.client.invoke(self.bundle, self.arguments)

    def done(self) -> dict[str, Any]:
        """Call, and have it go well; its statistics."""
        reply = self()
        assert reply.body.get("state") == "done", reply
        stats: dict[str, Any] = reply.body["result"]["kaas"]["stats"]
        return stats

    def until(self, code: str) -> Reply:
        """Call until it is refused like this."""
        replies: list[Reply] = []

        def is_refused() -> bool:
            replies.append(self())
            return "error" in replies[-1].body and replies[-1].code == code

        wait_until(is_refused)
        return replies[-1]


def stats_of(front: FrontProcess) -> int:
    """How often the store was looked at."""
    return len(front.mover.of("stat"))


def refresh(client: HttpClient, **fields: str) -> int:
    """POST /v1/cache/refresh"""
    reply = client.post("/v1/cache/refresh", fields)
    assert reply.status == 200, reply
    return int(reply.body["refreshed"])


@short
def test_rights_are_looked_at_again(front: FrontProcess) -> None:
    call = Calls(front.client())
    call.done()
    wait_until(lambda: call.done() and stats_of(front) >= 3)
    first, *others = front.mover.of("stat")
    assert first["head_bytes"] > 0
    assert {frame["head_bytes"] for frame in others} == {0}, "rights need no bytes"
    assert len(front.mover.of("load")) == 1


def test_within_their_lifetime_rights_are_believed(front: FrontProcess) -> None:
    call = Calls(front.client())
    for _ in range(5):
        call.done()
    # Another call over the same constant, too.
    Calls(front.client(), arguments={**ARGUMENTS, "x": {"from": [5.0], "to": "inline"}}).done()
    assert stats_of(front) == 1


@short
@pytest.mark.parametrize(
    ("code", "status"), [("object_not_found", 404), ("object_forbidden", 403), ("bucket_not_found", 404)]
)
def test_a_right_that_is_gone_is_its_error(front: FrontProcess, code: str, status: int) -> None:
    call = Calls(front.client())
    call.done()

    front.mover.script = lambda peer, frame: peer.refuse_look(frame, code)
    reply = call.until(code)
    assert reply.status == status
    assert reply.body["error"]["where"] == "arguments.w"
    assert call().code == code, "and stays so"
    front.mover.script = lambda _, __: False
    call.done()


@short
def test_another_version_is_refused_until_it_is_refreshed(front: FrontProcess) -> None:
    alice, bob = Calls(front.client()), Calls(front.client("bob-token"))
    alice.done(), bob.done()
    old = front.mover.objects["data", "w.npy"]
    front.mover.put("data", "w.npy", npy(np.full(1, 2, np.float32)))
    for call in (alice, bob):
        reply = call.until("object_changed")
        assert reply.status == 409
        assert reply.body["error"]["where"] == "arguments.w"
        assert old.etag in reply.body["error"]["message"]
        assert "refresh" in reply.body["error"]["hint"]
    assert refresh(alice.client) == 1
    assert alice.done()["misses"] == 1
    assert bob().code == "object_changed", "what others pinned is untouched"
    front.mover.objects["data", "w.npy"] = old
    bob.done()
    alice.until("object_changed")


def test_what_is_refreshed_stays_so_after_a_restart(front: FrontProcess) -> None:
    call = Calls(front.client())
    call.done()
    front.mover.put("data", "w.npy", npy(np.full(1, 2, np.float32)))
    call.done()
    assert refresh(call.client) == 1
    front.kill()
    front.start()
    call = Calls(front.client())
    call.done()
    present = front.mover.objects["data", "w.npy"].etag
    assert front.mover.of("load")[-1]["object"]["etag"] == present
    front.mover.put("data", "w.npy", npy(np.full(1, 3, np.float32)))
    front.kill()
    front.start()
    assert Calls(front.client())().code == "object_changed", "the new pin is on disk, and looked at after a restart"


def test_only_what_agrees_is_refreshed(front: FrontProcess) -> None:
    client = front.client()
    one = Calls(client)
    front.mover.put("data", "v.npy", npy(np.ones(1, np.float32)))
    two = Calls(client, arguments={**ARGUMENTS, "w": "s3://data/v.npy"})
    three = Calls(client, IN_PLACE.replace("name: scale", "name: other"))
    for call in (one, two, three):
        call.done()
    assert refresh(client, buffer="x") == 0
    assert refresh(client, reference="s3://data/none.npy") == 0
    assert refresh(client, bundle=f"sha256:{'0' * 64}") == 0
    assert refresh(client, bundle=one.bundle, reference="s3://data/v.npy", buffer="w") == 1
    assert refresh(client, bundle=three.bundle) == 1
    assert refresh(client, reference="s3://data/w.npy") == 1
    before = stats_of(front)
    for call in (one, two, three):
        call.done()
    assert stats_of(front) == before + 3
    assert refresh(client) == 3
    assert refresh(client) == 0


@pytest.mark.parametrize(
    ("body", "code", "where"),
    [
        ({"bundle": "sha256:1"}, "request_invalid", "bundle"),
        ({"buffer": 1}, "request_invalid", "buffer"),
        ({"reference": ["s3://data/w.npy"]}, "request_invalid", "reference"),
        ({"reference": "data/w.npy"}, "reference_invalid", "reference"),
        ({"refrence": "s3://data/w.npy"}, "request_invalid", None),
        ([], "request_invalid", None),
    ],
)
def test_refreshes_that_make_no_sense(front: FrontProcess, body: Any, code: str, where: str | None) -> None:
    reply = front.client().post("/v1/cache/refresh", body)
    assert reply.code == code
    assert reply.body["error"].get("where") == where


def test_a_refresh_needs_no_body_but_the_scope(front: FrontProcess) -> None:
    assert front.client().request("POST", "/v1/cache/refresh").body == {"refreshed": 0}
    assert front.client("reader-token").request("POST", "/v1/cache/refresh").code == "scope_missing"


def test_the_client_refreshes(front: FrontProcess) -> None:
    call = Calls(front.client())
    call.done()
    with PoolClient(f"http://127.0.0.1:{front.port}", bearer("alice-token")) as client:
        assert client.refresh(buffer="other") == 0
        assert client.refresh(bundle=call.bundle, buffer="w", reference="s3://data/w.npy") == 1
        with pytest.raises(KaasError) as caught:
            client.refresh(reference="nonsense")
    assert caught.value.code == "reference_invalid"


def test_the_command_refreshes(front: FrontProcess, tmp_path: Path) -> None:
    call = Calls(front.client())
    call.done()
    environment = {"KAAS_POOL_URL": f"http://127.0.0.1:{front.port}", "KAAS_TOKEN": "alice-token"}
    action = tmp_path / "action.yaml"
    action.write_text(IN_PLACE)

    def said(*words: str) -> tuple[int, str]:
        ended = kaas("cache", "refresh", *words, environment=environment)
        return ended.returncode, ended.stdout + ended.stderr

    assert said("--buffer", "other") == (0, "0 pinned versions forgotten\n")
    assert said("--bundle", str(action), "--reference", "s3://data/w.npy") == (0, "1 pinned version forgotten\n")
    call.done()
    assert said("--bundle", call.bundle) == (0, "1 pinned version forgotten\n")
    status, text = said("--reference", "data/w.npy")
    assert status == 1
    assert "s3://bucket/key" in text
    assert said("--bundle", "nowhere")[0] == 1


class Held:
    """Keeps the mover's answers of one kind back. What they say is settled when the request comes."""

    def __init__(self, front: FrontProcess, kind: str) -> None:
        self._kind = kind
        self._answers: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._front = front
        front.mover.script = self._hold

    def _hold(self, peer: Any, frame: Frame) -> bool:
        if frame["type"] != self._kind:
            return False
        objects = [peer._stat(item) for item in frame["objects"]]
        with self._lock:
            self._answers.append(lambda: peer.answer(frame, "stat", origin="store", objects=objects))
        return True

    def wait_for(self, count: int) -> None:
        """Wait until so many are held."""
        wait_until(lambda: len(self._answers) >= count)

    def release(self) -> None:
        """Give all the answers, and hold no more."""
        self._front.mover.script = lambda _, __: False
        with self._lock:
            for answer in self._answers:
                answer()


def test_what_was_asked_before_a_refresh_is_not_pinned_after_it(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(IN_PLACE)
    held = Held(front, "stat")
    pending = client.invoking(bundle, ARGUMENTS)
    held.wait_for(1)
    etag = front.mover.put("data", "w.npy", npy(np.full(1, 2, np.float32)))
    assert refresh(client) == 0
    held.release()
    assert pending.reply().body["state"] == "done"
    assert [frame["object"]["etag"] for frame in front.mover.of("load")] == [etag]
    assert client.invoke(bundle, ARGUMENTS).body["state"] == "done"
    assert stats_of(front) == 2


def test_calls_that_pin_at_one_moment_agree(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(IN_PLACE)
    held = Held(front, "stat")
    pending = [client.invoking(bundle, ARGUMENTS) for _ in range(4)]
    held.wait_for(4)
    held.release()
    assert [one.reply().body["state"] for one in pending] == ["done"] * 4
    assert refresh(client) == 1


def test_a_pinned_version_that_cannot_be_loaded_any_more_says_what_helps(front: FrontProcess) -> None:
    call = Calls(front.client())
    call.done()
    front.mover.put("data", "w.npy", npy(np.full(1, 2, np.float32)))
    front.supervisor.tenants()[0].resident.clear()
    reply = call()
    assert (reply.body["state"], reply.code) == ("failed", "object_changed")
    assert "refresh" in reply.body["error"]["hint"]
    assert call().status == 409, "the next one is not accepted, though the rights were looked at a moment ago"
    assert refresh(call.client) == 1
    call.done()


def test_a_cancelled_attempt_that_gives_back_keeps_no_slot(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(IN_PLACE)
    executors: list[Any] = []

    def silent(executor: Any, frame: Frame) -> bool:
        """Do not answer when the front drops a run."""
        if frame["type"] == "drop":
            executors.append((executor, frame))
        return bool(frame["type"] == "drop")

    front.supervisor.executor_script = silent
    front.mover.script = lambda peer, frame: frame["type"] == "load" and peer.refuse(frame, "object_forbidden")
    pending = client.invoking(bundle, ARGUMENTS, id="lost")
    # Its load has failed; the executor is asked to let go and does not say that it has.
    wait_until(lambda: executors)
    assert client.delete("/v1/invocations/lost").body["state"] == "cancelled"
    assert pending.reply().body["state"] == "cancelled"
    executor, frame = executors[0]
    with executor.acting:
        executor.act(frame, [])
    wait_until(lambda: front.client("admin-token").get("/v1/devices").body["devices"][0]["busy"] == 0)
    front.mover.wait_until(lambda: not front.mover.leased)


# ***** inputs that are not const *****

X: dict[str, Any] = {"x": "s3://data/x.npy", "y": [1.0, 1.0], "z": "inline"}


def put_x(front: FrontProcess, *values: float) -> str:
    """A version of x; its etag."""
    return front.mover.put("data", "x.npy", npy(np.array(values, np.float32)))


def fresh(freshness: Any, **more: Any) -> dict[str, Any]:
    """The arguments of a call that says how fresh its x must be."""
    return {**X, "freshness": freshness, **more}


def loaded(front: FrontProcess) -> list[str]:
    """The etags of all loads so far."""
    return [frame["object"]["etag"] for frame in front.mover.of("load")]


def test_within_its_age_an_answer_serves_again(front: FrontProcess) -> None:
    old = put_x(front, 1, 2)
    always = Calls(front.client(), SAXPY, X)
    aged = Calls(front.client(), SAXPY, fresh({"x": "max_age=100"}))
    aged.done()
    new = put_x(front, 3, 4)
    aged.done()
    assert stats_of(front) == 1
    assert always.done()["misses"] == 1
    assert stats_of(front) == 2
    # What another call saw is the last answer to this tenant, too.
    aged.done()
    assert (stats_of(front), loaded(front)) == (2, [old, new])
    Calls(front.client("bob-token"), SAXPY, fresh("max_age=100")).done()
    assert stats_of(front) == 3, "what others saw is theirs"


def test_an_answer_that_is_too_old_is_asked_for_again(front: FrontProcess) -> None:
    old, aged = put_x(front, 1, 2), Calls(front.client(), SAXPY, fresh(f"max_age={SHORT}"))
    aged.done()
    new = put_x(front, 3, 4)
    wait_until(lambda: aged.done()["misses"])
    assert loaded(front) == [old, new]


@short
def test_no_age_is_beyond_the_lifetime_of_a_right(front: FrontProcess) -> None:
    put_x(front, 1, 2)
    aged = Calls(front.client(), SAXPY, fresh("max_age=1000"))
    wait_until(lambda: aged.done() and stats_of(front) > 2)


def test_the_smallest_age_of_an_object_counts(front: FrontProcess) -> None:
    put_x(front, 1, 2)
    both = {"y": "s3://data/x.npy"}
    Calls(front.client(), SAXPY, fresh("max_age=100", **both)).done()
    Calls(front.client(), SAXPY, fresh({"x": "max_age=100", "y": "max_age=1000"}, **both)).done()
    assert stats_of(front) == 1
    Calls(front.client(), SAXPY, fresh({"x": "max_age=1000"}, **both)).done()
    Calls(front.client(), SAXPY, fresh({"x": "max_age=1000", "y": "max_age=0.000001"}, **both)).done()
    assert stats_of(front) == 3


def test_what_the_tenant_writes_is_seen_at_once(front: FrontProcess) -> None:
    put_x(front, 1, 2)
    aged = Calls(front.client(), SAXPY, fresh("max_age=1000"))
    aged.done()
    written = Calls(front.client(), SAXPY, {"x": [5.0], "y": [6.0], "z": "s3://data/x.npy"})()
    etag = written.body["result"]["kaas"]["outputs"]["z"]["etag"]
    assert aged().code == "shape_mismatch", "the new x has one element, y two"
    reply = Calls(front.client(), SAXPY, fresh("max_age=1000", y=[1.0]))()
    assert reply.body["state"] == "done"
    assert front.mover.objects["data", "x.npy"].etag == etag
    assert stats_of(front) == 1, "the PUT's answer said what a look would say"


def test_a_slow_look_hides_nothing_that_the_tenant_has_written_since(front: FrontProcess) -> None:
    put_x(front, 1, 2)
    client = front.client()
    aged = Calls(client, SAXPY, fresh("max_age=1000"))
    aged.done()
    refresh(client)  # Of the store alone: the device has the old x still, so that nobody notices by loading it.
    held = Held(front, "stat")
    slow = client.invoking(aged.bundle, aged.arguments)
    held.wait_for(1)
    written = Calls(client, SAXPY, {"x": [5.0, 6.0], "y": [7.0, 8.0], "z": "s3://data/x.npy"})()
    held.release()
    assert slow.reply().body["state"] == "done"
    aged.done()
    assert loaded(front)[-1] == written.body["result"]["kaas"]["outputs"]["z"]["etag"]


def test_a_version_that_is_gone_when_it_is_loaded_is_looked_for_again(front: FrontProcess) -> None:
    put_x(front, 1, 2)
    aged = Calls(front.client(), SAXPY, fresh("max_age=1000"))
    aged.done()
    new = put_x(front, 3, 4)
    front.supervisor.tenants()[0].resident.clear()
    stats = aged.done()
    assert (stats["attempts"], stats["misses"]) == (2, 1)
    assert loaded(front)[-1] == new
    assert aged.done()["device_hits"] == 1
    assert stats_of(front) == 2


def test_a_new_version_may_have_another_shape(front: FrontProcess) -> None:
    put_x(front, 1, 2)
    aged = Calls(front.client(), SAXPY, fresh("max_age=1000", y="s3://data/y.npy"))
    front.mover.put("data", "y.npy", npy(np.ones(2, np.float32)))
    aged.done()
    put_x(front, 1, 2, 3)
    front.supervisor.tenants()[0].resident.clear()
    reply = aged()
    assert (reply.body["state"], reply.code) == ("failed", "shape_mismatch"), "y is still the old one"
    front.mover.put("data", "y.npy", npy(np.ones(3, np.float32)))
    refresh(aged.client, reference="s3://data/y.npy")
    aged.done()
    events = [line["event"] for line in aged.client.get(f"/v1/invocations/{reply.body['id']}").body["story"]]
    assert any("failed: shape_mismatch" in event for event in events)


def test_a_version_that_is_gone_for_good_is_not_found(front: FrontProcess) -> None:
    put_x(front, 1, 2)
    aged = Calls(front.client(), SAXPY, fresh("max_age=1000"))
    aged.done()
    del front.mover.objects["data", "x.npy"]
    front.supervisor.tenants()[0].resident.clear()
    reply = aged()
    assert (reply.body["state"], reply.code) == ("failed", "object_not_found")
    assert reply.body["error"]["where"] == "arguments.x"
    assert aged().status == 404, "the next is not accepted"


def test_it_is_looked_for_again_once(front: FrontProcess) -> None:
    put_x(front, 1, 2)
    aged = Calls(front.client(), SAXPY, fresh("max_age=1000"))
    front.mover.script = lambda peer, frame: frame["type"] == "load" and peer.refuse(frame, "object_changed")
    reply = aged()
    assert (reply.body["state"], reply.code) == ("failed", "object_changed")
    assert (stats_of(front), len(loaded(front))) == (2, 2)
    front.mover.script = lambda _, __: False
    aged.done()


def test_only_what_may_have_any_version_is_looked_for_again(front: FrontProcess) -> None:
    put_x(front, 1, 2)
    front.mover.put("data", "y.npy", npy(np.ones(2, np.float32)))

    def y_changed(peer: Any, frame: Frame) -> bool:
        return bool(
            frame["type"] == "load" and frame["object"]["key"] == "y.npy" and peer.refuse(frame, "object_changed")
        )

    front.mover.script = y_changed
    reply = Calls(front.client(), SAXPY, fresh({"x": "max_age=1000"}, y="s3://data/y.npy"))()
    assert (reply.body["state"], reply.code) == ("failed", "object_changed")
    assert stats_of(front) == 1


def test_an_invocation_that_is_looked_for_again_can_be_cancelled(front: FrontProcess) -> None:
    put_x(front, 1, 2)
    aged = Calls(front.client(), SAXPY, fresh("max_age=1000"))
    aged.done()
    put_x(front, 3, 4)
    front.supervisor.tenants()[0].resident.clear()
    held = Held(front, "stat")
    pending = aged.client.invoking(aged.bundle, aged.arguments, id="looks")
    held.wait_for(1)
    assert aged.client.delete("/v1/invocations/looks").body["state"] == "cancelled"
    assert pending.reply().body["state"] == "cancelled"
    held.release()
    wait_until(lambda: front.client("admin-token").get("/v1/devices").body["devices"][0]["busy"] == 0)
    aged.done()


def test_a_promised_invocation_that_looked_again_is_taken_up_with_what_it_found(front: FrontProcess) -> None:
    put_x(front, 1, 2)
    aged = Calls(front.client(), SAXPY, fresh("max_age=1000"))
    aged.done()
    put_x(front, 3, 4)
    front.supervisor.tenants()[0].resident.clear()
    held = Held(front, "stat")
    promised = aged.client.invoke(aged.bundle, aged.arguments, id="promised", wait_ms=50)
    assert promised.status == 202
    held.wait_for(1)
    runs: list[Frame] = []

    def hold_runs(_: Any, frame: Frame) -> bool:
        runs.extend([frame] if frame["type"] == "run" else [])
        return bool(frame["type"] == "run")

    front.supervisor.executor_script = hold_runs
    held.release()
    wait_until(lambda: runs)
    # On disk before it runs: the next front loads the same version, and asks nobody.
    front.kill()
    front.start()
    client = front.client()
    wait_until(lambda: client.get("/v1/invocations/promised").body["state"] == "done")
    assert stats_of(front) == 2


def test_an_ordinary_input_can_be_pinned(front: FrontProcess) -> None:
    old = put_x(front, 1, 2)
    pinned = Calls(front.client(), SAXPY, fresh("pinned"))
    pinned.done()
    new = put_x(front, 3, 4)
    pinned.done()
    assert (stats_of(front), loaded(front)) == (1, [old])
    assert Calls(pinned.client, SAXPY, X).done()["misses"] == 1, "who does not pin it sees the new one"
    reply = Calls(pinned.client, SAXPY, fresh({"x": "pinned"}, y="s3://data/x.npy"))()
    assert reply.code == "object_changed", "one object has one version in one call"
    assert refresh(pinned.client, buffer="x") == 1
    pinned.done()
    assert loaded(front) == [old, new]


def test_a_manifest_can_ask_for_it(front: FrontProcess) -> None:
    put_x(front, 1, 2)
    manifest = SAXPY.replace("kaas: 1\n", "kaas: 1\nfreshness: max_age=1000\n", 1)
    aged = Calls(front.client(), manifest, X)
    aged.done(), aged.done()
    assert stats_of(front) == 1
    Calls(front.client(), manifest, fresh("always")).done()
    assert stats_of(front) == 2


def test_a_const_can_be_bound_by_the_action(front: FrontProcess) -> None:
    manifest = IN_PLACE.replace("shape: [1]}", "shape: [1], from: 's3://data/w.npy'}")
    arguments = {"x": {"from": [1.0, 2.0], "to": "inline"}}
    call = Calls(front.client(), manifest, arguments)
    call.done(), call.done()
    assert stats_of(front) == 1
    front.mover.put("data", "w.npy", npy(np.full(1, 2, np.float32)))
    front.supervisor.tenants()[0].resident.clear()
    assert call().code == "object_changed"
    reply = call()
    assert reply.status == 409
    assert reply.body["error"]["where"].startswith("kaas.yaml:5")
    assert refresh(call.client, buffer="w") == 1
    call.done()
    del front.mover.objects["data", "w.npy"]
    assert refresh(call.client, bundle=call.bundle) == 1
    reply = call()
    assert (reply.status, reply.code) == (404, "object_not_found")
    assert reply.body["error"]["where"].startswith("kaas.yaml:5")


def test_versions_and_ranges_reach_the_mover(front: FrontProcess) -> None:
    front.mover.put("data", "raw", bytes(64))
    arguments = {"x": "s3://data/raw?versionId=v1&offset=8&size=16", "y": "s3://data/raw?offset=48", "z": "inline"}
    calls = [Calls(front.client(), SAXPY, {**arguments, "freshness": kind}) for kind in ("always", "pinned")]
    for call in calls:
        call.done(), call.done()
    versioned, plain = front.mover.of("stat")[0]["objects"]
    assert (versioned.get("version"), plain.get("version")) == ("v1", None)
    loads = {frame["object"].get("version"): frame["object"] for frame in front.mover.of("load")}
    assert (loads["v1"]["offset"], loads["v1"]["size"]) == (8, 16)
    assert (loads[None]["offset"], loads[None]["size"]) == (48, 16)
    assert stats_of(front) == 3
    # A whole object means its parts, and a version of it is another object.
    assert refresh(calls[0].client, reference="s3://data/raw") == 1
    assert refresh(calls[0].client, reference="s3://data/raw?versionId=v1&offset=8&size=16") == 1
