"""The front's process: its socket, its server, its signals."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from kaas.errors import KaasError
from kaas_pool.front.app import make_app
from kaas_pool.front.config import FrontConfig
from kaas_pool.front.http_protocol import BoundedHttpProtocol
from kaas_pool.front.pool import Pool
from kaas_pool.front.tokens import Tokens, TokensInvalid

_BACKLOG = 1024
_GARBAGE = 20_000

#: Exit status when the settings or files cannot be used: starting again will not help.
UNUSABLE = 2

_log = logging.getLogger("kaas_pool.front")


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers: SIGTERM drains first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(config: FrontConfig) -> int:
    """Serve until SIGTERM or the end of the supervisor; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s front %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        tokens = Tokens(config.tokens)
        listening = _listen(config.host, config.port)
    except (TokensInvalid, OSError) as error:
        _log.error("%s", error)
        return UNUSABLE
    # What is there now stays, and invocations that ended stay for an hour: looking through all of it again and again
    # for cycles would be a tenth of the front's time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE, 20, 50)
    with listening:
        return uvloop.run(_serve(config, tokens, listening))


def _listen(host: str, port: int) -> socket.socket:
    [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise OSError(f"cannot listen on {host}:{port}: {error}") from error
    return listening


async def _serve(config: FrontConfig, tokens: Tokens, listening: socket.socket) -> int:
    loop = asyncio.get_running_loop()
    try:
        pool = Pool(config, tokens)
    except KaasError as error:
        _log.error("%s", error)
        # A full disk may have room again later.
        return 1 if error.code == "pool_storage_full" else UNUSABLE
    server = _Server(
        uvicorn.Config(
            make_app(pool),
            loop="none",
            http=BoundedHttpProtocol.patient(config.silent),
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=2,
            timeout_keep_alive=75,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            ssl_certfile=config.certificate,
            ssl_keyfile=config.key,
        )
    )
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    loop.add_signal_handler(signal.SIGHUP, tokens.reload)
    serving = loop.create_task(server.serve([listening]))
    stopped = loop.create_task(stop.wait())
    host, port = listening.getsockname()[:2]
    _announce(config.announcement, host, port)
    _log.info("serving on %s:%d, devices %s (%s)", host, port, ", ".join(config.devices), config.kind)
    if config.kind == "emulated":
        _log.warning("emulated devices: kernels run as native code on this machine's processor")
    ends: list[asyncio.Future[Any]] = [serving, stopped, pool.lost]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if stopped.done():
        await pool.drain()
    server.should_exit = True
    stopped.cancel()
    await serving
    await pool.close()
    return 0 if stop.is_set() else 1


def _announce(path: Path, host: str, port: int) -> None:
    """Tell where the front listens, in a file that is there whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_text(json.dumps({"host": host, "port": port, "pid": os.getpid()}))
    aside.rename(path)
