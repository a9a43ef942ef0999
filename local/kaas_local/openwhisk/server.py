"""The API's process: its files, its socket, its server, its signals."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import socket
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
import uvloop

from kaas_local.openwhisk.app import make_app
from kaas_local.openwhisk.clock import now_ms
from kaas_local.openwhisk.containers import Containers, Settings
from kaas_local.openwhisk.entities import Stamp
from kaas_local.openwhisk.identity import Keys
from kaas_local.openwhisk.invoker import Invoker
from kaas_local.openwhisk.kinds import Kinds
from kaas_local.openwhisk.services import Services
from kaas_local.openwhisk.store import Store, StoreThread

BACKLOG = 1024

#: Exit status when the settings or files cannot be used: starting again will not help.
UNUSABLE = 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ApiConfig:
    """What the process is started with."""

    listening: socket.socket
    #: A directory of this process's own: `api.sqlite`, and the files of actions that run.
    state: Path
    #: The namespaces' keys; see `Keys`.
    keys: Path
    #: What the action proxies get; see `containers.Settings`.
    proxy_environment: Mapping[str, str] = field(repr=False)


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers: SIGTERM ends what runs first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(config: ApiConfig) -> int:
    """Serve until SIGTERM; returns the exit status."""
    try:
        with contextlib.ExitStack() as resources:
            config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(config.state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            resources.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            keys = Keys.from_json(json.loads(config.keys.read_text("utf-8")))
            store = Store(config.state / "api.sqlite")
            resources.callback(store.close)
            uvloop.run(_serve(config, keys, store))
    except BlockingIOError:
        _log.error("another process uses %s", config.state)
    except (OSError, ValueError, sqlite3.Error) as error:
        _log.error("%s", error)
    else:
        return 0
    return UNUSABLE


async def _serve(config: ApiConfig, keys: Keys, store: Store) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    host, port = config.listening.getsockname()[:2]
    interrupted = store.end_interrupted()
    if interrupted:
        _log.warning("%d activations were cut off by the last end", interrupted)
    in_store = StoreThread()
    containers = Containers(Settings(config.state / "actions", config.proxy_environment))
    invoker = Invoker(store, in_store, containers, f"http://{host}:{port}")
    kinds = Kinds(tuple(kind for kind in Kinds().known if kind in containers.kinds))
    server = _Server(
        uvicorn.Config(
            make_app(Services(store, in_store, keys, kinds, invoker, _stamp)),
            loop="none",
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            backlog=BACKLOG,
            timeout_graceful_shutdown=2,
            timeout_keep_alive=75,
            proxy_headers=False,
            server_header=False,
            date_header=False,
        )
    )
    serving = loop.create_task(server.serve([config.listening]))
    stopped = loop.create_task(stop.wait())
    _log.info("serving on %s:%d: %s", host, port, ", ".join(kinds.known))
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    # What runs ends with an error that its callers still get, and its record with it.
    await containers.close()
    await invoker.drain()
    server.should_exit = True
    await serving
    in_store.close()


def _stamp() -> Stamp:
    return Stamp(now_ms(), uuid.uuid4().hex)
