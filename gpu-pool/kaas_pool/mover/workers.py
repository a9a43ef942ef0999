"""Threads for blocking store I/O, shared fairly between tenants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakValueDictionary

from kaas_pool.mover.cancellation import Cancellation

_Result = TypeVar("_Result")

THREADS = 32

#: So that one tenant's slow store leaves threads for the others.
THREADS_PER_TENANT = 12


class Workers:
    """Runs blocking calls; more than the threads can take wait in the loop, per tenant in order."""

    def __init__(self, threads: int = THREADS, per_tenant: int = THREADS_PER_TENANT) -> None:
        self._threads = ThreadPoolExecutor(threads, "store")
        self._per_tenant = per_tenant
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def run(self, tenant: str, token: Cancellation, call: Callable[[], _Result]) -> _Result:
        """The call's result from a thread; raises what it raises, and Cancelled if it has not begun in time."""
        turn = self._turns.get(tenant)
        if turn is None:
            turn = self._turns[tenant] = asyncio.Semaphore(self._per_tenant)
        async with turn:
            token.check()
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
