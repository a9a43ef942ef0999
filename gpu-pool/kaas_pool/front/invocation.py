"""The life of one invocation: a state machine with its story. Pure: times are arguments (monotonic seconds)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kaas.errors import CallerError, KaasError
from kaas.messages import Invocation as Answer
from kaas.messages import LogLine, State

Stage = Literal["accepted", "queued", "loading", "computing", "storing", "done", "failed", "cancelled"]

#: Stages that hold a place on a device or in the store.
ACTIVE: frozenset[Stage] = frozenset({"loading", "computing", "storing"})
FINAL: frozenset[Stage] = frozenset({"done", "failed", "cancelled"})

#: What may follow what. `queued` after an active stage is a retry; an executor may ask for inputs while it computes
#: (`computing` to `loading`), because only its answer tells whether it had them all.
TRANSITIONS: Mapping[Stage, frozenset[Stage]] = {
    "accepted": frozenset({"queued", "done", "failed", "cancelled"}),
    "queued": frozenset({"loading", "done", "failed", "cancelled"}),
    "loading": frozenset({"computing", "storing", "queued", "done", "failed", "cancelled"}),
    "computing": frozenset({"loading", "storing", "queued", "failed", "cancelled"}),
    "storing": frozenset({"done", "queued", "failed", "cancelled"}),
    "done": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}

PUBLIC: Mapping[Stage, State] = {
    "accepted": "accepted",
    "queued": "queued",
    "loading": "running",
    "computing": "running",
    "storing": "running",
    "done": "done",
    "failed": "failed",
    "cancelled": "cancelled",
}

#: What the error of a spent budget calls each stage.
STAGE_WORDS: Mapping[Stage, str] = {
    "accepted": "being accepted",
    "queued": "waiting for a slot",
    "loading": "loading inputs",
    "computing": "computing",
    "storing": "storing results",
}

#: An invocation is tried this often in all.
MAX_ATTEMPTS = 3

_STORY_LINES = 64


def budget_exceeded(budget_ms: int, stage: Stage) -> CallerError:
    """The error of a budget that was spent in `stage`."""
    return CallerError(
        "budget_exceeded",
        f"the budget of {budget_ms} ms was spent while {STAGE_WORDS.get(stage, stage)}",
        hint="give a larger budget_ms (for an OpenWhisk action: a longer timeout), or less work",
    )


class InvalidTransition(Exception):
    """A stage that cannot follow the present one; the message carries the story."""


@dataclass
class Invocation:
    """One accepted invocation of a tenant."""

    tenant: str
    id: str
    #: Digest of the request's bundle and arguments; what makes two requests of one id the same.
    fingerprint: str
    #: When it was accepted, and until when it may go on. The budget began before its acceptance.
    accepted: float
    deadline: float
    budget_ms: int
    #: How often its id has run before, because what came of it was no result.
    rerun: int = 0
    stage: Stage = "accepted"
    #: Attempts begun.
    attempts: int = 0
    #: When the present attempt got its slot.
    granted: float = 0.0
    result: Mapping[str, Any] | None = None
    error: KaasError | None = None
    #: What the pool has to say about the call, and what the kernels of its last attempt printed.
    logs: tuple[LogLine, ...] = ()
    printed: tuple[LogLine, ...] = ()
    #: When it ended, or None.
    ended: float | None = None
    #: It was cancelled because nobody waited for it any more. That is no result either: its client may come again.
    abandoned: bool = False
    _story: list[tuple[float, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What the scheduler and executors know it by; an earlier run of its id may not have left the device yet."""
        return f"{self.tenant}/{self.id}" + (f"~{self.rerun}" if self.rerun else "")

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.stage in FINAL

    def tell(self, event: str, now: float) -> None:
        """Add a line to the story (of which the first and the latest are kept)."""
        if len(self._story) >= _STORY_LINES:
            del self._story[_STORY_LINES // 2]
        self._story.append(((now - self.accepted) * 1e3, event))

    def move(self, stage: Stage, now: float, event: str) -> None:
        """Go to `stage`; raises InvalidTransition."""
        if stage not in TRANSITIONS[self.stage]:
            raise InvalidTransition(f"{self.id}: {self.stage} -> {stage} ({event}); story: {self.story()}")
        self.stage = stage
        self.tell(event, now)
        if stage in FINAL:
            self.ended = now

    def grant(self, device: str, now: float) -> None:
        """An attempt begins: a slot of `device` is its own."""
        self.move("loading", now, f"slot granted on device {device}")
        self.attempts += 1
        self.granted = now

    def lose(self, why: KaasError, now: float) -> bool:
        """An attempt was lost; True when it waits again, False when the error is its end."""
        if why.row.retry == "platform" and self.attempts < MAX_ATTEMPTS and now < self.deadline:
            self.move("queued", now, f"attempt {self.attempts} lost: {why.code}: {why.message}")
            return True
        self.fail(why, now)
        return False

    def succeed(self, result: Mapping[str, Any], now: float) -> None:
        """The end: its outputs are where they belong."""
        self.move("done", now, "done")
        self.result = result

    def fail(self, error: KaasError, now: float) -> None:
        """The end: it did not work."""
        self.move("failed", now, f"failed: {error.code}")
        self.error = error

    def cancel(self, why: str, now: float) -> None:
        """The end: nobody wants it any more."""
        self.move("cancelled", now, f"cancelled: {why}")
        self.error = CallerError("cancelled", f"the invocation was cancelled: {why}")

    def spend(self, now: float) -> None:
        """The end: its budget is spent; the error names the stage."""
        self.fail(budget_exceeded(self.budget_ms, self.stage), now)

    def settle(self, buffer: str, now: float, *, etag: str | None = None, lost: KaasError | None = None) -> None:
        """The PUT of an output that was acknowledged before it has ended; its invocation has, too."""
        assert self.result is not None
        kaas = self.result["kaas"]
        end = {"etag": etag} if lost is None else {"lost": lost.to_json()}
        outputs = {**kaas["outputs"], buffer: {**kaas["outputs"][buffer], **end}}
        self.result = {**self.result, "kaas": {**kaas, "outputs": outputs}}
        self.tell(f"stored {buffer}" if lost is None else f"lost {buffer}: {lost.message}", now)

    def story(self) -> tuple[dict[str, Any], ...]:
        """What happened so far, as `{ms, event}` since acceptance."""
        return tuple({"ms": round(ms, 3), "event": event} for ms, event in self._story)

    def answer(self, *, with_story: bool = False) -> Answer:
        """What a client sees of it."""
        return Answer(
            id=self.id,
            state=PUBLIC[self.stage],
            result=self.result,
            error=self.error,
            logs=(*self.logs, *self.printed),
            story=self.story() if with_story else (),
        )
