"""The front's HTTP interface, with scripted peers behind it: who may do what, what is refused and how."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from front_process import SAXPY, FrontProcess, Pending, wait_until

from kaas_pool.front.config import parse_arguments

ARGUMENTS = {"x": [1.0, 2.0], "y": [3.0, 4.0], "z": "inline"}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    """One front for all tests here."""
    with FrontProcess(tmp_path_factory.mktemp("front") / "state") as running:
        yield running


@pytest.mark.parametrize(
    ("token", "method", "path", "status", "code"),
    [
        (None, "GET", "/v1/devices", 401, "unauthenticated"),
        ("wrong", "POST", "/v1/invocations", 401, "unauthenticated"),
        ("reader-token", "POST", "/v1/invocations", 403, "scope_missing"),
        ("reader-token", "DELETE", "/v1/invocations/x", 403, "scope_missing"),
        ("reader-token", "POST", "/v1/cache/purge", 403, "scope_missing"),
        ("reader-token", "PUT", f"/v1/bundles/sha256:{'0' * 64}", 403, "scope_missing"),
        ("plugin-token", "GET", "/metrics", 403, "scope_missing"),
        ("alice-token", "GET", "/v2/nothing", 404, "route_unknown"),
        ("alice-token", "PATCH", "/v1/devices", 404, "route_unknown"),
        ("alice-token", "GET", "/v1/invocations/none", 404, "invocation_unknown"),
        ("alice-token", "DELETE", "/v1/invocations/none", 404, "invocation_unknown"),
    ],
)
def test_refusals(front: FrontProcess, token: str | None, method: str, path: str, status: int, code: str) -> None:
    reply = front.client(token).request(method, path)
    assert (reply.status, reply.code) == (status, code)
    assert reply.body["error"]["hint"]
    assert ("www-authenticate" in reply.headers) == (status == 401)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b'{"bundle": NaN}', None),
        (b"\xff", None),
        (b"[" * 100_000, None),
        (b'{"bundle": "sha256:1"}', "bundle"),
        (b'{"bundle": "sha256:' + b"0" * 64 + b'", "arguments": []}', "arguments"),
        (b'{"bundle": "sha256:' + b"0" * 64 + b'", "id": "a b"}', "id"),
        (b'{"bundle": "sha256:' + b"0" * 64 + b'", "budget_ms": 0}', "budget_ms"),
        (b'{"bundle": "sha256:' + b"0" * 64 + b'", "wait_ms": -1}', "wait_ms"),
        (b'{"bundle": "sha256:' + b"0" * 64 + b'", "more": 1}', None),
    ],
)
def test_malformed_invocations(front: FrontProcess, body: bytes, where: str | None) -> None:
    reply = front.client().request("POST", "/v1/invocations", body)
    assert (reply.status, reply.code) == (400, "request_invalid")
    assert reply.body["error"].get("where") == where


def test_bodies_over_their_limits(front: FrontProcess) -> None:
    client = front.client()
    reply = client.request("POST", "/v1/invocations", b" " * ((1 << 20) + 1))
    assert (reply.status, reply.code) == (413, "payload_too_large")
    reply = client.request("PUT", f"/v1/bundles/sha256:{'0' * 64}", headers={"Content-Length": str((48 << 20) + 1)})
    assert (reply.status, reply.code) == (413, "bundle_too_large")


@pytest.mark.parametrize("part", ["one header", "many headers", "the request line"])
def test_an_endless_head_is_cut_off(front: FrontProcess, part: str) -> None:
    fill = b"x" * 8192
    start, more = {
        "one header": (b"GET /healthz/live HTTP/1.1\r\nHost: x\r\nA: ", fill),
        "many headers": (b"GET /healthz/live HTTP/1.1\r\nHost: x\r\n", b"A: " + fill + b"\r\n"),
        "the request line": (b"GET /", fill),
    }[part]
    with socket.create_connection(("127.0.0.1", front.port), 30) as client:
        client.sendall(start)
        # It says nothing until it has had enough, and then closes; what is on the way by then may be reset.
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                client.sendall(more)
            pytest.fail("8 MiB of head were taken")
    assert front.client(None).get("/healthz/live").status == 200


def test_a_head_below_the_limit_with_a_large_body_is_fine(front: FrontProcess) -> None:
    with socket.create_connection(("127.0.0.1", front.port), 30) as client:
        body = b"{" + b" " * 200_000
        head = b"POST /v1/invocations HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 40_000
        client.sendall(head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert client.recv(12) == b"HTTP/1.1 401"


def test_uploads(front: FrontProcess) -> None:
    client = front.client()
    data = SAXPY.replace("name: saxpy", "name: uploaded").encode()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    for _ in range(2):
        reply = client.request("PUT", f"/v1/bundles/{digest}", data)
        assert reply.status == 200
        assert reply.body == {
            "digest": digest,
            "name": "uploaded",
            "arguments": ["x", "y", "z", "a"],
            "kernels": ["saxpy"],
            "warnings": [],
        }
    other = client.request("PUT", f"/v1/bundles/sha256:{'0' * 64}", data)
    assert (other.status, other.code) == (400, "request_invalid")
    assert digest in other.body["error"]["message"]
    broken = client.request("PUT", "/v1/bundles/sha256:xyz", data)
    assert (broken.status, broken.code) == (400, "request_invalid")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"kaas: 1\nname: [", "manifest_invalid"),
        (b"PK\x03\x04 no zip", "bundle_invalid"),
        (b"\x1f\x8b gzip", "bundle_invalid"),
        (SAXPY.replace("threads", "treads").encode(), "unknown_key"),
    ],
)
def test_broken_bundles(front: FrontProcess, data: bytes, code: str) -> None:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    reply = front.client().request("PUT", f"/v1/bundles/{digest}", data)
    assert (reply.status, reply.code) == (400, code)
    assert front.client().invoke(digest, ARGUMENTS).code == "bundle_unknown"


def test_one_bundle_uploaded_by_many_at_once_is_compiled_once(front: FrontProcess) -> None:
    text = SAXPY.replace("name: saxpy", "name: popular")
    before = len(front.supervisor.compiled)
    uploads = [front.client(token) for token in ("alice-token", "bob-token") for _ in range(4)]
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    pending = [
        Pending(lambda client=client: client.request("PUT", f"/v1/bundles/{digest}", text.encode()))  # type: ignore[misc]
        for client in uploads
    ]
    assert [one.reply().status for one in pending] == [200] * len(pending)
    # The source is that of other tests' bundles, so at most one compile is new, and none if it was cached.
    assert len(front.supervisor.compiled) - before <= 1


def test_vouching(front: FrontProcess) -> None:
    digest = front.client("bob-token").upload(SAXPY)
    body = json.dumps({"bundle": digest, "arguments": ARGUMENTS, "id": "vouched"}).encode()
    plugin = front.client("plugin-token")
    reply = plugin.request("POST", "/v1/invocations", body, {"KaaS-Tenant": "bob"})
    assert reply.body["state"] == "done"
    assert front.client("bob-token").get("/v1/invocations/vouched").body["state"] == "done"
    assert front.client("alice-token").get("/v1/invocations/vouched").code == "invocation_unknown"
    refused = front.client("bob-token").request("POST", "/v1/invocations", body, {"KaaS-Tenant": "alice"})
    assert (refused.status, refused.code) == (403, "scope_missing")


@pytest.mark.parametrize("token", ["alice-token", "reader-token", "admin-token"])
@pytest.mark.parametrize("tenant", ["alice", "bob"])
def test_nobody_else_vouches(front: FrontProcess, token: str, tenant: str) -> None:
    """Not even for the token's own tenant: the header is refused, not passed over."""
    header = {"KaaS-Tenant": tenant}
    for method, path in (
        ("GET", "/v1/devices"),
        ("GET", "/v1/invocations/x"),
        ("DELETE", "/v1/invocations/x"),
        ("POST", "/v1/invocations"),
        ("POST", "/v1/cache/purge"),
        ("POST", "/v1/cache/refresh"),
        ("PUT", f"/v1/bundles/sha256:{'0' * 64}"),
    ):
        reply = front.client(token).request(method, path, None if method in ("GET", "DELETE") else b"{}", header)
        assert (reply.status, reply.code) == (403, "scope_missing")
        assert "vouch" in reply.body["error"]["message"]


