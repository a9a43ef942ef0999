"""Bundles that come from the object store: how many at a time."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

from kaas.messages import BundleRequest
from kaas.references import Reference
from kaas_pool.front.bundles import Bundles
from kaas_pool.front.fetching import BundleFetcher
from kaas_pool.front.mover_client import MoverClient

CONTENT = b"kaas: 1"
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Peers:
    """A mover that has the bundle, and bundles that take it when they are told to."""

    def __init__(self) -> None:
        self.loaded: Counter[str] = Counter()
        self.go_on = asyncio.Event()
        self.descriptor = os.memfd_create("bundle")
        os.write(self.descriptor, CONTENT)

    async def stat(self, tenant: str, objects: Any, head: int) -> Any:
        return None, [{"etag": "e", "size": len(CONTENT)}]

    async def load(self, tenant: str, domain: str, item: Any) -> Any:
        self.loaded[tenant] += 1
        return SimpleNamespace(descriptor=self.descriptor, offset=0, release=lambda: None)

    async def put(self, tenant: str, digest: str, data: bytes) -> dict[str, Any]:
        await self.go_on.wait()
        return {"digest": digest}


async def fetch_many() -> tuple[Counter[str], Counter[str], set[str]]:
    """What was loaded while nothing went on, and in the end; and the digests."""
    peers = Peers()
    fetcher = BundleFetcher(cast(MoverClient, peers), cast(Bundles, peers), {})
    request = BundleRequest(Reference.parse("s3://data/x.zip", ""), None)
    fetching = [asyncio.create_task(fetcher.fetch(tenant, request)) for tenant in (*("alice",) * 10, "bob")]
    while peers.loaded["bob"] == 0:
        await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    meanwhile = Counter(peers.loaded)
    peers.go_on.set()
    digests = {answer["digest"] for answer in await asyncio.gather(*fetching)}
    os.close(peers.descriptor)
    return meanwhile, peers.loaded, digests


def test_a_tenant_has_few_bundles_in_memory_at_a_time_and_keeps_nobody_waiting() -> None:
    meanwhile, loaded, digests = asyncio.run(asyncio.wait_for(fetch_many(), 60))
    assert meanwhile == {"alice": 4, "bob": 1}
    assert loaded == {"alice": 10, "bob": 1}
    assert digests == {DIGEST}
