"""The Knative objects that are given as examples: fields that Knative has, variables that the adapter reads."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kaas_proxy import settings
from kaas_proxy.service import MAX_CALLS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "runtime" / "knative"
PAGE = (ROOT / "docs/deploy/knative.md").read_text()
OBJECTS: dict[str, Any] = {
    f"{path.name}/{one['kind']}": one
    for path in sorted(FOLDER.glob("*.yaml"))
    for one in yaml.safe_load_all(path.read_text())
}
SERVICES = [name for name in OBJECTS if name.endswith("/Service")]

#: What a revision's template may have (serving's CustomResourceDefinition, 1.23), of a pod and of its container.
POD = {
    "containers",
    "containerConcurrency",
    "timeoutSeconds",
    "enableServiceLinks",
    "automountServiceAccountToken",
    "volumes",
}
CONTAINER = {"image", "env", "ports", "readinessProbe", "livenessProbe", "resources", "securityContext", "volumeMounts"}
VARIABLES = set(re.findall(r'environment(?:\.get\(|\[)"(\w+)"', inspect.getsource(settings)))


def container(name: str) -> Any:
    [one] = OBJECTS[name]["spec"]["template"]["spec"]["containers"]
    return one


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_only_fields_that_knative_takes(name: str) -> None:
    one = OBJECTS[name]
    assert set(one) == {"apiVersion", "kind", "metadata", "spec"}
    assert one["apiVersion"] == "serving.knative.dev/v1"
    assert set(one["spec"]["template"]["spec"]) <= POD
    assert set(container(name)) <= CONTAINER
    assert container(name)["ports"] == [{"name": "http1", "containerPort": 8080}]
    assert container(name)["readinessProbe"]["httpGet"] == {"path": "/health/readiness"}
    assert container(name)["livenessProbe"]["httpGet"] == {"path": "/health/liveness"}


@pytest.mark.parametrize("name", SERVICES)
def test_its_limits_are_the_adapters(name: str) -> None:
    spec = OBJECTS[name]["spec"]["template"]["spec"]
    assert spec["containerConcurrency"] == MAX_CALLS
    told = {one["name"]: one.get("value") for one in container(name)["env"]}
    # That one is Python's own.
    assert set(told) <= VARIABLES | {"SSL_CERT_FILE"}
    assert {"KAAS_ACTION", "KAAS_POOL_URL", "KAAS_TOKEN"} <= set(told)
    assert told["KAAS_TOKEN"] is None, "a secret is no text of the manifest"
    variables = {name: value or "" for name, value in told.items()}
    found = settings.Settings.read({**variables, "KAAS_ACTION": f"sha256:{'0' * 64}"})
    # The pool ends an endless kernel 2 s after the budget.
    assert found.budget_ms / 1000 + 10 < spec["timeoutSeconds"]


def test_the_trigger_leads_to_the_service_and_not_to_its_own_results() -> None:
    trigger, service = OBJECTS["on-upload.yaml/Trigger"], OBJECTS["on-upload.yaml/Service"]
    assert trigger["spec"]["subscriber"]["ref"]["name"] == service["metadata"]["name"]
    assert set(trigger["spec"]) == {"broker", "filters", "subscriber", "delivery"}
    [condition] = trigger["spec"]["filters"]
    prefix = condition["prefix"]["type"]
    for name in ("Put", "Copy", "Post", "CompleteMultipartUpload"):
        assert f"com.amazonaws.s3.ObjectCreated:{name}".startswith(prefix)
    for other in ("dev.kaas.result", "com.amazonaws.s3.ObjectRemoved:Delete"):
        assert not other.startswith(prefix)


def test_the_page_has_every_variable() -> None:
    assert len(VARIABLES) >= 8
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert rows == VARIABLES | {"PORT"}
