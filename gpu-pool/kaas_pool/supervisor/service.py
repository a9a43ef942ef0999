"""The supervisor's loop: carries out what the lifecycle says, with real processes, links and signals.

One thread, no asyncio, nothing of a tenant's: it has to outlive everything else, and the children's death signals hang
on the thread that started them.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaas.errors import KaasError, PlatformError
from kaas_pool.frames import Frame, Link, LinkClosed
from kaas_pool.sandbox import Walls
from kaas_pool.sandbox.kernel import prctl
from kaas_pool.spawn import Command, kill_group, spawn
from kaas_pool.storage import is_full, storage_full
from kaas_pool.supervisor import commands
from kaas_pool.supervisor.config import PoolConfig
from kaas_pool.supervisor.control import Control
from kaas_pool.supervisor.lifecycle import (
    Child,
    Exited,
    Instruction,
    InvalidTransition,
    Kill,
    KillRequested,
    Lifecycle,
    Report,
    Spawned,
    SpawnFailed,
    Start,
    Terminate,
)

_PR_SET_CHILD_SUBREAPER = 36

#: A service that ends with this before the pool ever served cannot start: its settings or files are wrong.
_UNUSABLE = 2

#: How often the front's announcement is looked for while it starts.
_ANNOUNCEMENT_SECONDS = 0.05

#: What the front's own drain may take beyond its setting.
_DRAIN_MARGIN = 5.0


@dataclass
class _Worker:
    """An executor or compiler and what belongs to it here."""

    request: int
    device: str
    domain: str
    scratch: Path
    #: The executor's descriptor 3; compilers talk to the front alone.
    link: Link | None = None


class Supervisor:
    """One pool. `say` gets a line per event; `monotonic` is the clock."""

    def __init__(
        self,
        config: PoolConfig,
        walls: Walls,
        say: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._walls = walls
        self._say = say
        self._now = monotonic
        self._lifecycle = Lifecycle(config.drain + _DRAIN_MARGIN)
        self._selector = selectors.DefaultSelector()
        self._front: Control | None = None
        self._epoch = 0
        self._workers: dict[str, _Worker] = {}
        self._announced: dict[str, Any] | None = None
        self._listens = False
        self._exit_code = 0
        self._awake, self._wake = socket.socketpair()

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; returns the exit status."""
        prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._listen_to_signals()
        now = self._now()
        if self._config.external_mover is None:
            self._carry_out(self._lifecycle.add_service("mover", now))
        self._carry_out(self._lifecycle.add_service("front", now))
        while self._lifecycle.stage != "finished":
            for key, _ in self._selector.select(self._timeout()):
                key.data()
            self._reap()
            self._carry_out(self._lifecycle.pass_time(self._now()))
            self._look_for_announcement()
            self._watch_front()
        if self._front is not None:
            self._drop_front()
        self._say("stopped")
        return self._exit_code

    # ***** What the lifecycle says *****

    def _carry_out(self, instructions: Iterable[Instruction]) -> None:
        for instruction in instructions:
            child = self._lifecycle.children.get(instruction.child)
            match instruction:
                case Start(name):
                    self._start(name)
                case Terminate(_) if child is not None and child.pid is not None:
                    os.kill(child.pid, signal.SIGTERM)
                case Kill(_) if child is not None and child.pid is not None:
                    kill_group(child.pid)
                case Report(name, status):
                    self._report(name, status)

    def _start(self, name: str) -> None:
        try:
            if name == "front":
                pid = self._start_front()
            elif name == "mover":
                pid = spawn(commands.mover(self._config))
            else:
                pid = self._start_worker(name)
        except (OSError, KaasError) as failure:
            self._say(f"{name} could not be started: {failure}")
            self._refuse(name, failure)
            self._carry_out(self._lifecycle.handle(name, SpawnFailed(str(failure)), self._now()))
            return
        try:
            self._pid_file(name).write_text(f"{pid}\n", "ascii")
        except OSError as failure:
            # It is for people to look at: a full disk must not end the pool.
            self._say(f"{name}'s pid file cannot be written: {failure.strerror}")
        self._say(f"{name} started (process {pid})")
        self._carry_out(self._lifecycle.handle(name, Spawned(pid), self._now()))
        if name == "front":
            self._hand_over_executors()

    def _start_front(self) -> int:
        self._announcement.unlink(missing_ok=True)
        self._listens = False
        ours, theirs = Link.pair()
        try:
            port = self._announced["port"] if self._announced else None
            pid = spawn(commands.front(self._config, port), theirs.fileno())
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._epoch += 1
        self._front = Control(ours)
        self._selector.register(self._front, selectors.EVENT_READ, self._serve_front)
        return pid

    def _hand_over_executors(self) -> None:
        """Give a new front the executors that outlived the old one, each with a fresh link."""
        for child in list(self._lifecycle.children.values()):
            if child.role != "executor" or child.state != "running" or self._front is None:
                continue
            worker = self._workers[child.name]
            front_end, executor_end = Link.pair()
            self._attach(worker, executor_end)
            facts = {"child": child.name, "pid": child.pid, "role": "executor"}
            place = {"device": worker.device, "domain": worker.domain}
            self._front.send({"type": "adopted", **facts, **place}, [front_end.sock.detach()])

    def _start_worker(self, name: str) -> int:
        worker = self._workers[name]
        worker.scratch.mkdir(mode=0o700)
        front_end, child_end = Link.pair()
        try:
            if name.startswith("compiler"):
                pid = spawn(commands.compiler(self._config, worker.scratch), child_end.fileno())
                child_end.close()
            else:
                command = commands.executor(self._config, worker.device, worker.domain, worker.scratch)
                pid = self._start_executor(worker, command, child_end)
        except BaseException:
            front_end.close()
            child_end.close()
            raise
        self._answer({"type": "spawned", "id": worker.request, "child": name, "pid": pid}, [front_end.sock.detach()])
        return pid

    def _start_executor(self, worker: _Worker, command: Command, front_link: Link) -> int:
        ours, theirs = Link.pair()
        try:
            pid = spawn(command, theirs.fileno())
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.sock.setblocking(False)
        worker.link = ours
        self._attach(worker, front_link)
        return pid

    def _attach(self, worker: _Worker, executor_end: Link) -> None:
        """Send an executor its end of a link to the front of this epoch, and close it here."""
        with contextlib.closing(executor_end), contextlib.suppress(LinkClosed, BlockingIOError):
            # An executor that takes no frames is dead or wedged; the front finds out by its silence.
            if worker.link is not None:
                worker.link.send({"type": "attach", "epoch": self._epoch}, [executor_end.fileno()])

    def _report(self, name: str, status: int) -> None:
        self._pid_file(name).unlink(missing_ok=True)
        self._say(f"{name} {_ended(status)}")
        if name == "front":
            self._drop_front()
            for child in [child for child in self._lifecycle.children.values() if child.role == "compiler"]:
                self._carry_out(self._lifecycle.handle(child.name, KillRequested("its front is gone"), self._now()))
        worker = self._workers.pop(name, None)
        if worker is not None:
            self._clean(worker)
            self._answer({"type": "exited", "child": name, "status": status})

    # ***** The front *****

    def _serve_front(self) -> None:
        front = self._front
        if front is None:
            return
        front.flush()
        for frame in front.receive():
            self._take(frame)
        if front.closed:
            # It exits next, or is of no use any more.
            self._drop_front()

    def _take(self, frame: Frame) -> None:
        if frame["type"] == "spawn":
            self._spawn_worker(frame)
        elif frame["type"] == "kill":
            name = str(frame.get("child"))
            instructions: list[Instruction] = []
            if name in self._workers:
                reason = str(frame.get("reason"))
                instructions = self._lifecycle.handle(name, KillRequested(reason), self._now())
            if instructions:
                self._say(f"killing {name}: {frame.get('reason')}")
            self._carry_out(instructions)
        elif self._front is not None:
            self._front.refuse()

    def _spawn_worker(self, frame: Frame) -> None:
        role = frame.get("role")
        if role not in ("executor", "compiler"):
            failure = PlatformError("internal", f"the supervisor starts no {role!r}")
            self._answer({"type": "error", "id": frame.get("id"), "error": failure.to_json()})
            return
        try:
            name, instructions = self._lifecycle.add_worker(role, self._now())
        except InvalidTransition:
            failure = PlatformError("pool_draining", "the pool is shutting down")
            self._answer({"type": "error", "id": frame.get("id"), "error": failure.to_json()})
            return
        self._workers[name] = _Worker(
            request=int(frame["id"]),
            device=str(frame.get("device", "")),
            domain=str(frame.get("domain", "")),
            scratch=self._config.run / name,
        )
        self._carry_out(instructions)

    def _refuse(self, name: str, failure: Exception) -> None:
        worker = self._workers.pop(name, None)
        if worker is None:
            return
        self._clean(worker)
        if is_full(failure):
            error: KaasError = storage_full(f"{name} cannot be started")
        else:
            error = failure if isinstance(failure, KaasError) else PlatformError("device_unavailable", str(failure))
        self._answer({"type": "error", "id": worker.request, "error": error.to_json()})

    def _answer(self, frame: Frame, descriptors: list[int] | None = None) -> None:
        if self._front is not None:
            self._front.send(frame, descriptors or [])
            return
        for descriptor in descriptors or []:
            os.close(descriptor)

    def _watch_front(self) -> None:
        """Ask to be told when the front can take more, only while there is more."""
        if self._front is not None:
            if self._front.closed:
                self._drop_front()
                return
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._front.wants_to_write else 0)
            self._selector.modify(self._front, events, self._serve_front)

    def _drop_front(self) -> None:
        if self._front is not None:
            self._selector.unregister(self._front)
            self._front.close()
            self._front = None

    # ***** Announcing *****

    @property
    def _announcement(self) -> Path:
        return self._config.run / "front.json"

    def _look_for_announcement(self) -> None:
        if self._listens or "front" not in self._lifecycle.children:
            return
        try:
            found = json.loads(self._announcement.read_text("utf-8"))
        except (OSError, ValueError):
            return
        if found.get("pid") != self._lifecycle.children["front"].pid:
            return
        self._listens = True
        host = f"[{found['host']}]" if ":" in found["host"] else found["host"]
        url = f"{'https' if self._config.certificate else 'http'}://{host}:{found['port']}"
        if self._announced is None:
            self._say(f"{describe_device(self._config)}, sandbox: {self._walls}; listening on {url}")
        else:
            self._say(f"front listens again on {url}")
        self._announced = found

    # ***** Signals, time, files *****

    def _listen_to_signals(self) -> None:
        self._awake.setblocking(False)
        self._wake.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        self._selector.register(self._awake, selectors.EVENT_READ, self._take_signals)

    def _take_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in self._awake.recv(4096):
                if number in (signal.SIGTERM, signal.SIGINT):
                    self._say("stopping" if self._lifecycle.stage == "serving" else "stopping at once")
                    self._carry_out(self._lifecycle.stop(self._now()))
                elif number == signal.SIGHUP:
                    self._forward_hangup()

    def _forward_hangup(self) -> None:
        for name in ("front", "mover"):
            child = self._lifecycle.children.get(name)
            if child is not None and child.pid is not None:
                os.kill(child.pid, signal.SIGHUP)

    def _reap(self) -> None:
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            child = self._child_of(ended.si_pid)
            if child is not None:
                # Not reaped yet, so the group's number cannot be another's: end what the child has left running.
                kill_group(ended.si_pid)
                if ended.si_code == os.CLD_EXITED and ended.si_status == _UNUSABLE:
                    self._give_up(child)
            _, status = os.waitpid(ended.si_pid, 0)
            if child is not None:
                event = Exited(os.waitstatus_to_exitcode(status))
                self._carry_out(self._lifecycle.handle(child.name, event, self._now()))

    def _give_up(self, child: Child) -> None:
        """Stop instead of starting a service again whose settings or files are wrong, if the pool never served."""
        if child.is_service and self._announced is None and self._lifecycle.stage == "serving":
            self._say(f"{child.name} cannot start, so the pool does not")
            self._exit_code = _UNUSABLE
            self._carry_out(self._lifecycle.stop(self._now()))

    def _child_of(self, pid: int) -> Child | None:
        return next((child for child in self._lifecycle.children.values() if child.pid == pid), None)

    def _timeout(self) -> float | None:
        deadline = self._lifecycle.next_deadline
        timeout = None if deadline is None else max(0.0, deadline - self._now())
        starting = not self._listens and self._lifecycle.stage == "serving"
        return min(_ANNOUNCEMENT_SECONDS, timeout or _ANNOUNCEMENT_SECONDS) if starting else timeout

    def _pid_file(self, name: str) -> Path:
        return self._config.run / f"{name}.pid"

    def _clean(self, worker: _Worker) -> None:
        if worker.link is not None:
            worker.link.close()
        shutil.rmtree(worker.scratch, ignore_errors=True)


def describe_device(config: PoolConfig) -> str:
    """The device layer in words, for the line at the start."""
    if config.device == "cuda":
        return f"device cuda ({config.devices} device{'s' if config.devices > 1 else ''})"
    workers = os.environ.get("KAAS_EMULATOR_WORKERS") or str(len(os.sched_getaffinity(0)))
    return f"device emulated ({workers} host workers; native code, not a GPU)"


def _ended(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    return f"was ended by {signal.Signals(-status).name}"


def print_line(text: str) -> None:
    """Print a line at once, for a reader at the other end of a pipe."""
    sys.stdout.write(f"kaas-pool: {text}\n")
    sys.stdout.flush()
