"""Whether a cluster would take a manifest: its schemas, and what an API server looks at besides."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema
import kubernetes_validate
from helm_chart import ROOT, Manifest, pod_specs

#: Strict schemas of what is not Kubernetes' own, and renders as they were last looked at.
FILES = ROOT / "tests" / "chart"

#: The oldest that the chart allows, and the newest whose schemas there are.
VERSIONS = ("1.30", "1.37")

_LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
#: What the controller of StatefulSets adds to a name for a label: a dash and ten digits of the revision.
_REVISION = 11


@cache
def schema(api_version: str, kind: str) -> dict[str, Any] | None:
    """The strict schema of a kind that is not Kubernetes' own."""
    path = FILES / f"{api_version.replace('/', '-')}-{kind}.json"
    return json.loads(path.read_text()) if path.exists() else None


@cache
def _validate(manifest: str, version: str) -> None:
    """As text, so that what many renders have in common is looked at once."""
    kubernetes_validate.validate(json.loads(manifest), version, strict=True)


def check(manifest: Manifest, versions: tuple[str, ...] = VERSIONS) -> None:
    """Raise what is wrong with a manifest."""
    own = schema(manifest["apiVersion"], manifest["kind"])
    if own is not None:
        jsonschema.validate(manifest, own)
    else:
        for version in versions:
            _validate(json.dumps(manifest), version)
    name = manifest["metadata"]["name"]
    where = f"{manifest['kind']}/{name}"
    assert _NAME.fullmatch(name), where
    assert len(name) <= 253, where
    _check_labels(manifest["metadata"].get("labels", {}), where)
    _check_labels(manifest.get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {}), where)
    if manifest["kind"] == "Service":
        assert _SERVICE_NAME.fullmatch(name), where
    if manifest["kind"] == "StatefulSet":
        assert "." not in name, f"{where}: a pod's name is its host's"
        assert len(name) + _REVISION <= 63, where
    for place, spec in pod_specs([manifest]):
        _check_labels(spec.get("nodeSelector", {}), place)


def _check_labels(labels: Mapping[str, Any], where: str) -> None:
    for key, value in labels.items():
        assert isinstance(value, str), f"{where}: {key}"
        assert _LABEL.fullmatch(value), f"{where}: {key}: {value}"
