"""The routes of activations: list, get, logs, result."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from starlette.responses import Response, StreamingResponse

from kaas_local.openwhisk.activation import Activation, Ended
from kaas_local.openwhisk.exchange import Exchange, answer
from kaas_local.openwhisk.names import check_activation_id
from kaas_local.openwhisk.parameters import compact
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
        listed = await self._services.in_store(self._store.activations, namespace, which, skip=skip, limit=limit)
        if docs:
            return StreamingResponse(self._records(namespace, listed), media_type="application/json")
        return answer([one.to_list() for one in listed])

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

    async def _records(self, namespace: str, listed: Sequence[Activation]) -> AsyncIterator[bytes]:
        """The whole records as one array, each read when the one before has been sent: with logs they are gigabytes."""

        def read(activation_id: str) -> bytes | None:
            try:
                return compact(self._store.activation(namespace, activation_id).to_json()).encode()
            except Refusal:  # Forgotten since the list was made.
                return None

        yield b"["
        separator = b""
        for one in listed:
            record = await self._services.in_store(read, one.activation_id)
            if record is not None:
                yield separator + record
                separator = b","
        yield b"]"

    async def _find(self, exchange: Exchange) -> Ended:
        activation_id = check_activation_id(exchange.request.path_params["id"])
        return await self._services.in_store(self._store.activation, exchange.namespace, activation_id)
