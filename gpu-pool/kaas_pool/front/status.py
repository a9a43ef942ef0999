"""What `/v1/devices`, `/v1/cache`, `/v1/queues` and `/v1/tenants` answer; a tenant sees its own part."""

from __future__ import annotations

from collections import Counter
from typing import Any

from kaas_pool.front.config import FrontConfig
from kaas_pool.front.devices import Devices
from kaas_pool.front.dispatch import Dispatcher
from kaas_pool.front.executors import PROBE, Executors
from kaas_pool.front.mover_client import MoverClient
from kaas_pool.front.tokens import Identity


class Status:
    """Views of the running pool for one identity at a time."""

    def __init__(
        self,
        config: FrontConfig,
        devices: Devices,
        executors: Executors,
        dispatcher: Dispatcher,
        mover: MoverClient,
    ) -> None:
        self._config = config
        self._devices = devices
        self._executors = executors
        self._dispatcher = dispatcher
        self._mover = mover

    def devices(self, identity: Identity) -> dict[str, Any]:
        """Devices, their slots and executors."""
        entries: list[dict[str, Any]] = []
        for device in self._config.devices:
            facts = self._executors.facts(device)
            entry: dict[str, Any] = {"device": device, "kind": self._config.kind, "slots": self._config.slots}
            if facts is not None:
                entry |= {
                    "name": facts.name,
                    "memory_bytes": facts.memory_bytes,
                    "compute_capability": ".".join(map(str, facts.compute_capability)),
                }
            problem = self._devices.problem(device)
            entry["serves"] = problem is None
            if problem is not None:
                entry["problem"] = problem
            entry["busy"] = self._dispatcher.policy.slots.busy(device)
            entry["executors"] = [
                {
                    "domain": executor.domain,
                    "pid": executor.child.pid,
                    "users": executor.users,
                    "held_bytes": executor.held_bytes,
                    "pinned_bytes": executor.pinned_bytes,
                }
                for executor in self._executors
                if executor.device == device
                and executor.domain != PROBE
                and self._sees_domain(identity, executor.domain)
            ]
            entries.append(entry)
        return {"devices": entries}

    async def cache(self, identity: Identity) -> dict[str, Any]:
        """What lies on the devices; for `admin` also the account of the host tier."""
        answer: dict[str, Any] = {
            "device": [
                {
                    "device": executor.device,
                    "domain": executor.domain,
                    "objects": len(executor.resident),
                    "bytes": sum(executor.resident.values()),
                }
                for executor in self._executors
                if executor.domain != PROBE and self._sees_domain(identity, executor.domain)
            ]
        }
        if "admin" in identity.scopes:
            answer["host"] = await self._mover.status()
        return answer

    def queues(self, identity: Identity) -> dict[str, Any]:
        """Invocations that have not ended, by tenant and state."""
        counts: dict[str, Counter[str]] = {}
        for ticket in self._dispatcher.unfinished:
            if _may_see(identity, ticket.life.tenant):
                counts.setdefault(ticket.life.tenant, Counter())[ticket.life.answer().state] += 1
        queues = [
            {"tenant": tenant, **{state: found[state] for state in ("accepted", "queued", "running")}}
            for tenant, found in sorted(counts.items())
        ]
        return {"policy": self._config.policy, "queues": queues}

    def _sees_domain(self, identity: Identity, domain: str) -> bool:
        return domain == self._config.domain_of(identity.tenant) or "admin" in identity.scopes


def _may_see(identity: Identity, tenant: str) -> bool:
    return tenant == identity.tenant or "admin" in identity.scopes
