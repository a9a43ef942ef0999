"""docs/openapi.yaml is a valid document, has exactly the front's routes, and is what the front serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

from kaas import messages
from kaas.errors import ERRORS
from kaas_pool.front.app import Routes, make_router, openapi_json
from kaas_pool.front.pool import Pool

DOCUMENT: dict[str, Any] = yaml.safe_load(Path(__file__).parents[2].joinpath("docs", "openapi.yaml").read_text("utf-8"))


def schema(name: str) -> dict[str, Any]:
    """A component, with everything it refers to."""
    return {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_it_is_what_the_front_serves() -> None:
    assert json.loads(openapi_json()) == DOCUMENT


def test_it_has_exactly_the_fronts_routes() -> None:
    # The routes only close over the pool.
    app = make_router(Routes(cast("Pool", None)))
    served = {
        (route.path, method)
        for route in app.routes
        if isinstance(route, Route)
        for method in set(route.methods or ()) - {"HEAD"}
    }
    described = {
        (path, method.upper())
        for path, operations in DOCUMENT["paths"].items()
        for method in operations
        if method != "parameters"
    }
    assert served == described


def test_requests_that_the_messages_make_conform() -> None:
    request = messages.InvocationRequest(f"sha256:{'0' * 64}", {"x": "s3://b/k"}, "id-1", 1000, 0)
    jsonschema.validate(request.to_json(), schema("InvocationRequest"))
    limits = DOCUMENT["components"]["schemas"]["InvocationRequest"]["properties"]["budget_ms"]
    assert (limits["maximum"], limits["default"]) == (messages.MAX_BUDGET_MS, messages.DEFAULT_BUDGET_MS)


def test_errors_are_those_of_the_table() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["Error"]["properties"]["code"]["enum"] == list(ERRORS)
    statuses = {
        status
        for path in DOCUMENT["paths"].values()
        for name, operation in path.items()
        if name != "parameters"
        for status in operation["responses"]
        if not status.startswith("2")
    }
    assert {int(status) for status in statuses} <= {row.pool for row in ERRORS.values()}
    refused = {str(row.pool) for row in ERRORS.values() if row.pool is not None}
    assert set(DOCUMENT["paths"]["/v1/invocations"]["post"]["responses"]) == refused | {"200", "202"}


def test_requests_to_refresh_conform() -> None:
    request = messages.RefreshRequest(f"sha256:{'0' * 64}", "w", "s3://data/w.npy")
    jsonschema.validate(request.to_json(), schema("RefreshRequest"))
    jsonschema.validate(messages.RefreshRequest().to_json(), schema("RefreshRequest"))


@pytest.mark.parametrize(
    "answer",
    [
        {"id": "a", "state": "done", "logs": []},
        {"id": "a", "state": "failed", "logs": [], "result": {"kaas": {}}},
        {"id": "a", "state": "running", "error": {"code": "internal", "message": "x"}},
        {"id": "a b", "state": "queued"},
        {"id": "a", "state": "ready"},
    ],
)
def test_answers_that_contradict_themselves_do_not_conform(answer: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(answer, schema("Invocation"))
