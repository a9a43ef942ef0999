"""A TCP proxy between a client and a real server: counts requests, cuts and stalls connections on command."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

_REQUEST = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1\.1\r\n")
_REASON = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
SLOW_DOWN = b"HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(_REASON), _REASON)


class TcpProxy:
    """Forwards to one server; use as a context manager.

    `cut_answer_after` and `cut_request_after` end a connection (with a reset) once so many bytes of it have been
    forwarded; `cuts_left` bounds how often. While `gate` is clear, nothing is forwarded towards the client. The next
    `refusals_left` requests whose head `refused` finds are answered here, by `refusal`: all, as an overloaded store
    does, unless these two say otherwise. `hold` keeps chosen requests back, and `stop` makes it a server that is down.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        #: Request lines seen, such as "GET /bucket/key".
        self.requests: list[str] = []
        self.cut_answer_after: int | None = None
        self.cut_request_after: int | None = None
        self.cuts_left = 0
        self.refusals_left = 0
        self.refused = re.compile(b"")
        self.refusal = SLOW_DOWN
        self.gate = threading.Event()
        self.gate.set()
        self._held: re.Pattern[bytes] | None = None
        self._holding = 0
        self._changed = threading.Condition()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closing = False

    def __enter__(self) -> TcpProxy:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self.gate.set()
        self.release()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._changed:
            for sock in self._sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def count(self, prefix: str) -> int:
        """How many requests began like this."""
        with self._changed:
            return sum(request.startswith(prefix) for request in self.requests)

    def wait_for(self, prefix: str, count: int = 1) -> None:
        """Wait until so many such requests have come."""
        with self._changed:
            seen = self._changed.wait_for(
                lambda: sum(request.startswith(prefix) for request in self.requests) >= count, 30
            )
        assert seen, f"{prefix}: {self.requests}"

    def hold(self, head: bytes) -> None:
        """From now on keep requests back whose head this regular expression finds, until `release`."""
        with self._changed:
            self._held = re.compile(head, re.DOTALL)

    def wait_until_held(self, count: int = 1) -> None:
        """Wait until so many requests are kept back."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._holding >= count, 30), f"{self._holding}: {self.requests}"

    def release(self) -> None:
        """Let go of what was kept back; what was dropped meanwhile reaches nobody."""
        with self._changed:
            self._held = None
            self._changed.notify_all()

    def stop(self) -> None:
        """Refuse connections and end those there are, as a server that is down."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_connections()

    def start(self) -> None:
        """Listen again, where it did before `stop`."""
        self._listener = socket.create_server(("127.0.0.1", int(self.endpoint.rpartition(":")[2])))
        self._run(self._accept)

    def drop_connections(self) -> None:
        """End every connection, idle ones included, as a restarting server does."""
        with self._changed:
            for sock in self._sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                self._sockets |= {client, server}
            self._run(self._forward, client, server, True)
            self._run(self._forward, server, client, False)

    def _forward(self, source: socket.socket, sink: socket.socket, towards_server: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if towards_server:
                    self._note(data)
                    self._keep_back(data)
                    if self._may_refuse(data):
                        source.sendall(self.refusal)
                        break
                else:
                    self.gate.wait()
                limit = self.cut_request_after if towards_server else self.cut_answer_after
                passed += len(data)
                if limit is not None and passed > limit and self._may_cut():
                    sink.sendall(data[: len(data) - (passed - limit)])
                    for sock in (source, sink):
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
                sink.sendall(data)
        with self._changed:
            for sock in (source, sink):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                self._sockets.discard(sock)
        source.close()
        sink.close()

    def _may_cut(self) -> bool:
        with self._changed:
            if not self.cuts_left:
                return False
            self.cuts_left -= 1
            return True

    def _may_refuse(self, data: bytes) -> bool:
        with self._changed:
            if not self.refusals_left or not self.refused.search(data.partition(b"\r\n\r\n")[0]):
                return False
            self.refusals_left -= 1
            return True

    def _keep_back(self, data: bytes) -> None:
        with self._changed:
            if self._held is None or not self._held.search(data.partition(b"\r\n\r\n")[0]):
                return
            self._holding += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._held is None)
            self._holding -= 1

    def _note(self, data: bytes) -> None:
        if found := _REQUEST.match(data):
            with self._changed:
                self.requests.append(f"{found[1].decode()} {found[2].decode()}")
                self._changed.notify_all()
