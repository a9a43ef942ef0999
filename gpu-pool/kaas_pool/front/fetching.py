"""Bundles that come from the object store: read through the host tier, under the rights of the tenant that asks."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from kaas.errors import AuthorError, CallerError, KaasError
from kaas.messages import MAX_BUNDLE_BYTES, BundleRequest
from kaas.references import Reference
from kaas_pool.content import ObjectRange
from kaas_pool.front.bundles import Bundles
from kaas_pool.front.mover_client import MoverClient, MoverLost

#: A bundle is read again if the mover was lost with it, or if it changed between the look and the load.
_ATTEMPTS = 3

#: So many bundles of a tenant are in memory at a time, others wait: 40 requests of 100 bytes took 2 GB.
_AT_A_TIME = 4

_WHERE = "reference"


class BundleFetcher:
    """Takes bundles from the store. `domains` gives tenants' trust domains where they are not their own."""

    def __init__(self, mover: MoverClient, bundles: Bundles, domains: Mapping[str, str]) -> None:
        self._mover = mover
        self._bundles = bundles
        self._domains = domains
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_AT_A_TIME))

    async def fetch(self, tenant: str, request: BundleRequest) -> dict[str, Any]:
        """Read, check, compile and keep a bundle; what an upload of it answers.

        Raises the store's errors, `bundle_too_large`, `object_changed` if it is not the one of `request.digest`, and
        whatever is wrong with the bundle.
        """
        async with self._turns[tenant]:
            return await self._take(tenant, request)

    async def _take(self, tenant: str, request: BundleRequest) -> dict[str, Any]:
        data = await self._read(tenant, request.reference)
        digest = f"sha256:{await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())}"
        if request.digest not in (None, digest):
            raise CallerError(
                "object_changed",
                f"{request.reference} holds {digest}, not {request.digest}",
                where=_WHERE,
                hint="name the digest that is there now, or none, or a version of the object (?versionId=)",
            )
        return await self._bundles.put(tenant, digest, data)

    async def _read(self, tenant: str, reference: Reference, attempts: int = _ATTEMPTS) -> bytes:
        try:
            return await self._read_once(tenant, reference)
        except KaasError as error:
            if attempts == 1 or not (isinstance(error, MoverLost) or error.code == "object_changed"):
                raise KaasError.from_json({"where": _WHERE, **error.to_json()}) from error
        return await self._read(tenant, reference, attempts - 1)

    async def _read_once(self, tenant: str, reference: Reference) -> bytes:
        named = {"scheme": reference.scheme, "bucket": reference.bucket, "key": reference.key}
        if reference.version is not None:
            named["version"] = reference.version
        _, [found] = await self._mover.stat(tenant, [named], 0)
        if "error" in found:
            raise KaasError.from_json(found["error"])
        size = int(found["size"])
        if size > MAX_BUNDLE_BYTES:
            raise AuthorError(
                "bundle_too_large",
                f"{reference} has {size} bytes; a bundle is at most {MAX_BUNDLE_BYTES}",
                where=_WHERE,
                hint="leave data out of it: bind constants to objects in the store",
            )
        if size == 0:
            return b""
        item = ObjectRange(
            reference.scheme, reference.bucket, reference.key, str(found["etag"]), reference.version, 0, size
        )
        lease = await self._mover.load(tenant, self._domains.get(tenant, tenant), item)
        try:
            return await asyncio.to_thread(os.pread, lease.descriptor, size, lease.offset)
        finally:
            lease.release()
