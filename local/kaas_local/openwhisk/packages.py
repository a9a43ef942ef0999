"""The routes of packages."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from kaas_local.openwhisk.entities import Package
from kaas_local.openwhisk.entitlement import check_package
from kaas_local.openwhisk.exchange import Exchange, answer
from kaas_local.openwhisk.limits import MAX_BODY_BYTES
from kaas_local.openwhisk.names import RESERVED_PACKAGES
from kaas_local.openwhisk.refusal import Refusal
from kaas_local.openwhisk.services import Services


class Packages:
    """One method per route."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store

    async def list(self, exchange: Exchange) -> Response:
        """GET packages: of another namespace, the published ones"""
        namespace, (skip, limit) = exchange.any_namespace, exchange.page("packages")
        found = await self._services.in_store(self._store.packages, namespace)
        shown = [package for package in found if package.publish or namespace == exchange.identity.namespace]
        if exchange.flag("count"):
            return answer({"packages": max(0, len(shown) - skip)})
        return answer([package.to_list() for package in shown[skip : skip + limit]])

    async def get(self, exchange: Exchange) -> Response:
        """GET packages/{name}: with the names of its actions"""
        name = exchange.any_name

        def find() -> dict[str, Any]:
            check_package(self._store, name, exchange.identity.namespace)
            package = self._store.package(name)
            actions = self._store.actions(str(name), everywhere=False)
            named = [
                {"name": one.name.name, "version": one.version, "annotations": one.annotations.to_json()}
                for one in actions
            ]
            return {**package.to_json(), "actions": named, "feeds": []}

        return answer(await self._services.in_store(find))

    async def put(self, exchange: Exchange) -> Response:
        """PUT packages/{name}: create, or with `overwrite=true` update"""
        name, overwrite = exchange.name, exchange.flag("overwrite")
        if name.name in RESERVED_PACKAGES:
            raise Refusal(400, f"Package name '{name.name}' is reserved.")
        body = await exchange.json_object(MAX_BODY_BYTES)

        def make(old: Package | None) -> Package:
            return Package.put(old, name, body, self._services.stamp())

        return answer((await self._services.in_store(self._store.put_package, name, overwrite, make)).to_json())

    async def delete(self, exchange: Exchange) -> Response:
        """DELETE packages/{name}: an empty one, or with `force=true` its actions too"""
        name, force = exchange.name, exchange.flag("force")
        package, names = await self._services.in_store(self._store.delete_package, name, force)
        for one in names:
            await self._services.invoker.stop(one)
        return answer(package.to_json())
