"""The front's Prometheus metrics. Series carry the tenant, so that each tenant can be shown its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest

from kaas_pool.front.invocation import Invocation

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Seconds, from a device hit to the default budget.
_BUCKETS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class _Tenant:
    """One tenant's series, looked up once: finding a labelled series costs more than changing it."""

    def __init__(self, metrics: Metrics, tenant: str) -> None:
        self.done = metrics.ended.labels(tenant, "done", "")
        self.stages = [metrics.stage.labels(tenant, stage) for stage in ("queue", "load", "compute", "store")]
        self.hits = [metrics.inputs.labels(tenant, tier) for tier in ("device", "host", "store")]
        self.bytes_loaded = metrics.bytes_loaded.labels(tenant)
        self.bytes_stored = metrics.bytes_stored.labels(tenant)
        self.gpu = metrics.gpu.labels(tenant)
        self.retries = metrics.retries.labels(tenant)
        self.total = {"done": 0, "failed": 0, "cancelled": 0, "gpu_ms": 0.0, "bytes_loaded": 0, "bytes_stored": 0}


class Metrics:
    """All series of one front."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, ["tenant", *labels], registry=self.registry)

        self.ended = counter("kaas_invocations", "Invocations that ended, by state and error code", "state", "code")
        self.retries = counter("kaas_retries", "Attempts that were lost and made again")
        self.stage = Histogram(
            "kaas_stage_seconds",
            "Time that finished invocations spent in each stage",
            ["tenant", "stage"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.inputs = counter("kaas_inputs", "Input objects, by where they were found", "tier")
        self.bytes_loaded = counter("kaas_loaded_bytes", "Bytes that came from the object store")
        self.bytes_stored = counter("kaas_stored_bytes", "Bytes of results put into the object store")
        self.lost_outputs = counter("kaas_lost_outputs", "Outputs that were acknowledged before their PUT, and lost")
        self.gpu = counter("kaas_gpu_seconds", "Device time between events around the launches")
        self.in_flight = Gauge(
            "kaas_in_flight", "Invocations accepted and not ended", ["tenant"], registry=self.registry
        )
        self.waiting = Gauge("kaas_waiting", "Invocations waiting for a slot", registry=self.registry)
        self.executors = Gauge("kaas_executors", "Living executors", registry=self.registry)
        self.executor_deaths = Counter(
            "kaas_executor_deaths", "Executors that died while they had work", registry=self.registry
        )
        #: Deaths that `executor_deaths` has counted.
        self.deaths_told = 0
        self._tenants: dict[str, _Tenant] = {}

    def end(self, life: Invocation) -> None:
        """Count an invocation that has ended."""
        tenant = self._tenants.get(life.tenant)
        if tenant is None:
            tenant = self._tenants[life.tenant] = _Tenant(self, life.tenant)
        if life.error is None:
            tenant.done.inc()
        else:
            self.ended.labels(life.tenant, life.stage, life.error.code).inc()
        tenant.total[life.stage] += 1
        if life.attempts > 1:
            tenant.retries.inc(life.attempts - 1)
        if life.result is None:
            return
        kaas: dict[str, Any] = life.result["kaas"]
        stats = kaas["stats"]
        for series, name in zip(tenant.stages, ("queue_ms", "load_ms", "compute_ms", "store_ms"), strict=True):
            series.observe(stats[name] / 1e3)
        for tier, name in zip(tenant.hits, ("device_hits", "host_hits", "misses"), strict=True):
            if stats[name]:
                tier.inc(stats[name])
        if stats["bytes_loaded"]:
            tenant.bytes_loaded.inc(stats["bytes_loaded"])
        if kaas["outputs"]:
            stored = sum(output["bytes"] for output in kaas["outputs"].values())
            tenant.bytes_stored.inc(stored)
            tenant.total["bytes_stored"] += stored
        tenant.total["bytes_loaded"] += stats["bytes_loaded"]
        tenant.total["gpu_ms"] += stats["gpu_ms"]
        tenant.gpu.inc(stats["gpu_ms"] / 1e3)

    def tenants(self, tenant: str | None) -> list[dict[str, Any]]:
        """What each tenant, or one, has had from this front since its start."""
        accounts = self._tenants if tenant is None else {tenant: self._tenants.get(tenant)}
        return [{"tenant": name, **account.total} for name, account in sorted(accounts.items()) if account is not None]

    def expose(self, tenant: str | None) -> bytes:
        """Prometheus text: everything, or the series of one tenant."""
        return generate_latest(self.registry if tenant is None else _Filtered(self.registry, tenant))


class _Filtered(CollectorRegistry):
    """What one tenant may see of a registry."""

    def __init__(self, registry: CollectorRegistry, tenant: str) -> None:
        super().__init__()
        self._registry = registry
        self._tenant = tenant

    def collect(self) -> Iterable[Metric]:
        for metric in self._registry.collect():
            samples = [sample for sample in metric.samples if sample.labels.get("tenant") == self._tenant]
            if samples:
                shown = Metric(metric.name, metric.documentation, metric.type, metric.unit)
                shown.samples = samples
                yield shown
