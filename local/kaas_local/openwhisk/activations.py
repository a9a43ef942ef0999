"""The routes of activations: list, get, logs, result."""

from __future__ import annotations

from starlette.responses import Response

from kaas_local.openwhisk.activation import Ended
from kaas_local.openwhisk.exchange import Exchange, answer
from kaas_local.openwhisk.names import check_activation_id
from kaas_local.openwhisk.refusal import Refusal
from kaas_local.openwhisk.services import Services
from kaas_local.openwhisk.store import Which

_BAD_EPOCH = "Parameter is not a valid value for epoch seconds"


class Activations:
    """One method per route."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store

    async def list(self, exchange: Exchange) -> Response:
        """GET activations: the last begun first; with `docs=true` with results and logs"""
        namespace, (skip, limit) = exchange.namespace, exchange.page("activations")
        docs, count = exchange.flag("docs"), exchange.flag("count")
        name = (exchange.request.query_params.get("name") or "").strip("/") or None
        if name is not None and name.count("/") > 1:
            raise Refusal(400, f"Parameter may be a 'simple' name or 'package-name/simple' name: {name}")
        which = Which(name, exchange.number("since", _BAD_EPOCH), exchange.number("upto", _BAD_EPOCH))
        if count and docs:
            raise Refusal(400, "The parameter 'docs' is not permitted with 'count'.")
        if count:
            found = await self._services.in_store(self._store.count_activations, namespace, which)
            return answer({"activations": max(0, found - skip)})
        if docs:
            whole = await self._services.in_store(
                self._store.whole_activations, namespace, which, skip=skip, limit=limit
            )
            return answer([one.to_json() for one in whole])
        short = await self._services.in_store(self._store.activations, namespace, which, skip=skip, limit=limit)
        return answer([one.to_list() for one in short])

    async def get(self, exchange: Exchange) -> Response:
        """GET activations/{id}"""
        return answer((await self._find(exchange)).to_json())

    async def logs(self, exchange: Exchange) -> Response:
        """GET activations/{id}/logs"""
        return answer({"logs": (await self._find(exchange)).logs})

    async def result(self, exchange: Exchange) -> Response:
        """GET activations/{id}/result"""
        found = await self._find(exchange)
        return answer(found.activation.response(found.result))

    async def _find(self, exchange: Exchange) -> Ended:
        activation_id = check_activation_id(exchange.request.path_params["id"])
        return await self._services.in_store(self._store.activation, exchange.namespace, activation_id)
