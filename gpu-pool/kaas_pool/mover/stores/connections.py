"""Kept-alive HTTP connections to one endpoint, for threads."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from kaas.errors import PlatformError
from kaas_pool.mover.cancellation import Cancellation

CONNECT_SECONDS = 5.0

#: Without a byte in either direction for so long the store counts as gone.
SILENCE_SECONDS = 30.0

#: S3 endpoints close idle connections after a minute or so.
_IDLE_SECONDS = 20.0
_MAX_IDLE = 32
_SEND_BYTES = 4 << 20

Buffer = bytes | memoryview


class Interrupted(Exception):
    """The store cut the connection, or spoke something that is not HTTP, before its answer was complete."""


class Connections:
    """A pool of connections; the most recently used is taken first."""

    def __init__(self, endpoint: str, ca_bundle: str | None) -> None:
        parts = urlsplit(endpoint)
        self._endpoint = endpoint
        self._host = parts.hostname or ""
        self._port = parts.port
        self._tls = ssl.create_default_context(cafile=ca_bundle) if parts.scheme == "https" else None
        self._lock = threading.Lock()
        self._closed = False
        self._idle: list[tuple[http.client.HTTPConnection, float]] = []

    @contextlib.contextmanager
    def exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Sequence[Buffer],
        token: Cancellation,
    ) -> Iterator[http.client.HTTPResponse]:
        """Send one request and yield its response; the connection is kept if the block reads it to its end.

        The token is committed before the last part of a body goes out. Raises store_unreachable, Interrupted,
        Cancelled. The block's own reads are covered, too.
        """
        while True:
            token.check()
            connection, reused = self._take()
            keep = False
            try:
                with self._translated(), token.interrupting(connection.sock):
                    try:
                        response = _send(connection, method, target, headers, body, token)
                    except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                        # The store may close an idle connection at the moment it is reused.
                        token.check()
                        if reused:
                            continue
                        raise
                    yield response
                keep = response.isclosed() and not response.will_close
                return
            finally:
                if keep:
                    self._put_back(connection)
                else:
                    connection.close()

    def close(self) -> None:
        """Keep no connection any more; exchanges under way end undisturbed."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _take(self) -> tuple[http.client.HTTPConnection, bool]:
        oldest = time.monotonic() - _IDLE_SECONDS
        while True:
            with self._lock:
                if not self._idle:
                    break
                connection, since = self._idle.pop()
            if since > oldest and not _readable(connection.sock):
                return connection, True
            connection.close()
        return self._connect(), False

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_SECONDS)
        else:
            connection = http.client.HTTPSConnection(self._host, self._port, timeout=CONNECT_SECONDS, context=self._tls)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            hint = "check that the object store runs and that the endpoint in stores.json is right"
            if isinstance(error, ssl.SSLError):
                hint = "name the certificate authority with ca_bundle in stores.json"
            reason = error.strerror if error.strerror and not isinstance(error, ssl.SSLError) else str(error)
            raise PlatformError(
                "store_unreachable", f"cannot connect to the object store at {self._endpoint}: {reason}", hint=hint
            ) from error
        connection.sock.settimeout(SILENCE_SECONDS)
        return connection

    def _put_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < _MAX_IDLE:
                self._idle.append((connection, time.monotonic()))
                return
        connection.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise PlatformError(
                "store_unreachable",
                f"the object store at {self._endpoint} has been silent for {SILENCE_SECONDS:g} s",
                hint="check the object store's load and the network to it",
            ) from error
        except (http.client.HTTPException, OSError) as error:
            raise Interrupted(str(error) or type(error).__name__) from error


def _readable(sock: socket.socket) -> bool:
    """Whether an idle connection has something to read: nothing was asked, so it can only be the end."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: Sequence[Buffer],
    token: Cancellation,
) -> http.client.HTTPResponse:
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    parts = [part for buffer in body for part in _parts(memoryview(buffer))]
    if body and not parts:
        token.commit()
    connection.endheaders()
    try:
        for number, part in enumerate(parts, 1):
            if number == len(parts):
                token.commit()
            connection.send(part)
    except (BrokenPipeError, ConnectionResetError):
        # A refusal may come, and the connection close, before the body has been read.
        token.check()
        with contextlib.suppress(OSError, http.client.HTTPException):
            return connection.getresponse()
        raise
    return connection.getresponse()


def _parts(view: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(view), _SEND_BYTES):
        yield view[start : start + _SEND_BYTES]
