"""HTTP as bytes: each connection is answered with what the contract has, or closed, and the front serves on."""

from __future__ import annotations

import contextlib
import email
import json
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from front_process import PATIENCE, SAXPY, FrontProcess
from hunt import TALLY, hunt
from hypothesis import strategies as st
from made_requests import DIGEST, MadeRequest, requests

from kaas.errors import ERRORS

_GOOD: dict[str, Any] = {"x": [1.0, 2.0], "y": [3.0, 4.0], "z": "inline"}

#: Connections at a time: one whose request does not become whole is closed when the front's patience ends, for which
#: all wait together.
_TOGETHER = 10

#: Goes behind everything. What came before is whole, and this is answered last and the connection closed; or it is not,
#: this is swallowed, and the front's patience ends. Either way the front closes.
_LAST = b"GET /healthz/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

#: Many times the front's patience, in seconds.
_PATIENT = 8.0


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    """A front that waits for no one."""
    with FrontProcess(tmp_path_factory.mktemp("front") / "state", "--silent", "0.5") as running:
        yield running
        assert running.process is not None
        assert running.process.poll() is None


def _answers(data: bytes) -> list[tuple[int, str, bytes]]:
    """Statuses, content types and bodies of the answers on one connection."""
    found = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        assert end, head
        first, _, headers = head.partition(b"\r\n")
        version, status, *_ = first.split(b" ")
        assert version == b"HTTP/1.1", first
        if status == b"100":
            continue
        fields = email.message_from_bytes(headers)
        # Without a length the body ends with the connection; what answers a HEAD has a length and no body.
        length = 0 if data.startswith(b"HTTP/1.1 ") else int(fields.get("content-length", len(data)))
        assert len(data) >= length or not data, (first, data)
        found.append((int(status), fields.get("content-type", ""), data[:length]))
        data = data[length:]
    return found


def _read(sock: socket.socket) -> bytes:
    """What comes up to the connection's end."""
    data = b""
    sock.settimeout(_PATIENT)
    with contextlib.suppress(ConnectionError):
        try:
            while more := sock.recv(1 << 16):
                data += more
        except TimeoutError:
            # `_LAST` may have been just what a request lacked: the front waits for the next one, as it should.
            sock.settimeout(PATIENCE)
            sock.sendall(_LAST)
            while more := sock.recv(1 << 16):
                data += more
    return data


def _check_answer(status: int, kind: str, body: bytes) -> str:
    assert status < 500, body
    if kind.startswith("application/json") and body:
        decoded = json.loads(body, parse_constant=pytest.fail)
        if status >= 400:
            code = decoded["error"]["code"]
            assert ERRORS[code].pool == status
            assert len(body) < 4000, "an error does not give back what it was given"
            return str(code)
    else:
        assert status == 400 or status < 300 or not body, (status, body)
    return str(status)


def test_bytes(front: FrontProcess) -> None:
    client = front.client()
    digest = client.upload(SAXPY)
    tally = TALLY.setdefault("HTTP answer", Counter())

    def check(batch: list[MadeRequest]) -> str:
        with contextlib.ExitStack() as stack:
            socks = []
            for made in batch:
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", front.port), timeout=PATIENCE))
                with contextlib.suppress(ConnectionError):
                    for piece in [*made.pieces, _LAST]:
                        sock.sendall(piece.replace(DIGEST.encode(), digest.encode()))
                socks.append(sock)
            for sock in socks:
                data = _read(sock)
                for answer in _answers(data):
                    tally[_check_answer(*answer)] += 1
                if not data:
                    tally["closed"] += 1
        good = client.invoke(digest, _GOOD)
        assert (good.status, good.body["state"]) == (200, "done"), good
        return "served"

    batches = st.lists(requests(), min_size=_TOGETHER, max_size=_TOGETHER)
    hunt(f"{_TOGETHER} HTTP connections", batches, check, short=12, share=0.01 / _TOGETHER)
    assert {"200", "400", "route_unknown"} <= tally.keys(), tally
