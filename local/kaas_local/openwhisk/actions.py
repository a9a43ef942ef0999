"""The routes of actions: create, update, read, list, delete, invoke."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from kaas_local.openwhisk.activation import Ended
from kaas_local.openwhisk.entities import Action
from kaas_local.openwhisk.entitlement import check_action, check_package
from kaas_local.openwhisk.exchange import Exchange, answer
from kaas_local.openwhisk.invoker import Caller
from kaas_local.openwhisk.kinds import SEQUENCE
from kaas_local.openwhisk.limits import MAX_BODY_BYTES, MAX_PAYLOAD_BYTES, MAX_WAIT_MS
from kaas_local.openwhisk.names import Name, check_segment
from kaas_local.openwhisk.refusal import Refusal
from kaas_local.openwhisk.sequences import check_sequence
from kaas_local.openwhisk.services import Services
from kaas_local.openwhisk.target import Target

ACTIVATION_HEADER = "x-openwhisk-activation-id"


class Actions:
    """One method per route."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store

    async def list(self, exchange: Exchange) -> Response:
        """GET actions: all of the namespace, those in packages too"""
        return await self._list(exchange, exchange.namespace, everywhere=True)

    async def list_package(self, exchange: Exchange) -> Response:
        """GET actions/{package}/"""
        package = Name(exchange.any_namespace, None, check_segment(exchange.request.path_params["package"]))

        def check() -> None:
            check_package(self._store, package, exchange.identity.namespace)
            self._store.package(package)

        await self._services.in_store(check)
        return await self._list(exchange, str(package), everywhere=False)

    async def get(self, exchange: Exchange) -> Response:
        """GET actions/{name}: with its package's parameters, and with the code unless `code=false`"""
        name, with_code = exchange.any_name, exchange.flag("code", True)

        def find() -> Action:
            check_action(self._store, name, exchange.identity.namespace)
            package = self._store.package(name.parent) if name.parent is not None else None
            action = self._store.action(name, with_code=with_code)
            return action if package is None else action.inheriting(package)

        return answer((await self._services.in_store(find)).to_json())

    async def put(self, exchange: Exchange) -> Response:
        """PUT actions/{name}: create, or with `overwrite=true` update"""
        name, overwrite = exchange.name, exchange.flag("overwrite")
        body = await exchange.json_object(MAX_BODY_BYTES)

        def find(component: Name) -> Action | None:
            check_action(self._store, component, name.namespace)
            return self._store.find_component(component)

        def make(old: Action | None) -> Action:
            new = Action.put(old, name, body, self._services.kinds, self._services.stamp())
            if new.code.kind == SEQUENCE:
                check_sequence(name, new.code.components, find)
            return new

        action = await self._services.in_store(self._store.put_action, name, overwrite, make)
        await self._services.invoker.stop(name)
        return answer(action.to_json())

    async def delete(self, exchange: Exchange) -> Response:
        """DELETE actions/{name}"""
        name = exchange.name
        action = await self._services.in_store(self._store.delete_action, name)
        await self._services.invoker.stop(name)
        return answer(action.to_json())

    async def invoke(self, exchange: Exchange) -> Response:
        """POST actions/{name}"""
        name, blocking, bare = exchange.any_name, exchange.flag("blocking"), exchange.flag("result")
        wait_ms = exchange.number("timeout", f"Timeout must be number of milliseconds up to {MAX_WAIT_MS}.")
        if wait_ms is not None and wait_ms > MAX_WAIT_MS:
            raise Refusal(400, f"Timeout must be number of milliseconds up to {MAX_WAIT_MS}.")
        payload = await exchange.json_object(MAX_PAYLOAD_BYTES)
        sender = exchange.identity.namespace

        def find() -> Target:
            check_action(self._store, name, sender)
            found = Target.find(self._store, name)
            for component in found.action.code.components:
                check_action(self._store, component, sender)
            return found

        target = await self._services.in_store(find)
        target.check_payload(payload)
        caller = Caller(exchange.identity, exchange.transaction_id, exchange.came_ms)
        running = await self._services.invoker.start(caller, target, payload)
        ended = None
        if blocking:
            await asyncio.wait({running.task}, timeout=(MAX_WAIT_MS if wait_ms is None else wait_ms) / 1000)
            ended = running.task.result() if running.task.done() else None
        if ended is None:
            response = answer({"activationId": running.activation_id}, 202)
        else:
            response = answer(_body(ended, bare), ended.activation.http_status)
        response.headers[ACTIVATION_HEADER] = running.activation_id
        return response

    async def _list(self, exchange: Exchange, path: str, *, everywhere: bool) -> Response:
        skip, limit = exchange.page("actions")
        if exchange.flag("count"):
            found = await self._services.in_store(self._store.actions, path, everywhere=everywhere)
            return answer({"actions": max(0, len(found) - skip)})
        found = await self._services.in_store(self._store.actions, path, everywhere=everywhere, skip=skip, limit=limit)
        return answer([action.to_list() for action in found])


def _body(ended: Ended, bare: bool) -> object:
    """A blocking call's answer: arrays come bare, as OpenWhisk has it, and logs only with the record."""
    if bare or isinstance(ended.result, list):
        return ended.result
    is_sequence = "topmost" in ended.activation.annotations
    return ended.activation.to_json(ended.result, ended.logs if is_sequence else [])
