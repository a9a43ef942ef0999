"""The life of the pool's processes as a pure state machine: events in, instructions out, time as an argument.

A *service* (front, mover) is restarted when it dies; a *worker* (executor, compiler) is not: the front, which asked for
it, is told and asks again. Stopping goes in stages: the front first, because it finishes what is in flight and needs
the others for that; then the workers; the mover last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

Role = Literal["front", "mover", "executor", "compiler"]
State = Literal["waiting", "starting", "running", "stopping", "killed", "ended"]

SERVICES: frozenset[Role] = frozenset({"front", "mover"})

#: Seconds between deaths of a service and its next starts: the first at once, then doubling up to the last.
RESTART_DELAYS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0)
#: Seconds of life after which a service's next death counts as its first.
STEADY_AFTER = 30.0
#: Seconds that SIGTERM leaves to executors and the mover before SIGKILL; compilers have nothing to finish.
WORKER_GRACE = 2.0
MOVER_GRACE = 5.0


# ***** Events *****


@dataclass(frozen=True)
class Spawned:
    """The process exists."""

    pid: int


@dataclass(frozen=True)
class SpawnFailed:
    """The process could not be made."""

    reason: str


@dataclass(frozen=True)
class Exited:
    """The process has ended and was reaped; `status` is its exit code, negative for a signal."""

    status: int


@dataclass(frozen=True)
class StopRequested:
    """It should end by itself within `grace` seconds."""

    grace: float


@dataclass(frozen=True)
class KillRequested:
    """It must end now."""

    reason: str


@dataclass(frozen=True)
class TimePassed:
    """The clock reached the child's `deadline`, or will soon."""


Event = Spawned | SpawnFailed | Exited | StopRequested | KillRequested | TimePassed


# ***** Instructions *****


@dataclass(frozen=True)
class Start:
    """Make the process and answer with `Spawned` or `SpawnFailed`."""

    child: str


@dataclass(frozen=True)
class Terminate:
    """Send SIGTERM."""

    child: str


@dataclass(frozen=True)
class Kill:
    """Send SIGKILL to the process and what it started."""

    child: str


@dataclass(frozen=True)
class Report:
    """The child's process is gone: tell who asked for it."""

    child: str
    status: int


Instruction = Start | Terminate | Kill | Report


class InvalidTransition(Exception):
    """An event that cannot happen in the child's state: a defect of the caller. The text has the child's story."""


