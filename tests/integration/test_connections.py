"""Kept connections against servers of bare sockets, which close, refuse and encrypt as told."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from kaas.client import PoolClient
from kaas.connections import (
    Connections,
    LostError,
    SilentError,
    UnreachedError,
    UntrustedError,
)
from kaas.errors import PlatformError

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

#: What a server does with the connection it has accepted.
Serve = Callable[[socket.socket], None]


@contextmanager
def server(*serve: Serve, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that accepts as many connections as there are functions, one after the other; gives its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            for one in serve:
                connection, _ = listener.accept()
                # That the client hangs up is what some tests are about.
                with connection, suppress(OSError):
                    if tls is None:
                        one(connection)
                        continue
                    with tls.wrap_socket(connection, server_side=True) as encrypted:
                        one(encrypted)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join(30)
            assert not thread.is_alive()


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return data
        data += part
    return data


def answers(count: int) -> Serve:
    """Answer so many requests on one connection, then close it."""

    def serve(connection: socket.socket) -> None:
        for _ in range(count):
            read_request(connection)
            connection.sendall(ANSWER)

    return serve


def get(
    connections: Connections, path: str = "/", body: bytes | None = None, answer_s: float = 30
) -> tuple[int, bytes]:
    method = "GET" if body is None else "POST"
    return connections.send(method, path, body, {}, connect_s=10, answer_s=answer_s)


def closed_by_server(connections: Connections) -> None:
    """Wait until the end of the idle connection has arrived here."""
    (idle,) = connections._idle
    idle.sock.settimeout(30)
    assert idle.sock.recv(1, socket.MSG_PEEK) == b""


def test_a_connection_is_kept_and_a_closed_one_is_not_used() -> None:
    with server(answers(2), answers(1)) as url:
        connections = Connections(url)
        assert get(connections) == (200, b"ok")
        assert get(connections) == (200, b"ok")
        closed_by_server(connections)
        assert get(connections) == (200, b"ok")
        connections.close()


def test_the_requests_path_and_headers() -> None:
    seen: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        seen.append(read_request(connection))
        connection.sendall(ANSWER)

    with server(serve) as url:
        connections = Connections(f"{url}/below/")
        get(connections, "/v1")
        connections.close()
    assert seen[0].startswith(b"GET /below/v1 HTTP/1.1\r\nHost: 127.0.0.1:")


def test_who_refuses_a_body_early_is_heard() -> None:
    def refuse(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        connection.shutdown(socket.SHUT_WR)
        # What is still under way is read, as a server does that wants its answer to arrive.
        while connection.recv(1 << 20):
            pass

    with server(refuse) as url:
        connections = Connections(url)
        assert get(connections, body=bytes(16 << 20)) == (413, b"big")
        assert not connections._idle
        connections.close()


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", b"SSH-2.0-x\r\n"])
def test_half_an_answer_is_lost(said: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(said)

    with server(serve) as url:
        connections = Connections(url)
        with pytest.raises(LostError):
            get(connections)
        assert not connections._idle


def test_silence_closes_the_connection() -> None:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        assert connection.recv(1) == b"", "the client hangs up"

    with server(serve) as url, pytest.raises(SilentError):
        get(Connections(url), answer_s=0.1)


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("before", [HEAD, HEAD + b"Content-Length: 100000\r\n\r\n"], ids=["head", "body"])
def test_who_answers_byte_by_byte_is_not_waited_for(before: bytes) -> None:
    gone = threading.Event()

    def trickle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(before)
        while not gone.wait(0.01):
            connection.sendall(b"x")

    with server(trickle) as url, pytest.raises(SilentError):
        try:
            get(Connections(url), answer_s=0.3)
        finally:
            gone.set()


@pytest.mark.parametrize("said", ["Content-Length: 100000000000", "Transfer-Encoding: chunked"])
def test_an_answer_without_bounds(said: str) -> None:
    def flood(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(HEAD + said.encode() + b"\r\n\r\n")
        while True:
            connection.sendall(b"100000\r\n" + bytes(1 << 20) + b"\r\n")

    with server(flood) as url, pytest.raises(UntrustedError, match="more than 16 MiB"):
        get(Connections(url))


def test_nobody_there() -> None:
    with server() as url:
        pass
    with pytest.raises(UnreachedError, match="connection refused"):
        get(Connections(url))
    with pytest.raises(UnreachedError):
        get(Connections("http://no-such-host.invalid"))
    with pytest.raises(UnreachedError):
        get(Connections(f"http://{'x' * 100}.invalid"))


@pytest.mark.parametrize("url", ["", "pool:7233", "ftp://pool", "http://", "http://[::1", "http://pool:70000"])
def test_no_url(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|Port|IPv6"):
        Connections(url)


def test_who_is_no_pool_is_not_asked_again() -> None:
    def other(connection: socket.socket) -> None:
        while connection.recv(65536):
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone")

    def pool(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with server(other, pool) as url:
        client = PoolClient(url)
        with pytest.raises(PlatformError, match="answered 404 with something that is not JSON"):
            client.ready()
        client.ready()
        client.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "server.crt"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=pool -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [*command.split(), "-keyout", path.with_suffix(".key"), "-out", path], check=True, capture_output=True
    )
    return path


def test_certificates(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    with server(answers(1), tls=context) as url, pytest.raises(UntrustedError, match="certificate"):
        get(Connections(url))
    with server(answers(1), tls=context) as url, pytest.raises(PlatformError) as caught:
        PoolClient(url).ready()
    assert caught.value.hint is not None
    assert "SSL_CERT_FILE" in caught.value.hint
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with server(answers(1), tls=context) as url:
        connections = Connections(url)
        assert get(connections) == (200, b"ok")
        connections.close()

    def in_clear(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(ANSWER)

    with server(in_clear) as url, pytest.raises(UntrustedError, match="TLS"):
        get(Connections(url.replace("http:", "https:")))
