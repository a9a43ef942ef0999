"""The process that starts the store, the pool and the OpenWhisk API, restarts what dies, and ends them all.

`kaas up` starts it in a session of its own. It has one thread, so that the children's lives hang on it
(`kaas_local.lifeline`), and no state: a new one picks up from the state directory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from kaas.client import PoolClient
from kaas.connections import ConnectionFailedError, Connections
from kaas.errors import KaasError
from kaas_local.credentials import REGION, Credentials
from kaas_local.lifeline import tied
from kaas_local.ports import take
from kaas_local.seaweedfs import Ports, SeaweedFS, SeaweedFSError
from kaas_local.state import Process, Stack, StackError, StateDirectory

S3_PORT = 9000
POOL_PORT = 7233
API_PORT = 3233

_BACKLOG = 1024

#: The first start on a machine builds the emulated driver, which took 100 s on a busy one.
_POOL_READY_SECONDS = 300.0
_API_READY_SECONDS = 60.0
_API_ANSWER_SECONDS = 1.0
_POLL_SECONDS = 0.05

#: SIGTERM lets the pool finish what runs; `kaas down` promises an end, so it does not wait for an hour's invocation.
_DRAIN_SECONDS = 10
_POOL_STOP_SECONDS = _DRAIN_SECONDS + 10.0
_API_STOP_SECONDS = 10.0

#: So many ports are tried from the first on.
_PORTS = 1000

#: A killed process ends at once, unless the kernel is busy freeing its memory.
_KILL_SECONDS = 10.0

#: Between the restarts of a part: doubled while it keeps dying, forgotten once it has lived for a minute.
_FIRST_PAUSE_SECONDS = 0.5
_LAST_PAUSE_SECONDS = 30.0
_STABLE_SECONDS = 60.0

_log = logging.getLogger("kaas_local")


@dataclass(frozen=True)
class Options:
    """What `kaas up` was asked for; `device` is `cuda` or `emulated`, `namespaces` are those besides the known ones."""

    device: str
    devices: int
    allow_unsandboxed: bool
    namespaces: Sequence[str]


class _Stopped(BaseException):
    """SIGTERM or SIGINT: everything ends. Not an Exception, so that nothing on the way takes it for a failure."""


class _Report:
    """Tells `kaas up` how far the start is, by lines of JSON on an inherited descriptor."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def send(self, **message: object) -> None:
        """Send a message; who gave up listening misses it."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.write(self._descriptor, json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        """The start is over."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Daemon:
    """The store, the pool, the OpenWhisk API, and their watch."""

    def __init__(self, state: StateDirectory, options: Options, report: _Report) -> None:
        self._state = state
        self._options = options
        self._report = report
        self._credentials = Credentials.ensure(state, options.namespaces)
        (state.path / "store").mkdir(mode=0o700, exist_ok=True)
        (state.path / "pool").mkdir(mode=0o700, exist_ok=True)
        (state.path / "openwhisk").mkdir(mode=0o700, exist_ok=True)
        self._store = SeaweedFS(
            state.path / "store", Ports.choose(S3_PORT), self._credentials.identities(), dies_with_parent=True
        )
        self._pool_port = _free_port(POOL_PORT, "the pool")
        # Open for as long as this process lives: a client that comes while the API restarts waits for it.
        self._api_socket = _listen(API_PORT, "the OpenWhisk API")
        self._pool: subprocess.Popen[bytes] | None = None
        self._api: subprocess.Popen[bytes] | None = None

    @property
    def _pool_url(self) -> str:
        return f"http://127.0.0.1:{self._pool_port}"

    @property
    def _api_url(self) -> str:
        return f"http://127.0.0.1:{self._api_socket.getsockname()[1]}"

    def run(self) -> None:
        """Start everything, say so, and watch; returns by an exception only."""
        try:
            self._start()
            self._report.send(ready=True)
            self._report.close()
            _log.info("ready: OpenWhisk %s, pool %s, store %s", self._api_url, self._pool_url, self._store.endpoint)
            self._watch()
        finally:
            self._stop()

    def _start(self) -> None:
        self._report.send(step="the object store")
        self._start_pool_process()  # each takes about a second: together
        self._start_api_process()
        self._start_store()
        self._report.send(step=self._pool_step())
        self._await_pool()
        self._report.send(step="the OpenWhisk API")
        self._await_api()
        self._record()

    def _pool_step(self) -> str:
        if self._options.device == "cuda":
            return "the GPU pool"
        return "the GPU pool (the first start on a machine builds the emulated driver)"

    def _start_store(self) -> None:
        try:
            self._store.start()
        except SeaweedFSError as error:
            raise _StartError("store", str(error)) from error
        try:
            with self._admin_client() as client:
                present = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
                for bucket in self._credentials.buckets:
                    if bucket not in present:
                        client.create_bucket(Bucket=bucket)
        except (BotoCoreError, ClientError) as error:
            raise _StartError("store", f"the buckets cannot be made: {error}") from error

    @contextlib.contextmanager
    def _admin_client(self) -> Iterator[Any]:
        key = self._credentials.admin_key
        client = boto3.client(
            "s3",
            endpoint_url=self._store.endpoint,
            aws_access_key_id=key.access_key,
            aws_secret_access_key=key.secret_key,
            region_name=REGION,
            config=Config(s3={"addressing_style": "path"}),
        )
        try:
            yield client
        finally:
            client.close()

    def _start_pool_process(self) -> None:
        state = self._state
        tokens = state.write_json("pool/tokens.json", self._credentials.tokens())
        stores = state.write_json("pool/stores.json", self._credentials.stores(self._store.endpoint))
        command = [sys.executable, "-m", "kaas_pool", f"--state-dir={state.path / 'pool'}"]
        command += [f"--listen=127.0.0.1:{self._pool_port}", f"--tokens={tokens}", f"--stores={stores}"]
        command += [
            f"--device={self._options.device}",
            f"--devices={self._options.devices}",
            f"--drain={_DRAIN_SECONDS}",
        ]
        command.append(f"--controller={self._api_url}")
        if self._options.allow_unsandboxed:
            command.append("--allow-unsandboxed")
        self._pool = self._child("pool", command)

    def _start_api_process(self) -> None:
        state = self._state
        keys = state.write_json("openwhisk/keys.json", self._credentials.api_keys())
        command = [sys.executable, "-m", "kaas_local.openwhisk", f"--listen=fd://{self._api_socket.fileno()}"]
        command += [f"--state-dir={state.path / 'openwhisk'}", f"--keys={keys}"]
        # No token: the pool is to see the key of whoever invokes an action, as in a cluster.
        inherited = {name: value for name, value in os.environ.items() if name != "KAAS_TOKEN"}
        environment = {**inherited, "KAAS_POOL_URL": self._pool_url}
        self._api = self._child("openwhisk", command, environment, [self._api_socket.fileno()])

    def _child(
        self, part: str, command: list[str], environment: dict[str, str] | None = None, descriptors: Sequence[int] = ()
    ) -> subprocess.Popen[bytes]:
        with self._state.log(part).open("ab") as log:
            return subprocess.Popen(
                tied(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=descriptors,
            )

    def _await_pool(self) -> None:
        assert self._pool is not None
        give_up = time.monotonic() + _POOL_READY_SECONDS
        with PoolClient(self._pool_url, reconnect_s=0) as client:
            while True:
                try:
                    client.ready()
                    return
                except KaasError as error:
                    last = error
                try:
                    status = self._pool.wait(_POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    if time.monotonic() < give_up:
                        continue
                    raise _StartError("pool", f"not ready after {_POOL_READY_SECONDS:g} s: {last.message}") from last
                raise _StartError("pool", f"the pool ended with status {status}")

    def _await_api(self) -> None:
        assert self._api is not None
        give_up = time.monotonic() + _API_READY_SECONDS
        with contextlib.closing(Connections(self._api_url)) as connections:
            while True:
                try:
                    connections.send("GET", "/ping", None, {}, connect_s=1, answer_s=_API_ANSWER_SECONDS)
                    return
                except ConnectionFailedError as error:
                    last = error
                try:
                    status = self._api.wait(_POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    if time.monotonic() < give_up:
                        continue
                    raise _StartError("openwhisk", f"not ready after {_API_READY_SECONDS:g} s: {last}") from last
                raise _StartError("openwhisk", f"the OpenWhisk API ended with status {status}")

    def _record(self) -> None:
        assert self._pool is not None
        assert self._api is not None
        assert self._store.process is not None
        found = {"daemon": os.getpid(), "openwhisk": self._api.pid, "pool": self._pool.pid}
        found["store"] = self._store.process.pid
        processes = {name: process for name, pid in found.items() if (process := Process.of(pid)) is not None}
        stack = Stack(self._options.device, self._pool_url, self._store.endpoint, self._api_url, processes)
        self._state.write_json("stack.json", stack.to_json())

    def _watch(self) -> None:
        store = _Restarts("the object store", self._start_store)
        pool = _Restarts("the pool", self._start_pool_process)
        api = _Restarts("the OpenWhisk API", self._start_api_process)
        while True:
            assert self._pool is not None
            assert self._api is not None
            if self._store.process is None or self._store.process.poll() is not None:
                self._store.stop()
                store.restart()
            elif self._pool.poll() is not None:
                pool.restart()
            elif self._api.poll() is not None:
                api.restart()
            else:
                _wait_for_end(self._pool, self._store.process, self._api)
                continue
            self._record()

    def _stop(self) -> None:
        """End who uses the others first: the API invokes in the pool, the pool writes to the store until the last."""
        self._state.forget_stack()
        _end("the OpenWhisk API", self._api, _API_STOP_SECONDS)
        _end("the pool", self._pool, _POOL_STOP_SECONDS)
        self._store.stop()


class _Restarts:
    """Restarts of one part, ever slower while it keeps dying."""

    def __init__(self, name: str, start: Callable[[], None]) -> None:
        self._name = name
        self._start = start
        self._started = time.monotonic()
        self._pause = _FIRST_PAUSE_SECONDS

    def restart(self) -> None:
        """Start the part again, after a pause."""
        if time.monotonic() - self._started > _STABLE_SECONDS:
            self._pause = _FIRST_PAUSE_SECONDS
        _log.error("%s has ended; it is started again in %.1f s", self._name, self._pause)
        time.sleep(self._pause)  # The back-off itself; a part that dies meanwhile waits for its end.
        self._pause = min(2 * self._pause, _LAST_PAUSE_SECONDS)
        self._started = time.monotonic()
        try:
            self._start()
        except _StartError as error:
            _log.error("%s: %s", self._name, error)


class _StartError(Exception):
    """A part did not start; its log may say why."""

    def __init__(self, part: str, message: str) -> None:
        super().__init__(message)
        self.part = part


def _end(name: str, child: subprocess.Popen[bytes] | None, seconds: float) -> None:
    if child is None or child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        _log.warning("%s does not end; it is killed", name)
        child.kill()
        child.wait()


def _wait_for_end(*children: subprocess.Popen[bytes]) -> None:
    """Return when one of the children has ended."""
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as descriptors:
        for child in children:
            descriptor = os.pidfd_open(child.pid)
            descriptors.callback(os.close, descriptor)
            selector.register(descriptor, selectors.EVENT_READ)
        selector.select()


def _free_port(first: int, part: str) -> int:
    for port in range(first, first + _PORTS):
        if take(port):
            return port
    raise _no_port(first, part)


def _listen(first: int, part: str) -> socket.socket:
    for port in range(first, first + _PORTS):
        with contextlib.suppress(OSError):
            return socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
    raise _no_port(first, part)


def _no_port(first: int, part: str) -> StackError:
    return StackError(f"no free port from {first} to {first + _PORTS - 1} for {part}", "free one of them")


def end_leftovers(state: StateDirectory) -> None:
    """End what is left of a stack whose daemon has died, if the kernel has not done so already.

    Until it has ended it holds ports and locks, that of the pool's directory among them.
    """
    stack = state.read_stack()
    for process in stack.processes.values() if stack else ():
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(process.pid)
            try:
                if process.is_alive:
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    select.select([descriptor], [], [], _KILL_SECONDS)
            finally:
                os.close(descriptor)
    state.forget_stack()


def _stop_on_signal(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one is enough: the end is not to be interrupted
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise _Stopped


def main() -> int:
    """Run the daemon; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m kaas_local.daemon", description="Started by `kaas up`.")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--device", choices=("cuda", "emulated"), required=True)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--allow-unsandboxed", action="store_true")
    parser.add_argument("--namespace", action="append", default=[])
    parser.add_argument("--report", type=int, help="descriptor for the progress of the start")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    state = StateDirectory(given.state_dir)
    report = _Report(given.report)
    if state.take_lock() is None:
        holder = state.holder()
        stage = "runs" if state.running() else "is starting or stopping"
        report.send(
            failed=f"another `kaas up` holds {state.path} (process {holder.pid if holder else 'unknown'}), "
            f"and its stack {stage}",
            hint="`kaas status` tells when it is ready, `kaas down` stops it; "
            "a second stack needs a directory of its own: KAAS_STATE_DIR=DIR kaas up",
        )
        return 1
    signal.signal(signal.SIGTERM, _stop_on_signal)
    signal.signal(signal.SIGINT, _stop_on_signal)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        end_leftovers(state)
        options = Options(given.device, given.devices, given.allow_unsandboxed, given.namespace)
        Daemon(state, options, report).run()
    except _Stopped:
        _log.info("stopped")
        report.send(failed="the stack was stopped while it started", hint="`kaas up` starts it again")
        return 0
    except _StartError as error:
        _log.error("%s", error)
        report.send(failed=str(error), part=error.part)
    except StackError as error:
        report.send(failed=error.message, hint=error.hint, part="daemon")
    except SeaweedFSError as error:
        report.send(failed=str(error), part="daemon")
    except OSError as error:
        report.send(
            failed=f"the state directory {state.path} cannot be used: {error.strerror}",
            hint="make room there, or set KAAS_STATE_DIR to another directory",
            part="daemon",
        )
    except Exception as error:
        _log.exception("unexpected")
        report.send(failed=f"{type(error).__name__}: {error}", part="daemon")
    return 1


if __name__ == "__main__":
    sys.exit(main())
