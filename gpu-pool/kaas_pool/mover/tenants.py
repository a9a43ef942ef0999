"""Which store a tenant's request goes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kaas.errors import CallerError, PlatformError
from kaas_pool.mover.stores.file import FileStore
from kaas_pool.mover.stores.store import ObjectStore
from kaas_pool.mover.stores_file import StoreRights

if TYPE_CHECKING:
    from kaas_pool.mover.stores.s3 import S3Store


class Tenants:
    """Stores by tenant and scheme; a store and its connections live until its rights change."""

    def __init__(self, rights: Mapping[str, StoreRights], files: FileStore | None) -> None:
        self._rights: Mapping[str, StoreRights] = {}
        self._stores: dict[str, S3Store] = {}
        self._files = files
        self.update(rights)

    def update(self, rights: Mapping[str, StoreRights]) -> None:
        """Replace all rights; operations under way end under those they began with."""
        for tenant in [tenant for tenant in self._stores if rights.get(tenant) != self._rights[tenant]]:
            self._stores.pop(tenant).close()
        self._rights = rights

    def origin(self, tenant: str) -> str:
        """The opaque name of the tenant's endpoint; of the local files for one without."""
        rights = self._rights.get(tenant)
        return rights.origin if rights is not None else "local"

    def store(self, tenant: str, scheme: str) -> ObjectStore:
        """The store for a tenant's references of one scheme; raises store_not_configured, reference_invalid."""
        if scheme == "file":
            if self._files is None:
                raise PlatformError(
                    "store_not_configured",
                    "this pool serves no file:// references",
                    hint="use s3:// references, or start the mover with --allow-file-root DIR",
                )
            return self._files
        if scheme != "s3":
            raise CallerError("reference_invalid", f"{scheme}:// is no scheme of this pool", hint="use s3://bucket/key")
        store = self._stores.get(tenant)
        if store is None:
            store = self._stores[tenant] = self._s3(tenant)
        return store

    def _s3(self, tenant: str) -> S3Store:
        rights = self._rights.get(tenant)
        if rights is None:
            raise PlatformError(
                "store_not_configured",
                f"the pool has no object store credentials for tenant {tenant!r}",
                hint="add the tenant to stores.json and send the mover a SIGHUP",
            )
        # Here, because botocore is not installed where files stand in for S3.
        from kaas_pool.mover.stores.connections import Connections
        from kaas_pool.mover.stores.s3 import S3Store

        return S3Store(rights, Connections(rights.endpoint, rights.ca_bundle))
