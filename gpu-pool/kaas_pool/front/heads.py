"""Headers of objects that are longer than what a look at an object brings: those of safetensors files.

They come through the host tier, under the version that the look found, and are remembered, so that a call that reads a
hundred tensors of a file, and the next one, cost one header.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import OrderedDict
from collections.abc import Mapping

from kaas.formats import safetensors
from kaas.references import Reference
from kaas_pool.content import ObjectRange
from kaas_pool.front.mover_client import MoverClient, MoverLost
from kaas_pool.front.sightings import Answer

#: What all remembered headers may hold, in bytes.
_KEPT_BYTES = 64 << 20

#: A load that was lost with the mover is made again this often.
_ATTEMPTS = 3

#: Trust domain, and the bytes: store, object id, etag.
_Key = tuple[str, str, str, str]


class Heads:
    """The first bytes of objects. `domains` gives tenants' trust domains where they are not their own."""

    def __init__(self, mover: MoverClient, domains: Mapping[str, str], kept_bytes: int = _KEPT_BYTES) -> None:
        self._mover = mover
        self._domains = domains
        self._limit = kept_bytes
        self._bytes = 0
        self._kept: OrderedDict[_Key, bytes] = OrderedDict()
        self._coming: dict[tuple[str, _Key], asyncio.Task[bytes]] = {}

    async def enough(self, tenant: str, reference: Reference, answer: Answer, head: bytes) -> bytes:
        """As many first bytes as reading a tensor of this object takes; `head` are those there are.

        Raises `object_changed` and what else a load raises.
        """
        count = safetensors.header_bytes(head)
        if count <= len(head) or count > answer.size:
            return head
        domain = self._domains.get(tenant, tenant)
        key = (domain, answer.origin, reference.object_id, answer.etag)
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        # Not by domain: rights are each tenant's own.
        task = self._coming.get((tenant, key))
        if task is None:
            item = ObjectRange(
                reference.scheme, reference.bucket, reference.key, answer.etag, reference.version, 0, count
            )
            task = asyncio.get_running_loop().create_task(self._load(tenant, domain, item), name="load a header")
            task.add_done_callback(lambda done: self._came(tenant, key, done))
            self._coming[tenant, key] = task
        return await asyncio.shield(task)

    def _came(self, tenant: str, key: _Key, done: asyncio.Task[bytes]) -> None:
        del self._coming[tenant, key]
        # Looking at the exception tells asyncio that somebody has: perhaps nobody waits any more.
        if done.cancelled() or done.exception() is not None or key in self._kept:
            return
        self._kept[key] = done.result()
        self._bytes += len(done.result())
        while self._bytes > self._limit:
            self._bytes -= len(self._kept.popitem(last=False)[1])

    async def _load(self, tenant: str, domain: str, item: ObjectRange) -> bytes:
        for _ in range(_ATTEMPTS - 1):
            with contextlib.suppress(MoverLost):
                return await self._load_once(tenant, domain, item)
        return await self._load_once(tenant, domain, item)

    async def _load_once(self, tenant: str, domain: str, item: ObjectRange) -> bytes:
        lease = await self._mover.load(tenant, domain, item)
        try:
            return os.pread(lease.descriptor, item.size, lease.offset)
        finally:
            lease.release()