def test_tokens_are_read_again_on_sighup(front: FrontProcess) -> None:
    path = front.state / "tokens.json"
    entries = json.loads(path.read_text())
    sha256 = hashlib.sha256(b"late-token").hexdigest()
    path.write_text(json.dumps([*entries, {"sha256": sha256, "tenant": "late", "scopes": ["read"]}]))
    assert front.client("late-token").get("/v1/queues").status == 401
    front.hang_up()
    wait_until(lambda: front.client("late-token").get("/v1/queues").status == 200)
    path.write_text("broken")
    front.hang_up()
    assert front.client("late-token").get("/v1/queues").status == 200
    path.write_text(json.dumps(entries))


def test_status_shows_a_tenant_its_own_part(front: FrontProcess) -> None:
    for token in ("alice-token", "bob-token"):
        client = front.client(token)
        assert client.invoke(client.upload(SAXPY), ARGUMENTS).body["state"] == "done"
    alice, admin = front.client(), front.client("admin-token")
    for path, key in (("/v1/devices", "devices"), ("/v1/cache", "device"), ("/v1/tenants", "tenants")):
        own, everything = json.dumps(alice.get(path).body), json.dumps(admin.get(path).body)
        assert '"alice"' in own
        assert '"bob"' not in own
        assert '"bob"' in everything, path
        assert alice.get(path).body[key]
    assert "host" in admin.get("/v1/cache").body
    own, everything = alice.get("/metrics").body, admin.get("/metrics").body
    assert 'tenant="alice"' in own
    assert "bob" not in own
    assert "kaas_executors" not in own
    assert 'tenant="bob"' in everything
    assert "kaas_executors" in everything