@dataclass
class Child:
    """One process, or one service's successive processes."""

    name: str
    role: Role
    #: When to act next, on the caller's clock: the next start, or the end of a grace period; None: nothing to await.
    deadline: float | None
    state: State = "waiting"
    #: The process, while there is one.
    pid: int | None = None
    #: Deaths in a row without a steady life between them.
    failures: int = 0
    started_at: float = 0.0
    #: What happened to it, oldest first: (time, state, event).
    story: deque[tuple[float, State, Event]] = field(default_factory=lambda: deque(maxlen=64))

    @property
    def is_service(self) -> bool:
        """Whether it is started again when it dies."""
        return self.role in SERVICES

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Take an event and say what to do; raises InvalidTransition."""
        transition = self._TRANSITIONS.get((self.state, type(event)))
        if transition is None:
            told = "; ".join(f"{time:.3f} {state} {past}" for time, state, past in self.story)
            raise InvalidTransition(f"{self.name} is {self.state} and cannot take {event}; before: {told or 'nothing'}")
        self.story.append((now, self.state, event))
        instructions = transition(self, event, now)
        self.validate()
        return instructions

    def validate(self) -> None:
        """Check the invariants."""
        assert (self.pid is not None) == (self.state in ("running", "stopping", "killed")), self
        assert (self.deadline is not None) == (self.state in ("waiting", "stopping")), self
        assert self.failures == 0 or self.is_service, self

    def _start_when_due(self, _: Event, now: float) -> list[Instruction]:
        if self.deadline is not None and now < self.deadline:
            return []
        self.state, self.deadline = "starting", None
        return [Start(self.name)]

    def _run(self, event: Event, now: float) -> list[Instruction]:
        assert isinstance(event, Spawned)
        self.state, self.pid, self.started_at = "running", event.pid, now
        return []

    def _fail_to_start(self, _: Event, now: float) -> list[Instruction]:
        # Whoever asked for a worker learns it from the answer to the request.
        if not self.is_service:
            self.state = "ended"
            return []
        return self._restart(now)

    def _exit(self, event: Event, now: float) -> list[Instruction]:
        assert isinstance(event, Exited)
        self.pid = None
        report = Report(self.name, event.status)
        if not self.is_service:
            self.state = "ended"
            return [report]
        if now - self.started_at >= STEADY_AFTER:
            self.failures = 0
        return [report, *self._restart(now)]

    def _restart(self, now: float) -> list[Instruction]:
        delay = RESTART_DELAYS[min(self.failures, len(RESTART_DELAYS) - 1)]
        self.state, self.deadline, self.failures = "waiting", now + delay, self.failures + 1
        return self._start_when_due(TimePassed(), now)

    def _end(self, event: Event, _: float) -> list[Instruction]:
        assert isinstance(event, Exited)
        self.state, self.pid, self.deadline = "ended", None, None
        return [Report(self.name, event.status)]

    def _never_start(self, _: Event, __: float) -> list[Instruction]:
        self.state, self.deadline = "ended", None
        return []

    def _ask(self, event: Event, now: float) -> list[Instruction]:
        assert isinstance(event, StopRequested)
        self.state, self.deadline = "stopping", now + event.grace
        return [Terminate(self.name)]

    def _force(self, _: Event, __: float) -> list[Instruction]:
        self.state, self.deadline = "killed", None
        return [Kill(self.name)]

    def _force_when_due(self, event: Event, now: float) -> list[Instruction]:
        return self._force(event, now) if self.deadline is not None and now >= self.deadline else []

    def _nothing(self, _: Event, __: float) -> list[Instruction]:
        return []

    _TRANSITIONS: ClassVar[Mapping[tuple[State, type], Callable[[Child, Event, float], list[Instruction]]]] = {
        ("waiting", TimePassed): _start_when_due,
        ("waiting", StopRequested): _never_start,
        ("waiting", KillRequested): _never_start,
        ("starting", Spawned): _run,
        ("starting", SpawnFailed): _fail_to_start,
        ("running", Exited): _exit,
        ("running", StopRequested): _ask,
        ("running", KillRequested): _force,
        ("stopping", Exited): _end,
        ("stopping", TimePassed): _force_when_due,
        ("stopping", StopRequested): _nothing,
        ("stopping", KillRequested): _force,
        ("killed", Exited): _end,
        ("killed", StopRequested): _nothing,
        ("killed", KillRequested): _nothing,
        ("ended", StopRequested): _nothing,
        ("ended", KillRequested): _nothing,
    }


Stage = Literal["serving", "draining", "closing", "leaving", "finished"]


class Lifecycle:
    """All the pool's processes. The caller carries out instructions in order and feeds back what happened."""

    def __init__(self, drain: float) -> None:
        #: By name; workers leave when they have ended, services stay.
        self.children: dict[str, Child] = {}
        self.stage: Stage = "serving"
        self._drain = drain
        self._count = 0

    def add_service(self, role: Literal["front", "mover"], now: float) -> list[Instruction]:
        """Start a service and keep it alive."""
        return self._add(role, role, now)

    def add_worker(self, role: Literal["executor", "compiler"], now: float) -> tuple[str, list[Instruction]]:
        """Start a worker; returns its name, which is never used again."""
        self._count += 1
        name = f"{role}-{self._count}"
        return name, self._add(name, role, now)

    def handle(self, child: str, event: Event, now: float) -> list[Instruction]:
        """Take an event of one child."""
        member = self.children[child]
        instructions = member.handle(event, now)
        if member.state == "ended" and not member.is_service:
            del self.children[child]
        return [*instructions, *self._advance(now)]

    def pass_time(self, now: float) -> list[Instruction]:
        """Act on deadlines that are over."""
        due = [child.name for child in self.children.values() if child.deadline is not None and child.deadline <= now]
        return [instruction for name in due for instruction in self.handle(name, TimePassed(), now)]

    def stop(self, now: float) -> list[Instruction]:
        """Begin to stop; once more, and everything is killed at once."""
        if self.stage == "serving":
            self.stage = "draining"
            return [*self._each(now, {"front"}, StopRequested(self._drain)), *self._advance(now)]
        self.stage = "leaving"
        everyone: set[Role] = {"front", "mover", "executor", "compiler"}
        return [*self._each(now, everyone, KillRequested("asked twice")), *self._advance(now)]

    @property
    def next_deadline(self) -> float | None:
        """When `pass_time` is needed next; None: not before another event."""
        return min((child.deadline for child in self.children.values() if child.deadline is not None), default=None)

    def _add(self, name: str, role: Role, now: float) -> list[Instruction]:
        # While it drains, the front may still need workers for what it has accepted.
        if self.stage not in ("serving", "draining"):
            raise InvalidTransition(f"the pool is {self.stage} and starts no {role}")
        self.children[name] = Child(name, role, deadline=now)
        return self.handle(name, TimePassed(), now)

    def _advance(self, now: float) -> list[Instruction]:
        """Go to the next stage of stopping once the present one's processes are gone."""
        instructions: list[Instruction] = []
        if self.stage == "draining" and not self._alive({"front"}):
            self.stage = "closing"
            instructions += self._each(now, {"compiler"}, KillRequested("the pool stops"))
            instructions += self._each(now, {"executor"}, StopRequested(WORKER_GRACE))
        if self.stage == "closing" and not self._alive({"executor", "compiler"}):
            self.stage = "leaving"
            instructions += self._each(now, {"mover"}, StopRequested(MOVER_GRACE))
        if self.stage == "leaving" and not self._alive({"front", "mover", "executor", "compiler"}):
            self.stage = "finished"
        return instructions

    def _each(self, now: float, roles: set[Role], event: Event) -> list[Instruction]:
        members = [child for child in self.children.values() if child.role in roles]
        return [instruction for child in members for instruction in child.handle(event, now)]

    def _alive(self, roles: set[Role]) -> bool:
        return any(child.state != "ended" for child in self.children.values() if child.role in roles)
