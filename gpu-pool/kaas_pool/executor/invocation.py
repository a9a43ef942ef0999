"""One attempt of an invocation inside an executor: its stages and what it holds in each."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from kaas.errors import KaasError, PlatformError
from kaas_pool.executor.computation import Computation
from kaas_pool.executor.host import Bytes, Mapped
from kaas_pool.executor.profile import Profile
from kaas_pool.executor.residency import Pinned
from kaas_pool.frames import Frame
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
    #: Gets the times of its operations.
    profile: Profile | None = None
    stage: Stage = "waiting"
    #: Set once memory is granted.
    pinned: Pinned | None = None
    #: Content keys that are not on the device yet.
    missing: set[str] = field(default_factory=set)
    #: Set once its operations are on a stream.
    computation: Computation | None = None
    loaded: float = 0.0
    started: float = 0.0
    gpu_ms: float = 0.0
    #: Why it failed, once it has.
    error: KaasError | None = None
    #: Nobody listens for it any more.
    silent: bool = False

    @staticmethod
    def of(frame: Frame, descriptors: Sequence[int], identifier: str, plan: Plan) -> Invocation:
        """What a `run` asks for, received now. Raises `internal` where its inputs are not the plan's."""
        keys = {item["buffer"]: item["key"] for item in frame["inputs"]}
        if keys.keys() != plan.inputs:
            raise PlatformError("internal", f"inputs {sorted(keys)} were given, and {sorted(plan.inputs)} are read")
        outputs = []
        for item in frame["outputs"]:
            size = plan.size_of(item["buffer"])
            segment = None
            if item.get("segment") is not None:
                segment = Mapped(descriptors[item["fd"]], 0, size, writable=True)
            outputs.append(Output(item["buffer"], size, segment))
        return Invocation(
            id=identifier,
            inv=str(frame["inv"]),
            digest=frame["digest"],
            plan=plan,
            keys=keys,
            outputs=outputs,
            scrub=bool(frame.get("scrub", False)),
            alone=bool(frame.get("alone", False)),
            received=time.monotonic(),
        )

    def move(self, stage: Stage) -> None:
        """Go to `stage`; raises InvalidTransition."""
        if stage not in TRANSITIONS[self.stage]:
            raise InvalidTransition(f"{self.id}: {self.stage} -> {stage}")
        self.stage = stage

    def inline(self) -> dict[str, str]:
        """The outputs without a segment, as base64; those that were staged are in their segments then."""
        found = {}
        for output in self.outputs:
            if output.segment is None:
                assert output.staging is not None
                found[output.buffer] = base64.b64encode(output.staging.data).decode()
            elif output.staging is not None:
                output.segment.array[:] = output.staging
        return found

    def statistics(self, now: float) -> dict[str, Any]:
        """What `done` says of it."""
        assert self.pinned is not None
        assert self.computation is not None
        stats: dict[str, Any] = {
            "device_hits": self.pinned.hits,
            "load_ms": (self.loaded - self.received) * 1e3,
            "compute_ms": (now - self.started) * 1e3,
            "gpu_ms": self.gpu_ms,
        }
        return {**stats, "rounds": self.computation.rounds} if self.plan.untils else stats

    def close_outputs(self) -> None:
        """Let go of the outputs' memory on the host."""
        for output in self.outputs:
            output.staging = None
            if output.segment is not None:
                output.segment.close()
