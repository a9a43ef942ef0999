"""All processes of this machine that run actions."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kaas_local.openwhisk.clock import now_ms
from kaas_local.openwhisk.containers import answers
from kaas_local.openwhisk.containers.answers import Outcome
from kaas_local.openwhisk.containers.container import Container
from kaas_local.openwhisk.containers.model import DEVELOPER_ERROR, INTERNAL_ERROR, Answer, Call, Executable
from kaas_local.openwhisk.containers.programs import Program, find_node, programs
from kaas_local.openwhisk.containers.room import NotStartedError, Room

_STOPPING = "the API is stopping"
_WAIT = "for as long as a call may wait"

_log = logging.getLogger("kaas_local")


@dataclass(frozen=True)
class Settings:
    """How `Containers` is set up."""

    #: For the files of actions; it belongs to one Containers alone, which empties it.
    directory: Path
    #: What the action proxies get: KAAS_POOL_URL, and KAAS_TOKEN if it is to speak for every caller.
    proxy_environment: Mapping[str, str] = field(repr=False)
    #: At a time, of all actions; a Python one takes some 25 MB, with NumPy 50, an action proxy 80.
    max_processes: int = 16
    #: How long a process waits for the next call.
    idle_s: float = 300.0


class _InitError(Exception):
    """The activation that was to start the process has failed with that."""

    def __init__(self, outcome: Outcome, logs: tuple[str, ...]) -> None:
        super().__init__()
        self.outcome = outcome
        self.logs = logs


class _Action:
    """One revision of an action: its container, if there is one now, and who wants it."""

    def __init__(self, executable: Executable, program: Program) -> None:
        self.executable = executable
        self.program = program
        self.container: Container | None = None
        #: Calls that run or wait.
        self.users = 0
        self.turns = Room(program.calls)
        self.starting = asyncio.Lock()
        self.idle_since = 0.0
        self.idle_end: asyncio.TimerHandle | None = None

    def end_idleness(self) -> None:
        """Its idleness has come to an end; what would have ended it lets go of it, and of its code."""
        if self.idle_end is not None:
            self.idle_end.cancel()
            self.idle_end = None


class Containers:
    """Runs actions, each revision in a process of its own that stays warm; made and used in one event loop.

    Whoever invokes another namespace's action has a process of that action that serves nobody else.
    """

    def __init__(self, settings: Settings) -> None:
        """Removes what an earlier one has left in the directory."""
        self._settings = settings
        self._programs = programs(settings.proxy_environment, find_node())
        self._actions: dict[tuple[str, str, str, str], _Action] = {}
        self._containers: set[Container] = set()
        self._room = Room(settings.max_processes, self._evict_longest_idle)
        #: Ends that are under way.
        self._ends: dict[Container, asyncio.Task[None]] = {}
        self._is_closed = False
        settings.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in settings.directory.iterdir():
            shutil.rmtree(left, ignore_errors=True)

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that this machine can run."""
        return frozenset(self._programs)

    async def run(self, executable: Executable, call: Call) -> Answer:
        """Run one activation. It waits for its process until the deadline at most; then the action has its own time.

        Never raises for what an action does. Cancelling it kills the process, unless other calls run there.
        """
        timing = _Timing()
        logs: tuple[str, ...] = ()
        try:
            outcome, logs = await self._run(executable, call, timing)
        except _InitError as error:
            outcome, logs = error.outcome, error.logs
        except NotStartedError as error:
            outcome = answers.not_started(str(error))
        except Exception as error:  # Of this machine: no memory, no descriptors, a full disk.
            _log.exception("activation %s", call.activation_id)
            outcome = answers.failed(f"The action could not be run: {type(error).__name__}: {error}", INTERNAL_ERROR)
        return timing.answer(outcome, logs)

    async def stop(self, namespace: str, name: str) -> None:
        """The action was deleted or replaced: its process ends, after the calls that it has."""
        for key in [key for key in self._actions if key[:2] == (namespace, name)]:
            action = self._actions.pop(key)
            action.end_idleness()
            container = action.container
            if container is not None and action.users == 0:
                self._end_container(action)
                if container in self._ends:
                    await asyncio.wait({self._ends[container]})

    async def close(self) -> None:
        """Kill all processes; what runs and what waits is answered with an internal error."""
        self._is_closed = True
        self._room.close(_STOPPING)
        for action in self._actions.values():
            action.end_idleness()
        for container in list(self._containers):
            self._discard(container)
        while self._ends:
            await asyncio.wait(self._ends.values())

    async def _run(self, executable: Executable, call: Call, timing: _Timing) -> tuple[Outcome, tuple[str, ...]]:
        program = self._programs.get(executable.kind)
        if program is None:
            return answers.failed(f"This machine has nothing that runs actions of kind '{executable.kind}'."), ()
        key = (executable.namespace, executable.name, executable.revision, call.namespace)
        action = self._actions.get(key)
        if action is None:
            action = self._actions[key] = _Action(executable, program)
        action.end_idleness()
        action.users += 1
        try:
            await _before(call, action.turns.take(), f"its process was busy with other calls {_WAIT}")
            try:
                return await self._run_in_turn(action, call, timing)
            finally:
                action.turns.give_back()
        finally:
            action.users -= 1
            if action.users == 0:
                self._rest(key, action)

    async def _run_in_turn(self, action: _Action, call: Call, timing: _Timing) -> tuple[Outcome, tuple[str, ...]]:
        if action.container is not None and action.container.is_broken:  # It has ended while it was idle.
            self._leave(action, action.container)
        container = action.container
        if container is None:
            await _before(call, action.starting.acquire(), f"its process was starting {_WAIT}")
            try:
                container = action.container or await self._start(action, call, timing)
            finally:
                action.starting.release()
        container.calls += 1
        timing.begins()
        try:
            outcome = await container.run(call)
            if outcome.status == DEVELOPER_ERROR:
                container.give_up()
                if self._is_closed:
                    outcome = answers.interrupted()
            return outcome, container.log_of(call, outcome)
        except BaseException:
            container.give_up()
            raise
        finally:
            container.calls -= 1
            self._leave(action, container)

    async def _start(self, action: _Action, call: Call, timing: _Timing) -> Container:
        """Give the action a container; raises _InitError."""
        limit = self._settings.max_processes
        await _before(call, self._room.take(), f"the most processes that there may be, {limit}, were busy {_WAIT}")
        container = Container(action.executable, action.program, self._settings.directory)
        self._containers.add(container)
        timing.begins()
        try:
            outcome = await container.init(call)
            timing.initialized()
            if self._is_closed:
                outcome = answers.interrupted()
            if outcome is not None:
                raise _InitError(outcome, container.log_of(call, outcome))
            action.container = container
            return container
        finally:
            if action.container is not container:
                self._discard(container)

    def _leave(self, action: _Action, container: Container) -> None:
        """A call has left the container."""
        if container.is_broken and action.container is container:
            action.container = None
        if container.calls > 0:
            return
        action.idle_since = time.monotonic()
        if container.is_broken:
            self._discard(container)
        elif self._room.waiting > len(self._ends):  # Its own next calls wait longer than that; all in their turn.
            self._end_container(action)

    def _rest(self, key: tuple[str, str, str, str], action: _Action) -> None:
        """Nobody wants the action for now."""
        if self._actions.get(key) is not action:
            self._end_container(action)
        elif action.container is None:
            del self._actions[key]
        else:
            loop = asyncio.get_running_loop()
            action.idle_end = loop.call_later(self._settings.idle_s, self._end_idle, key, action)

    def _end_idle(self, key: tuple[str, str, str, str], action: _Action) -> None:
        self._actions.pop(key, None)
        self._end_container(action)

    def _evict_longest_idle(self) -> None:
        idle = [action for action in self._actions.values() if action.container and not action.container.calls]
        if idle:
            self._end_container(min(idle, key=lambda action: action.idle_since))

    def _end_container(self, action: _Action) -> None:
        """End an idle one; the action's next call starts another."""
        container, action.container = action.container, None
        if container is not None:
            self._discard(container)

    def _discard(self, container: Container) -> None:
        """End a container, unless that is under way or done."""
        if container in self._containers:
            self._containers.remove(container)
            self._ends[container] = asyncio.get_running_loop().create_task(self._end(container))

    async def _end(self, container: Container) -> None:
        try:
            await container.close()
        finally:
            del self._ends[container]
            self._room.give_back()


class _Timing:
    """One activation's times: it waits, its process is initialised or not, it runs."""

    def __init__(self) -> None:
        self._began: int | None = None
        self._init_ms: int | None = None

    def begins(self) -> None:
        """Its process turns to it."""
        if self._began is None:
            self._began = now_ms()

    def initialized(self) -> None:
        """Its process has answered `/init`."""
        assert self._began is not None
        self._init_ms = now_ms() - self._began

    def answer(self, outcome: Outcome, logs: tuple[str, ...]) -> Answer:
        """It has ended just now."""
        end = now_ms()
        start = end if self._began is None else self._began
        return Answer(
            start_ms=start,
            end_ms=end,
            init_ms=self._init_ms,
            status=outcome.status,
            result=outcome.result,
            logs=logs,
            timed_out=outcome.timed_out,
            size=outcome.size,
        )


async def _before(call: Call, awaited: Awaitable[object], otherwise: str) -> None:
    """Wait until the call's deadline; raises NotStartedError."""
    try:
        await asyncio.wait_for(awaited, (call.deadline_ms - now_ms()) / 1000)
    except asyncio.TimeoutError:
        raise NotStartedError(otherwise) from None
