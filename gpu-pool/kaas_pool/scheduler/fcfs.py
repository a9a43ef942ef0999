"""First come, first served: one queue over all devices. The floor for fairness and locality."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from kaas_pool.scheduler.policy import Decision, Job, Policy, register


@register("fcfs")
class FirstComeFirstServed(Policy):
    """Jobs start in the order of their submission; those that lost an attempt go before the others."""

    def __init__(self, devices: Sequence[str], slots: int) -> None:
        super().__init__(devices, slots)
        # Not plain dicts: taking the first of a dict scans the holes that earlier removals left.
        self._retried: OrderedDict[str, Job] = OrderedDict()
        self._fresh: OrderedDict[str, Job] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._retried) + len(self._fresh)

    def submitted(self, job: Job, now: float) -> None:
        """Queue a job. Raises ValueError when one of its name waits."""
        if job.name in self._retried or job.name in self._fresh:
            raise ValueError(f"{job.name} waits already")
        (self._retried if job.retried else self._fresh)[job.name] = job

    def withdrawn(self, name: str, now: float) -> None:
        """Forget a waiting job."""
        del (self._retried if name in self._retried else self._fresh)[name]

    def measured(self, job: Job, gpu_seconds: float, now: float) -> None:
        """Nothing is charged: the order is the order."""

    def decide(self, now: float) -> list[Decision]:
        """Fill free slots from the head of the queue."""
        decisions: list[Decision] = []
        while queue := self._retried or self._fresh:
            job = next(iter(queue.values()))
            device = self.slots.best(job.domain)
            if device is None:
                break
            queue.popitem(last=False)
            self.slots.take(job.name, device, job.domain)
            decisions.append(Decision(job, device))
        return decisions
