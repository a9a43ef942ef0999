"""Which devices serve: each is looked at before it gets work, and again when executors do not start there any more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from kaas.errors import KaasError
from kaas_pool.front.executors import Executors

#: So many executors in a row that did not start take a device out of service.
FAILURES = 2

#: Seconds between looks at a device that does not serve: the first, doubled up to the last.
_FIRST_PAUSE = 0.5
_LAST_PAUSE = 30.0

_log = logging.getLogger(__name__)


class Devices:
    """The devices by name. `on_up(device)` and `on_down(device)` are called in the loop; all begin out of service."""

    def __init__(
        self,
        devices: Sequence[str],
        executors: Executors,
        on_up: Callable[[str], None],
        on_down: Callable[[str], None],
        first_pause: float = _FIRST_PAUSE,
    ) -> None:
        self._executors = executors
        self._on_up = on_up
        self._on_down = on_down
        self._first_pause = first_pause
        self._failures = dict.fromkeys(devices, 0)
        self._problems: dict[str, str] = dict.fromkeys(devices, "it has not been looked at yet")
        self._looking: dict[str, asyncio.Task[None]] = {}
        executors.report_starts(self._started)
        for device in devices:
            on_down(device)
            self._look_after(device)

    def problem(self, device: str) -> str | None:
        """Why a device does not serve; None when it does."""
        return self._problems.get(device)

    def why_none(self) -> str | None:
        """Why no device serves; None when one does."""
        if len(self._problems) < len(self._failures):
            return None
        return "no device serves: " + "; ".join(f"{device}: {why}" for device, why in self._problems.items())

    async def close(self) -> None:
        """Stop looking."""
        for task in self._looking.values():
            task.cancel()
        await asyncio.gather(*self._looking.values(), return_exceptions=True)

    def _started(self, device: str, error: KaasError | None) -> None:
        """An executor has started there, or has not (the executors' callback)."""
        if error is None:
            self._failures[device] = 0
            return
        self._failures[device] += 1
        if self._failures[device] >= FAILURES and device not in self._problems:
            _log.error("device %s is taken out of service: %s", device, error)
            self._problems[device] = error.message
            self._on_down(device)
            self._look_after(device)

    def _look_after(self, device: str) -> None:
        self._looking[device] = asyncio.get_running_loop().create_task(self._look(device), name=f"look at {device}")

    async def _look(self, device: str) -> None:
        """Start an executor there until one serves, with growing pauses."""
        pause = self._first_pause
        while (error := await self._probe(device)) is not None:
            _log.error("device %s does not serve: %s", device, error)
            self._problems[device] = error.message
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE)
        _log.info("device %s serves", device)
        del self._problems[device]
        self._on_up(device)

    async def _probe(self, device: str) -> KaasError | None:
        # Before the first failure, an executor that outlived an earlier front tells as much as a new one.
        if self._failures[device] == 0 and self._executors.facts(device) is not None:
            return None
        try:
            await self._executors.probe(device)
        except KaasError as error:
            return error
        return None
