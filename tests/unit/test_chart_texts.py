"""What the values' texts become: whatever YAML, Go's templates or the kubelet could take them for, they stay texts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from helm_chart import Helm, choose, containers, find, helm_binary, pod_specs
from manifest_rules import check

from kaas_pool.supervisor import config as pool_config

#: Names that Kubernetes allows, and YAML reads as something else.
NAMES = ["123", "true", "null", "yes", "1e3", "0x1"]
#: Everything that is special somewhere on the way: `$(...)` to the kubelet.
HOSTILE = """#1 & *2: '{{ x }}' "q" \\ %s @ ` [a, {b}] - ? | > ! $(KAAS_TOKEN) $$HOME é 😀"""
MANIFESTS = [
    "  kaas: 1\nname: indented-first\n",
    "\n\nkaas: 1",
    "\tkaas: 1\r\nname: x",
    "---\nkaas: 1\n...\n",
    "a\u007fb\u0085c\ufeff",
    f"{HOSTILE}\n{{{{ fail }}}}",
]


@pytest.fixture(scope="module")
def helm(request: pytest.FixtureRequest) -> Helm:
    return Helm(helm_binary(request.config.getoption("--slow")))


def render(helm: Helm, folder: Path, values: dict[str, Any], *names: str) -> list[dict[str, Any]]:
    """The manifests for a choice of settings with values over them, all of them such as a cluster takes."""
    path = folder / "values.json"
    # JSON, but for what YAML reads otherwise: pairs of surrogates, and controls that JSON does not escape.
    text = json.dumps(values, ensure_ascii=False)
    path.write_text(re.sub("[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", text))
    manifests = helm.template(*choose(*names), f"values={path}")
    for manifest in manifests:
        check(manifest, ("1.37",))
    return manifests


def expanded(text: str, variables: dict[str, str]) -> str:
    """What the kubelet makes of a variable's value or an argument."""
    known = {f"$({name})": value for name, value in variables.items()} | {"$$": "$"}
    return re.sub(r"\$\$|\$\(\w+\)", lambda found: known.get(found[0], found[0]), text)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stays_a_text(helm: Helm, tmp_path: Path, name: str) -> None:
    own = {"tokensSecret": name, "clientTokenSecret": name, "metricsTokenSecret": name}
    claim = {"existingClaim": name, "storageClassName": name}
    trigger = {"broker": name, "attributes": {"type": "t"}}
    service = {"name": "a", "action": "/a", "tokenSecret": name, "trigger": trigger}
    values = {
        "gpu": {"runtimeClassName": name},
        "imagePullSecrets": [{"name": name}],
        "pool": {"nodeSelector": {"gpu": name}, "persistence": claim},
        "tls": {"secret": name},
        "auth": own,
        "store": {"existingSecret": name},
        "metrics": {"serviceMonitor": {"enabled": True, "labels": {"a": name}}, "dashboard": {"labels": {"a": name}}},
        "knative": {"enabled": True, "services": [service]},
    }
    manifests = render(helm, tmp_path, values, "plugin")
    spec = find(manifests, "StatefulSet", "kaas")["spec"]["template"]["spec"]
    assert spec["runtimeClassName"] == name
    assert find(manifests, "Trigger", "kaas-a")["spec"]["broker"] == name

    made = render(
        helm,
        tmp_path,
        {"pool": {"persistence": {"storageClassName": name}}, "auth": {"tenant": name}},
        "bundled",
        "gpu",
    )
    assert find(made, "PersistentVolumeClaim", "kaas-state")["spec"]["storageClassName"] == name


def test_what_a_knative_service_is_told_arrives(helm: Helm, tmp_path: Path) -> None:
    told = {
        "action": f"s3://data/{HOSTILE.replace('?', '')}.zip?versionId=1",
        "arguments": {HOSTILE: HOSTILE, "control": "\u0000\u2028\r\n", "whole": 10_000_000, "real": 1e-7},
        "watched": f"s3://in/{HOSTILE.replace('?', '')}",
    }
    filtered = {"type": HOSTILE, "subject": "a: b\nc: d"}
    service = {"name": "a", **told, "trigger": {"broker": "default", "attributes": filtered}}
    manifests = render(helm, tmp_path, {"knative": {"enabled": True, "services": [service]}}, "gpu", "external")
    (container,) = find(manifests, "Service", "kaas-a")["spec"]["template"]["spec"]["containers"]
    env = {
        one["name"]: expanded(one["value"], {"KAAS_TOKEN": "a secret"}) for one in container["env"] if "value" in one
    }
    assert env["KAAS_ACTION"] == told["action"]
    assert env["KAAS_WATCHED"] == told["watched"]
    assert json.loads(env["KAAS_ARGUMENTS"]) == told["arguments"]
    assert find(manifests, "Trigger", "kaas-a")["spec"]["filter"]["attributes"] == filtered


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_a_manifest_arrives_to_the_byte(helm: Helm, tmp_path: Path, manifest: str) -> None:
    service = {"name": "a", "manifest": manifest}
    manifests = render(helm, tmp_path, {"knative": {"enabled": True, "services": [service]}}, "gpu", "external")
    assert find(manifests, "ConfigMap", "kaas-a-action")["data"] == {"kaas.yaml": manifest}


def test_arguments_are_what_the_programs_get(helm: Helm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_config, "_DRIVER_NODES", ("/dev/null",))
    domains = {"guest": "a: b", "me@example.com": "c & d", "null": "true"}
    outputs = f"s3://out/{HOSTILE.replace('?', '')}"
    values = {"pool": {"domains": domains}, "test": {"outputs": outputs}}
    for place, spec in pod_specs(render(helm, tmp_path, values, "gpu", "external", "stock")):
        args = {
            container["name"]: [expanded(word, {"KAAS_TOKEN": "a secret"}) for word in container.get("args", [])]
            for container in containers(spec)
        }
        if place == "StatefulSet/kaas":
            assert pool_config.parse_arguments(args["pool"]).domains == domains
        else:
            assert args == {"test": [outputs]}
