"""Which versions a front computes with: pinned ones, their rights, and what lets go of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from front_process import IN_PLACE, FrontProcess, HttpClient, Reply, wait_until
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

    def refuse(peer: Any, frame: Frame) -> bool:
        if frame["type"] != "stat":
            return False
        peer.answer(frame, "stat", origin="store", objects=[{"error": {"code": code, "message": "scripted"}}])
        return True

    front.mover.script = refuse
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
        return frame["type"] == "drop"

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
