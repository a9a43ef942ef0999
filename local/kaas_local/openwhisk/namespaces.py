"""The routes about a namespace as a whole, and about the API itself."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from kaas_local.openwhisk.exchange import Exchange, answer
from kaas_local.openwhisk.kinds import Kinds
from kaas_local.openwhisk.limits import namespace_limits, platform_limits


class Namespaces:
    """One method per route."""

    async def list(self, exchange: Exchange) -> Response:
        """GET namespaces: the sender's; what the pool asks to check a key"""
        return answer([exchange.identity.namespace])

    async def limits(self, exchange: Exchange) -> Response:
        """GET namespaces/{namespace}/limits"""
        assert exchange.namespace
        return answer(namespace_limits())

    async def nothing(self, exchange: Exchange) -> Response:
        """GET triggers, GET rules: there are none, and `wsk list` asks"""
        assert exchange.namespace
        exchange.page("rules")
        return answer([])


def about(kinds: Kinds) -> dict[str, Any]:
    """`GET /`"""
    return {
        "description": "OpenWhisk: KaaS's local API, for one developer's machine",
        "support": {"github": "", "slack": ""},
        "api_paths": ["/api/v1"],
        "limits": platform_limits(),
        "runtimes": kinds.to_json(),
    }


def version() -> dict[str, Any]:
    """`GET /api/v1`"""
    return {
        "description": "OpenWhisk API",
        "api_version": "1.0.0",
        "api_version_path": "v1",
        "build": "local",
        "buildno": "kaas",
        "swagger_paths": {"ui": "/docs", "api-docs": "/api-docs"},
    }