def test_health_and_documents_need_no_token(front: FrontProcess) -> None:
    client = front.client(None)
    assert client.get("/healthz/live").body == {"status": "live"}
    assert client.get("/healthz/ready").body == {"status": "ready"}
    assert client.get("/openapi.json").body["openapi"] == "3.1.0"


def test_purge_counts_device_and_host(front: FrontProcess) -> None:
    client = front.client()
    assert client.invoke(client.upload(SAXPY), ARGUMENTS).body["state"] == "done"
    # The scripted mover drops 1000 bytes, the scripted executors none.
    assert client.post("/v1/cache/purge", {}).body == {"bytes": 1000}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here to make a certificate with")
def test_https(tmp_path: Path) -> None:
    certificate, key = tmp_path / "front.crt", tmp_path / "front.key"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=front -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with FrontProcess(tmp_path / "state", "--certificate", str(certificate), "--key", str(key)) as front:
        with urllib3.PoolManager(ca_certs=str(certificate)) as trusting:
            reply = trusting.request("GET", f"https://127.0.0.1:{front.port}/healthz/live")
            assert reply.json() == {"status": "live"}
        with urllib3.PoolManager(retries=False) as distrusting, pytest.raises(urllib3.exceptions.SSLError):
            distrusting.request("GET", f"https://127.0.0.1:{front.port}/healthz/live")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "--plaintext"),
        (["--devices", "0,0"], "each once"),
        (["--devices", "gpu"], "ordinals"),
        (["--slots", "0"], "at least 1"),
        (["--certificate", "x"], "go together"),
        (["--domain-of", "alice"], "TENANT=DOMAIN"),
        (["--policy", "unheard-of"], "fcfs"),
    ],
)
def test_settings_that_make_no_sense(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(["--state", str(tmp_path), "--kind", "emulated", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
