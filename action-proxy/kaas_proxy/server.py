"""gunicorn around an application: one worker process, because one process holds one action."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

#: Activations at a time: OpenWhisk sends one per container, or as many as `-c` allows.
_THREADS = 64

#: After SIGTERM a run in flight has so long to end.
_STOP_SECONDS = 30

#: Longer than Knative's proxy keeps an idle connection (90 s): a call on one that is being closed here would be lost.
_IDLE_SECONDS = 120


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
            "worker_class": "gthread",
            "threads": self._threads,
            "timeout": 0,
            "graceful_timeout": round(self._stop_seconds),
            "keepalive": _IDLE_SECONDS,
            # The two streams are the action's log: gunicorn speaks there only when something is wrong with it.
            "loglevel": "error",
            "control_socket_disable": True,
            "child_exit": _stop_without_worker,
        }
        for key, value in settings.items():
            self.cfg.set(key, value)

    def load(self) -> flask.Flask:
        """Called by gunicorn in the worker."""
        return self._make_app()


def _stop_without_worker(server: Arbiter, worker: object) -> None:
    """A new worker would not be initialised: end, so that the platform replaces the whole container."""
    if server.LISTENERS:
        raise HaltServer("the worker process has ended", 1)
