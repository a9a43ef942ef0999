"""gunicorn around an application: one worker process, because one process holds one action."""

from __future__ import annotations

import logging
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.workers.gthread import ThreadWorker

#: Activations at a time: OpenWhisk sends one per container, or as many as `-c` allows.
_THREADS = 64

#: After SIGTERM a run in flight has so long to end.
_STOP_SECONDS = 30

#: Longer than Knative's proxy keeps an idle connection (90 s): a call on one that is being closed here would be lost.
_IDLE_SECONDS = 120

#: A request that is silent so long before it is whole is given up, as the pool does: each one has a thread.
_SILENT_SECONDS = 20

#: What a client of a connection that is being closed may take to close its end, so that it can read the answer.
_LINGER_SECONDS = 2.0


class ProxyServer(BaseApplication):  # type: ignore[misc]
    """Serves until SIGTERM; if its worker dies, so does the server."""

    def __init__(
        self,
        bind: str,
        make_app: Callable[[], flask.Flask],
        *,
        threads: int = _THREADS,
        stop_seconds: float = _STOP_SECONDS,
    ) -> None:
        """`bind` is `host:port` or `fd://N`, a listening socket that was handed down; `make_app` runs in the worker."""
        self._bind = bind
        self._make_app = make_app
        self._threads = threads
        self._stop_seconds = stop_seconds
        super().__init__()

    def load_config(self) -> None:
        """Called by gunicorn."""
        settings: dict[str, Any] = {
            "bind": self._bind,
            "workers": 1,
            "worker_class": _Worker,
            "threads": self._threads,
            "timeout": 0,
            "graceful_timeout": round(self._stop_seconds),
            "keepalive": _IDLE_SECONDS,
            # The two streams are the action's log: gunicorn speaks there only when something is wrong with it.
            "loglevel": "error",
            "control_socket_disable": True,
            "when_ready": _bound_silence,
            "child_exit": _stop_without_worker,
        }
        for key, value in settings.items():
            self.cfg.set(key, value)
        logging.getLogger("gunicorn.error").addFilter(_is_ours)

    def load(self) -> flask.Flask:
        """Called by gunicorn in the worker."""
        return self._make_app()


def _stop_without_worker(server: Arbiter, worker: object) -> None:
    """A new worker would not be initialised: end, so that the platform replaces the whole container."""
    if server.LISTENERS:
        raise HaltServer("the worker process has ended", 1)


class _Worker(ThreadWorker):  # type: ignore[misc]
    """Waits for clients to close their end in the thread that has served them, and ends without losing any.

    gunicorn waits for them in the one thread that takes connections: ten clients that wait, too, kept all others out
    for 18 s.
    """

    def handle(self, conn: Any) -> Any:
        """Called by gunicorn in a thread, for one request; False is the end of its connection."""
        kept = super().handle(conn)
        if kept is False:
            _see_off(conn.sock)
        return kept

    def set_accept_enabled(self, enabled: bool) -> None:
        """Called by gunicorn; the last time when the worker begins to end.

        Whoever has connected by then is served, and from then on nobody can: gunicorn leaves the socket open until the
        last call has ended, and what connects meanwhile is reset.
        """
        super().set_accept_enabled(enabled)
        if self.alive:
            return
        for listener in self.sockets:
            known = None
            while known != self.nr_conns:
                known = self.nr_conns
                self.accept(listener)
            listener.close()


def _see_off(sock: socket.socket) -> None:
    deadline = time.monotonic() + _LINGER_SECONDS
    with suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        while (left := deadline - time.monotonic()) > 0:
            sock.settimeout(left)
            if not sock.recv(1 << 16):
                break
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)  # Now gunicorn finds nothing to wait for.


def _bound_silence(server: Arbiter) -> None:
    """Accepted connections inherit it; gunicorn itself reads without a limit of time."""
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _SILENT_SECONDS, 0))


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether something is wrong with the server: it is not where a client was silent in the middle of a head."""
    return not (record.exc_info and isinstance(record.exc_info[1], BlockingIOError))
