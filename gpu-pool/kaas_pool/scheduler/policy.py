"""The interface of scheduling policies, and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from kaas_pool.scheduler.slots import Slots


@dataclass(frozen=True)
class Job:
    """One attempt of an invocation that waits for a slot."""

    #: Unique among the jobs a policy knows.
    name: str
    tenant: str
    #: The trust domain, thus the executor it needs on a device.
    domain: str
    #: What shares an estimate and data: the bundle's digest.
    action: str
    #: Its inputs by content key, with their sizes in bytes.
    inputs: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    #: The peak of device memory it needs, in bytes.
    memory: int = 0
    #: An earlier attempt was lost through no fault of its own.
    retried: bool = False


class Decision(NamedTuple):
    """Start this job on this device now."""

    job: Job
    device: str


class Policy(ABC):
    """Events in, decisions out; times in seconds of one monotonic clock, never going back.

    The caller reports what happened through the event methods and then asks `decide`. A decided job holds a slot of its
    device until `slot_freed`. A job is withdrawn while it waits, freed once it was decided; any other name is an error.
    """

    def __init__(self, devices: Sequence[str], slots: int) -> None:
        self.slots = Slots(devices, slots)

    @abstractmethod
    def submitted(self, job: Job, now: float) -> None:
        """A job waits from now on."""

    @abstractmethod
    def withdrawn(self, name: str, now: float) -> None:
        """A waiting job is not wanted any more. Raises KeyError when no such job waits."""

    @abstractmethod
    def decide(self, now: float) -> list[Decision]:
        """Every start that is due now, in order."""

    @property
    @abstractmethod
    def waiting(self) -> int:
        """How many jobs wait."""

    def slot_freed(self, name: str, now: float) -> None:
        """A decided job uses its device no longer. Raises KeyError when it holds no slot."""
        self.slots.free(name)

    @abstractmethod
    def measured(self, job: Job, gpu_seconds: float, now: float) -> None:
        """A job ended after so much device time."""

    def executor_up(self, device: str, domain: str, now: float) -> None:
        """This domain's executor serves on this device."""
        self.slots.executor_up(device, domain)

    def executor_down(self, device: str, domain: str, now: float) -> None:
        """It ended; the jobs it ran are freed one by one."""
        self.slots.executor_down(device, domain)

    def device_up(self, device: str, now: float) -> None:
        """The device takes jobs (every device does at the start)."""
        self.slots.device_up(device)

    def device_down(self, device: str, now: float) -> None:
        """The device takes no new jobs."""
        self.slots.device_down(device)

    def validate(self) -> None:
        """Assert the invariants; for tests."""
        self.slots.validate()


#: Every policy by name.
POLICIES: dict[str, type[Policy]] = {}

_Class = TypeVar("_Class", bound=type[Policy])


def register(name: str) -> Callable[[_Class], _Class]:
    """Class decorator: make a policy known under `name`."""

    def enter(policy: _Class) -> _Class:
        if name in POLICIES:
            raise ValueError(f"two scheduling policies are called {name!r}")
        POLICIES[name] = policy
        return policy

    return enter
