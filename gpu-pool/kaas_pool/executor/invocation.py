"""One attempt of an invocation inside an executor: its stages and what it holds in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kaas.errors import KaasError
from kaas_pool.executor.device import Slot
from kaas_pool.executor.host import Bytes, Mapped
from kaas_pool.executor.launcher import Launcher
from kaas_pool.executor.residency import Pinned
from kaas_pool.plan import Plan
from kaas_pool.printed import Printed

#: waiting    for device memory
#: loading    for its inputs' contents
#: ready      for a compute slot
#: computing  operations are being given to a stream or run there
#: storing    the outputs are being copied to the host
#: draining   it has failed or is unwanted, but the device still works for it
#: ended      nothing of it is under way
Stage = Literal["waiting", "loading", "ready", "computing", "storing", "draining", "ended"]

TRANSITIONS: Mapping[Stage, frozenset[Stage]] = {
    "waiting": frozenset({"loading", "ready", "ended"}),
    "loading": frozenset({"ready", "ended"}),
    "ready": frozenset({"computing", "draining", "ended"}),
    "computing": frozenset({"storing", "draining", "ended"}),
    "storing": frozenset({"draining", "ended"}),
    "draining": frozenset({"ended"}),
    "ended": frozenset(),
}


class InvalidTransition(Exception):
    """A stage that cannot follow the present one: a defect."""


@dataclass
class Output:
    """Where one output goes: a mapped segment, or the answer itself when there is none."""

    buffer: str
    size: int
    segment: Mapped | None
    #: The buffer whose storage holds it after the last step; another one than `buffer` after a swap.
    storage: str = ""
    #: Page-locked memory that the device copies to, when it is not the segment itself.
    staging: Bytes | None = None


@dataclass
class Invocation:
    """One `run` of the front. Times are monotonic seconds."""

    #: Unique in this process: the front's `inv` with the link it came on.
    id: str
    inv: str
    digest: str
    plan: Plan
    #: Content key of each input buffer.
    keys: Mapping[str, str]
    outputs: list[Output]
    #: Clear outputs and temporaries first, because several tenants share the process.
    scrub: bool
    #: Compute with no other invocation on the device, so that a fault is surely its own.
    alone: bool
    received: float
    #: Collects what its kernels print; None if they call no printf.
    printed: Printed | None = None
    stage: Stage = "waiting"
    #: Set once memory is granted.
    pinned: Pinned | None = None
    #: Content keys that are not on the device yet.
    missing: set[str] = field(default_factory=set)
    #: Set while its operations are on a stream.
    slot: Slot | None = None
    launcher: Launcher | None = None
    start_event: Any = None
    #: After the last operation.
    end_event: Any = None
    #: After small outputs were copied in the same stream.
    done_event: Any = None
    loaded: float = 0.0
    started: float = 0.0
    gpu_ms: float = 0.0
    #: Why it failed, once it has.
    error: KaasError | None = None
    #: Nobody listens for it any more.
    silent: bool = False

    def move(self, stage: Stage) -> None:
        """Go to `stage`; raises InvalidTransition."""
        if stage not in TRANSITIONS[self.stage]:
            raise InvalidTransition(f"{self.id}: {self.stage} -> {stage}")
        self.stage = stage
