"""gunicorn around the application: one worker process, because one process holds one action."""

from __future__ import annotations

from typing import Any

import flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from kaas_proxy.action import PoolAccess
from kaas_proxy.app import create_app

#: Activations at a time: OpenWhisk sends one per container, or as many as `-c` allows; Knative as containerConcurrency.
_THREADS = 64

#: After SIGTERM a run in flight has so long to end.
_STOP_SECONDS = 30


class ProxyServer(BaseApplication):  # type: ignore[misc]
    """Serves until SIGTERM; if its worker dies, so does the server."""

    def __init__(self, bind: str, access: PoolAccess) -> None:
        """`bind` is `host:port` or `fd://N`, a listening socket that was handed down."""
        self._bind = bind
        self._access = access
        super().__init__()

    def load_config(self) -> None:
        """Called by gunicorn."""
        settings: dict[str, Any] = {
            "bind": self._bind,
            "workers": 1,
            "worker_class": "gthread",
            "threads": _THREADS,
            "timeout": 0,
            "graceful_timeout": _STOP_SECONDS,
            # The two streams are the action's log: gunicorn speaks there only when something is wrong with it.
            "loglevel": "error",
            "control_socket_disable": True,
            "child_exit": _stop_without_worker,
        }
        for key, value in settings.items():
            self.cfg.set(key, value)

    def load(self) -> flask.Flask:
        """Called by gunicorn in the worker."""
        return create_app(self._access)


def _stop_without_worker(server: Arbiter, worker: object) -> None:
    """A new worker would not be initialised: end, so that the platform replaces the whole container."""
    if server.LISTENERS:
        raise HaltServer("the worker process has ended", 1)
