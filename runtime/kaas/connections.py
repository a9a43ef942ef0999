"""Kept connections to one HTTP server: what the pool's client sends its requests over.

It is `http.client` and no more, because a request through a general library cost 0.15 ms more of the 3 ms that an
invocation through the action proxy may take (docs/numbers.md, P5).
"""

from __future__ import annotations

import io
import re
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, cast
from urllib.parse import urlsplit

#: A name or an address; `http.client` takes no others, and says so only when it connects.
_HOST = re.compile(r"[^\x00-\x20/?#@\x7f]+")

#: Connections kept idle; more may be in use.
_MOST_IDLE = 64

#: The largest answers are an invocation's: inline outputs of 64 KiB each, and its log.
_MOST_BYTES = 16 << 20


class ConnectionFailedError(Exception):
    """No answer came; the text completes the sentence "the server ..."."""


class UnreachedError(ConnectionFailedError):
    """There was no connection: the request was not sent."""


class UntrustedError(ConnectionFailedError):
    """The server is there and cannot be trusted; trying again is of no use."""


class CertificateError(UntrustedError):
    """No authority that this machine knows has signed its certificate, or for another name."""


class LostError(ConnectionFailedError):
    """The connection ended before the answer did: the request may have been taken."""


class SilentError(ConnectionFailedError):
    """The request was sent, and the time for its answer is up."""


class Connections:
    """Connections to the server of a URL; safe for use by several threads, each request on one of its own."""

    def __init__(self, url: str) -> None:
        """`url` has no more than scheme, host, port and a path, which comes before that of every request.

        Raises ValueError for anything but http and https.
        """
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            raise ValueError("it has a user's name or a password, which is not sent and would be shown in messages")
        if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host := parts.hostname or ""):
            raise ValueError(f"{url!r} is not the URL of an HTTP server")
        if parts.query or parts.fragment:
            raise ValueError(f"{url!r} has more than scheme, host, port and a path")
        self._host, self._port = host, parts.port
        self._prefix = parts.path.rstrip("/")
        # Certificates of the system, or of SSL_CERT_FILE and SSL_CERT_DIR.
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._idle: deque[HTTPConnection] = deque()

    def close(self) -> None:
        """Close what is idle."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        connect_s: float,
        answer_s: float,
    ) -> tuple[int, bytes]:
        """Send a request and return the status and the body (at most 16 MiB) of its answer.

        `answer_s` is for the request and the whole of its answer. Giving up, by a time-out or an exception from
        outside, closes the connection. Raises ConnectionFailedError.
        """
        connection = self._take()
        try:
            if connection.sock is None:
                _connect(connection, connect_s)
            connection.sock.settimeout(answer_s)
            connection.response_class = cast("type[HTTPResponse]", partial(_Answer, time.monotonic() + answer_s))
            response = _exchange(connection, method, f"{self._prefix}{path}", body, headers)
            data = response.read(_MOST_BYTES + 1)
            if len(data) > _MOST_BYTES:
                raise UntrustedError(f"sent an answer of more than {_MOST_BYTES >> 20} MiB")
            if response.length:
                raise LostError("closed the connection in the middle of its answer")
        except TimeoutError:
            connection.close()
            raise SilentError("took the request and did not answer in time") from None
        except (OSError, HTTPException) as error:
            connection.close()
            raise LostError("closed the connection without an answer") from error
        except BaseException:
            connection.close()
            raise
        if response.will_close or len(self._idle) >= _MOST_IDLE:
            connection.close()
        else:
            self._idle.append(connection)
        return response.status, data

    def _take(self) -> HTTPConnection:
        """The connection used last, if the server has not closed it, or a new one."""
        with suppress(IndexError):
            while True:
                connection = self._idle.pop()
                if not _is_readable(connection):
                    return connection
                connection.close()
        if self._tls is not None:
            return HTTPSConnection(self._host, self._port, context=self._tls)
        return HTTPConnection(self._host, self._port)


class _Answer(HTTPResponse):
    """An answer that has to be read before a time on the monotonic clock; else reading raises TimeoutError.

    A socket's time-out is for one read of its bytes: who sends them one by one would never end.
    """

    def __init__(self, deadline: float, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_Timed(self.fp.detach(), sock, deadline))


class _Timed(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw, self._sock, self._deadline = raw, sock, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _connect(connection: HTTPConnection, seconds: float) -> None:
    connection.timeout = seconds
    try:
        connection.connect()
    except ssl.SSLCertVerificationError as error:
        raise CertificateError(f"has no certificate that this machine trusts: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise UntrustedError(f"does not speak TLS as this machine does: {error.reason or error}") from error
    except TimeoutError as error:
        raise UnreachedError("did not accept a connection in time") from error
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnreachedError(f"cannot be reached: {reason.lower()}") from error


def _exchange(
    connection: HTTPConnection, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
) -> HTTPResponse:
    # Who refuses a body may answer and close while it is still being sent.
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.request(method, path, body, headers)
    return connection.getresponse()


def _is_readable(connection: HTTPConnection) -> bool:
    """Whether an idle connection has something to read: its end, or what nobody asked for."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))
