"""OpenWhisk's API keys at the front: a scripted controller says whose they are."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from front_process import PATIENCE, SAXPY, FrontProcess, HttpClient, Pending, Reply
from scripted_pool import Request, ScriptedPool

ALICE, BOB = "uuid-of-alice:secret-of-alice", "uuid-of-bob:secret-of-bob"
ARGUMENTS = {"x": [1.0, 2.0], "y": [3.0, 4.0], "z": "inline"}


def basic(key: str) -> str:
    return f"Basic {base64.b64encode(key.encode()).decode()}"


class Controller(ScriptedPool):
    """Knows the keys of two users, and does at `GET /api/v1/namespaces` what the test wants."""

    def __init__(self) -> None:
        super().__init__(self.answer)
        self.namespaces = {basic(ALICE): "alice", basic(BOB): "bob"}
        self.status = 200
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.asked = threading.Semaphore(0)

    def answer(self, request: Request) -> tuple[int, object] | None:
        assert (request.method, request.path) == ("GET", "/api/v1/namespaces")
        self.asked.release()
        assert self.may_answer.wait(PATIENCE)
        if self.status != 200:
            return self.status, {"error": "scripted", "code": "x"}
        namespace = self.namespaces.get(request.authorization or "")
        return (200, [namespace]) if namespace else (401, {"error": "The supplied authentication is invalid"})


class KeyClient(HttpClient):
    """Requests to a pool under an API key."""

    def __init__(self, front: FrontProcess, key: str) -> None:
        super().__init__(front.port, None)
        self._authorization = basic(key)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        return super().request(method, path, body, {"Authorization": self._authorization, **(headers or {})})


@pytest.fixture
def controller() -> Iterator[Controller]:
    running = Controller()
    with running:
        yield running
        running.may_answer.set()


@pytest.fixture
def front(controller: Controller, tmp_path: Path) -> Iterator[FrontProcess]:
    with FrontProcess(tmp_path / "state", "--controller", controller.url) as running:
        yield running


def test_a_key_is_its_namespace(front: FrontProcess, controller: Controller) -> None:
    alice = KeyClient(front, ALICE)
    digest = alice.upload(SAXPY)
    reply = alice.invoke(digest, ARGUMENTS, id="one")
    assert (reply.status, reply.body["state"]) == (200, "done")
    assert len(controller.requests) == 1, "the controller's word is good for a while"
    assert front.client("alice-token").get("/v1/invocations/one").status == 200, "the same tenant by another way"
    assert alice.get("/v1/tenants").body["tenants"][0]["tenant"] == "alice"


def test_tenants_by_key_see_their_own_alone(front: FrontProcess) -> None:
    alice, bob = KeyClient(front, ALICE), KeyClient(front, BOB)
    digest = alice.upload(SAXPY)
    assert alice.invoke(digest, ARGUMENTS, id="mine").status == 200
    assert bob.get("/v1/invocations/mine").code == "invocation_unknown"
    assert bob.delete("/v1/invocations/mine").code == "invocation_unknown"
    assert bob.invoke(digest, ARGUMENTS).code == "bundle_unknown"


def test_a_key_of_nobody(front: FrontProcess, controller: Controller) -> None:
    stranger = KeyClient(front, "uuid-of-nobody:guess")
    for _ in range(3):
        reply = stranger.get("/v1/devices")
        assert (reply.status, reply.code) == (401, "unauthenticated")
        assert "guess" not in str(reply.body)
    assert len(controller.requests) == 1, "whoever guesses does not ask the controller each time"


def test_what_cannot_be_a_key_is_not_sent_on(front: FrontProcess, controller: Controller) -> None:
    for credentials in ("", "!", basic("no colon")[6:], basic(":")[6:], "YTpi\u00e9"):
        reply = front.client(None).request("GET", "/v1/devices", None, {"Authorization": f"Basic {credentials}"})
        assert (reply.status, reply.code) == (401, "unauthenticated")
    assert not controller.requests


def test_a_controller_that_fails_is_not_the_callers_fault(front: FrontProcess, controller: Controller) -> None:
    for controller.status in (500, 404, 302):
        reply = KeyClient(front, ALICE).get("/v1/devices")
        assert (reply.status, reply.code) == (503, "controller_unreachable")
    controller.status = 200
    assert KeyClient(front, ALICE).get("/v1/devices").status == 200, "it is asked again at once"


def test_known_keys_outlast_the_controller(front: FrontProcess, controller: Controller) -> None:
    alice = KeyClient(front, ALICE)
    assert alice.get("/v1/devices").status == 200
    controller.script = lambda request: None
    assert alice.get("/v1/devices").status == 200
    reply = KeyClient(front, BOB).get("/v1/devices")
    assert (reply.status, reply.code) == (503, "controller_unreachable")
    assert front.client("alice-token").get("/v1/devices").status == 200, "tokens need no controller"


def test_many_calls_of_one_key_ask_once(front: FrontProcess, controller: Controller) -> None:
    controller.may_answer.clear()
    alice = KeyClient(front, ALICE)
    calls = [Pending(lambda: alice.get("/v1/devices")) for _ in range(8)]
    assert controller.asked.acquire(timeout=PATIENCE)
    # Others are served meanwhile.
    assert front.client("alice-token").get("/v1/devices").status == 200
    controller.may_answer.set()
    assert [call.reply().status for call in calls] == [200] * 8
    assert len(controller.requests) == 1


def test_a_key_vouches_for_nobody(front: FrontProcess) -> None:
    reply = KeyClient(front, ALICE).request("GET", "/v1/devices", None, {"KaaS-Tenant": "bob"})
    assert (reply.status, reply.code) == (403, "scope_missing")


def test_a_pool_without_a_controller_says_so(tmp_path: Path) -> None:
    with FrontProcess(tmp_path / "state") as running:
        reply = KeyClient(running, ALICE).get("/v1/devices")
    assert (reply.status, reply.code) == (401, "unauthenticated")
    assert "--controller" in reply.body["error"]["hint"]
