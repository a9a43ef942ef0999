"""How much a namespace may start: by the minute, and at a time. Pure."""

from __future__ import annotations

from collections import Counter

from kaas_local.openwhisk.limits import ACTIVATIONS_PER_MINUTE, CONCURRENT_ACTIVATIONS
from kaas_local.openwhisk.refusal import Refusal


class Throttle:
    """Counts what was started in this minute and what runs."""

    def __init__(self, per_minute: int = ACTIVATIONS_PER_MINUTE, concurrent: int = CONCURRENT_ACTIVATIONS) -> None:
        self._per_minute = per_minute
        self._concurrent = concurrent
        self._minute = 0
        self._started: Counter[str] = Counter()
        self._running: Counter[str] = Counter()

    def enter(self, namespace: str, now_ms: int) -> None:
        """Count one more; `leave` follows. Raises Refusal, and counts nothing, where that were too many."""
        minute = now_ms // 60_000
        if minute != self._minute:
            self._minute = minute
            self._started.clear()
        started, running = self._started[namespace] + 1, self._running[namespace] + 1
        if started > self._per_minute:
            raise Refusal(429, f"Too many requests in the last minute (count: {started}, allowed: {self._per_minute}).")
        if running > self._concurrent:
            raise Refusal(
                429, f"Too many concurrent requests in flight (count: {running}, allowed: {self._concurrent})."
            )
        self._started[namespace] += 1
        self._running[namespace] += 1

    def leave(self, namespace: str) -> None:
        """One has ended."""
        self._running[namespace] -= 1
