"""The chart, over all combinations that make sense: valid, minimal in rights, and as it was last looked at."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from helm_chart import CHART, ROOT, Helm, Manifest, choose, containers, find, helm_binary, pod_specs, secrets_of
from manifest_rules import FILES, check

from kaas_pool.front.metrics import Metrics

PLATFORMS = {
    "openwhisk": ["stock"],
    "openwhisk-plugin": ["plugin"],
    "knative": ["knative"],
    "both": ["knative", "stock"],
    "both-plugin": ["knative", "plugin"],
}
MATRIX = [
    pytest.param([device, store, *PLATFORMS[platform], *extras], id=f"{device}-{store}-{platform}-{len(extras)}")
    for (device, store, platform), extras in zip(
        itertools.product(["gpu", "emulated"], ["bundled", "external"], PLATFORMS),
        itertools.cycle([[], ["extras"], ["extras", "own-tokens"]]),
        strict=False,
    )
]

#: Which Secrets a container may see, by container; * stands for the chart's own name.
ALLOWED = {
    "mover": {"*-stores", "my-stores"},
    "pool": {"*-tokens", "my-tokens", "pool-tls"},
    "store": {"*-store"},
    "action": {"*-client/token", "my-client/token", "pool-tls/ca.crt"},
    "test": {"*-client/token", "my-client/token", "pool-tls/ca.crt"},
}


@pytest.fixture(scope="module")
def helm(request: pytest.FixtureRequest) -> Helm:
    return Helm(helm_binary(request.config.getoption("--slow")))


def test_lint_finds_nothing(helm: Helm) -> None:
    for names in (["gpu", "external"], ["emulated", "bundled", "knative", "stock", "extras"]):
        words = [word for setting in choose(*names) if not setting.startswith("values=") for word in ("--set", setting)]
        done = helm.run("lint", str(CHART), "--strict", "--values", str(CHART / "values-knative.yaml"), *words)
        assert done.returncode == 0, done.stdout
        assert not re.search(r"WARNING|ERROR", done.stdout)


@pytest.mark.parametrize("names", MATRIX)
def test_every_manifest_is_valid(helm: Helm, names: list[str]) -> None:
    manifests = helm.template(*choose(*names))
    for manifest in manifests:
        check(manifest)
    found = [(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in manifests]
    assert len(found) == len(set(found))


def test_the_check_refuses_what_is_wrong(helm: Helm) -> None:
    manifests = helm.template(*choose("gpu", "bundled", "knative", "extras"))
    pool = find(manifests, "StatefulSet", "kaas")
    pool["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenesProbe"):
        check(pool)
    for kind, spoil in {"Service": "nodeSelector", "Trigger": "brokr", "ServiceMonitor": "endpoint"}.items():
        (own,) = {
            one["apiVersion"]: one for one in manifests if one["kind"] == kind and "." in one["apiVersion"]
        }.values()
        own["spec"][spoil] = {}
        with pytest.raises(jsonschema.ValidationError, match=spoil):
            check(own)


@pytest.mark.parametrize("names", MATRIX)
def test_no_pod_may_more_than_it_must(helm: Helm, names: list[str]) -> None:
    for place, spec in pod_specs(helm.template(*choose(*names))):
        assert spec["automountServiceAccountToken"] is False, place
        assert spec["enableServiceLinks"] is False, place
        assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & spec.keys(), place
        volumes = spec.get("volumes", [])
        assert not any("hostPath" in volume for volume in volumes), place
        mounted: set[str] = set()
        for container in containers(spec):
            where = f"{place} {container['name']}"
            security = {**spec.get("securityContext", {}), **container["securityContext"]}
            assert security["runAsNonRoot"] is True, where
            assert security["runAsUser"] > 0, where
            assert security["allowPrivilegeEscalation"] is False, where
            assert security["readOnlyRootFilesystem"] is True, where
            assert security["capabilities"] == {"drop": ["ALL"]}, where
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}, where
            assert re.search(r":[^/:@]+$", container["image"]), where
            assert not container["image"].endswith(":latest"), where
            for part in ("requests", "limits"):
                assert {"cpu", "memory"} <= container["resources"][part].keys(), where
            mounts = {mount["name"]: mount for mount in container.get("volumeMounts", [])}
            mounted |= mounts.keys()
            for volume in volumes:
                if volume.keys() & {"secret", "configMap"} and volume["name"] in mounts:
                    assert mounts[volume["name"]]["readOnly"] is True, where
        assert mounted == {volume["name"] for volume in volumes}, place


@pytest.mark.parametrize("names", MATRIX)
def test_secrets_are_where_they_are_needed_and_nowhere_else(helm: Helm, names: list[str]) -> None:
    manifests = helm.template(*choose(*names))
    made = {one["metadata"]["name"] for one in manifests if one["kind"] == "Secret"}
    for place, spec in pod_specs(manifests):
        for container in containers(spec):
            seen = secrets_of(spec, container)
            assert seen, place
            assert {re.sub(r"^kaas-", "*-", name) for name in seen} <= ALLOWED[container["name"]], place
            # Each is the chart's, or named in the values.
            assert all(name.split("/")[0] in made or name.startswith(("my-", "pool-tls")) for name in seen), place


@pytest.mark.parametrize("names", MATRIX)
def test_what_runs_on_is_probed_and_what_is_probed_is_there(helm: Helm, names: list[str]) -> None:
    for place, spec in pod_specs(helm.template(*choose(*names))):
        for container in containers(spec):
            if container["name"] == "test":
                continue
            assert "livenessProbe" in container, place
            assert "readinessProbe" in container or container["name"] == "mover", place
            ports = {port.get("name", port["containerPort"]) for port in container.get("ports", [])}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                for kind in ("httpGet", "tcpSocket"):
                    asked = container.get(probe, {}).get(kind)
                    # Knative's probes have its one port by default.
                    assert asked is None or asked.get("port", 8080) in ports, (place, probe)


@pytest.mark.parametrize("names", MATRIX)
def test_services_and_policies_select_pods_and_ports_that_are_there(helm: Helm, names: list[str]) -> None:
    manifests = helm.template(*choose(*names))
    pods = [
        (one["spec"]["template"]["metadata"]["labels"], list(containers(one["spec"]["template"]["spec"])))
        for one in manifests
        if one["kind"] == "StatefulSet"
    ]

    def ports(selector: dict[str, str]) -> dict[str, int]:
        chosen = [inside for labels, inside in pods if selector.items() <= labels.items()]
        assert len(chosen) == 1, selector
        return {port["name"]: port["containerPort"] for container in chosen[0] for port in container.get("ports", [])}

    policies = 0
    for manifest in manifests:
        spec = manifest.get("spec", {})
        if manifest["kind"] == "Service" and manifest["apiVersion"] == "v1":
            assert {port["targetPort"] for port in spec["ports"]} <= ports(spec["selector"]).keys()
        elif manifest["kind"] == "NetworkPolicy":
            policies += 1
            (rule,) = spec["ingress"]
            to = [(spec["podSelector"], rule["ports"])]
            to += [(one["to"][0]["podSelector"], one["ports"]) for one in spec["egress"] if "to" in one]
            for selector, allowed in to:
                assert {port["port"] for port in allowed} <= set(ports(selector["matchLabels"]).values())
            assert spec["policyTypes"] == ["Ingress", "Egress"]
        elif manifest["kind"] == "PodDisruptionBudget":
            ports(spec["selector"]["matchLabels"])
    assert policies == len(pods)


def test_a_gpu_is_asked_for_where_the_device_is_one(helm: Helm) -> None:
    mig = ["gpu.resource=nvidia.com/mig-3g.40gb", "pool.nodeSelector.gpu=h100"]
    (spec,) = [
        spec for place, spec in pod_specs(helm.template(*choose("gpu", "external"), *mig)) if "Stateful" in place
    ]
    asked = {one["name"]: one["resources"]["limits"].get("nvidia.com/mig-3g.40gb") for one in containers(spec)}
    assert asked == {"mover": None, "pool": 1}
    # The pool's variable comes from the device plugin.
    visible = {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}
    assert [visible in one["env"] for one in containers(spec)] == [True, False]
    assert spec["runtimeClassName"] == "nvidia"
    assert spec["nodeSelector"] == {"gpu": "h100"}
    assert "--device=cuda" in spec["containers"][0]["args"]

    (spec,) = [one for place, one in pod_specs(helm.template(*choose("emulated", "external"))) if "Stateful" in place]
    assert not any(key.startswith("nvidia") for one in containers(spec) for key in one["resources"]["limits"])
    assert {one["image"] for one in containers(spec)} == {"kaas/pool-emulated:0.1.0"}


def test_the_mover_ends_after_the_pool_and_both_have_the_time(helm: Helm) -> None:
    (spec,) = [
        one
        for place, one in pod_specs(helm.template(*choose("gpu", "external"), "pool.drainSeconds=300"))
        if "Stateful" in place
    ]
    (mover,) = spec["initContainers"]
    assert mover["restartPolicy"] == "Always", "a sidecar: it starts before the pool, and ends after it"
    (pool,) = spec["containers"]
    assert "--drain=300" in pool["args"]
    # The pool's own margin is 5 s, the mover's last PUTs have 10 s.
    assert spec["terminationGracePeriodSeconds"] >= pool["lifecycle"]["preStop"]["sleep"]["seconds"] + 300 + 5 + 10


def test_the_pool_knows_tokens_by_their_digests(helm: Helm) -> None:
    manifests = helm.template(*choose("emulated", "bundled", "plugin", "extras"))

    def data(name: str, key: str) -> bytes:
        return base64.b64decode(find(manifests, "Secret", name)["data"][key])

    entries = {entry["sha256"]: entry for entry in json.loads(data("kaas-tokens", "tokens.json"))}
    scopes = {"client": ["invoke", "read"], "metrics": ["read", "admin"], "invoker": ["invoke", "vouch"]}
    assert len(entries) == len(scopes)
    for role, expected in scopes.items():
        token = data(f"kaas-{role}", "token")
        assert len(token) >= 40
        assert entries[hashlib.sha256(token).hexdigest()]["scopes"] == expected
    (rights,) = json.loads(data("kaas-stores", "stores.json"))["tenants"].items()
    (identity,) = json.loads(data("kaas-store", "s3.json"))["identities"]
    assert rights[0] == identity["name"] == "guest"
    assert identity["credentials"] == [{"accessKey": rights[1]["access_key"], "secretKey": rights[1]["secret_key"]}]
    assert rights[1]["endpoint"] == "http://kaas-store.gpu.svc:8333"


def test_openwhisk_gets_the_kind_with_the_charts_image(helm: Helm) -> None:
    image = "images.action=registry.example:5000/team/action-kaas-v1:7"
    data = find(helm.template(*choose("gpu", "external", "plugin"), image), "ConfigMap", "kaas-openwhisk")["data"]
    entry = json.loads(data["runtimes.json"])
    own = json.loads((ROOT / "runtime" / "openwhisk" / "runtimes.json").read_text())
    assert entry["runtimes"]["kaas"][0].pop("image") == {
        "prefix": "registry.example:5000/team",
        "name": "action-kaas-v1",
        "tag": "7",
    }
    del own["runtimes"]["kaas"][0]["image"]
    assert entry == own
    overlay = yaml.safe_load(data["values.yaml"])
    assert overlay["invoker"]["imageName"] == "registry.example:5000/invoker-kaas"
    assert overlay["invoker"]["imageTag"] == "3"
    options = dict(option.removeprefix("-D").split("=") for option in overlay["invoker"]["options"].split())
    known = set(re.findall(r"^\| `(kaas\.\S+)` \|", (ROOT / "invoker-plugin" / "README.md").read_text(), re.MULTILINE))
    assert options.keys() <= known
    assert options["kaas.pool.url"] == "https://kaas.gpu.svc:7233"
    assert "secretName: kaas-invoker" in data["invoker-patch.yaml"]

    stock = find(helm.template(*choose("gpu", "external", "stock"), image), "ConfigMap", "kaas-openwhisk")["data"]
    assert yaml.safe_load(stock["values.yaml"]) == {"whisk": {"runtimes": "runtimes-kaas.json"}}


def test_a_knative_service_says_what_the_adapter_reads(helm: Helm, tmp_path: Path) -> None:
    digest = f"sha256:{'0' * 64}"
    one = {"name": "a", "action": "s3://data/a.zip", "digest": digest, "watched": "s3://in/a/", "tokenSecret": "as-own"}
    other = {"name": "b", "manifest": "kaas: 1\n", "arguments": {"a": 2, "outputs": "s3://out/b"}, "public": True}
    values = tmp_path / "values.json"
    values.write_text(json.dumps({"knative": {"enabled": True, "services": [one, other]}}))
    manifests = helm.template(*choose("gpu", "external"), f"values={values}")

    def told(name: str) -> dict[str, Any]:
        (container,) = find(manifests, "Service", name)["spec"]["template"]["spec"]["containers"]
        return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}

    shared = {"KAAS_POOL_URL": "https://kaas.gpu.svc:7233", "SSL_CERT_FILE": "/etc/kaas/ca/ca.crt"}
    assert told("kaas-a") == {
        **shared,
        "KAAS_TOKEN": {"secretKeyRef": {"name": "as-own", "key": "token"}},
        "KAAS_ACTION": "s3://data/a.zip",
        "KAAS_ACTION_DIGEST": digest,
        "KAAS_WATCHED": "s3://in/a/",
    }
    arguments = json.loads(told("kaas-b").pop("KAAS_ARGUMENTS"))
    assert arguments == other["arguments"]
    assert told("kaas-b")["KAAS_ACTION"] == "/etc/kaas/action/kaas.yaml"
    assert find(manifests, "ConfigMap", "kaas-b-action")["data"] == {"kaas.yaml": "kaas: 1\n"}
    private = {"networking.knative.dev/visibility": "cluster-local"}
    assert [private.items() <= find(manifests, "Service", f"kaas-{n}")["metadata"]["labels"].items() for n in "ab"] == [
        True,
        False,
    ]


def test_the_dashboard_shows_metrics_that_there_are(helm: Helm) -> None:
    data = find(helm.template(*choose("gpu", "external", "extras")), "ConfigMap", "kaas-dashboard")["data"]
    dashboard = json.loads(data["gpu-kaas.json"])
    asked = set(re.findall(r"\bkaas_[a-z_]+", " ".join(t["expr"] for p in dashboard["panels"] for t in p["targets"])))
    suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}
    there = {f"{one.name}{suffix}" for one in Metrics().registry.collect() for suffix in suffixes[one.type]}
    assert asked
    assert asked <= there


def _without_secrets(manifests: list[Manifest]) -> str:
    for manifest in manifests:
        if manifest["kind"] == "Secret":
            manifest["data"] = dict.fromkeys(manifest["data"], "made anew")
    return yaml.safe_dump_all(sorted(manifests, key=lambda one: (one["kind"], one["metadata"]["name"])), width=120)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("gpu", ["gpu", "external", "plugin", "own-tokens", "extras"]),
        ("trial", ["emulated", "bundled", "knative", "stock"]),
    ],
)
def test_the_chart_renders_as_it_was_last_looked_at(helm: Helm, name: str, names: list[str]) -> None:
    """KAAS_WRITE_GOLDEN=1 writes what is rendered now; look at the difference before you commit it."""
    golden = FILES / f"{name}.golden.yaml"
    rendered = _without_secrets(helm.template(*choose(*names)))
    if os.environ.get("KAAS_WRITE_GOLDEN"):
        golden.write_text(rendered)
    assert rendered == golden.read_text()


@pytest.mark.skipif(shutil.which("jq") is None, reason="no jq here, with which the pages merge manifests")
def test_the_pages_line_merges_the_kind_into_a_manifest(helm: Helm, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "deploy" / "openwhisk-stock.md").read_text()
    (program,) = re.findall(r"jq -s '(.*)' helm/openwhisk/runtimes\.json \.\./kaas-runtimes\.json", page)
    kind = find(helm.template(*choose("gpu", "external", "stock")), "ConfigMap", "kaas-openwhisk")["data"][
        "runtimes.json"
    ]
    own: dict[str, Any] = {"runtimes": {"python": [{"kind": "python:3"}]}, "blackboxes": [{"name": "dockerskeleton"}]}
    (tmp_path / "own.json").write_text(json.dumps(own))
    (tmp_path / "kaas.json").write_text(kind)
    command = ["jq", "-s", program, tmp_path / "own.json", tmp_path / "kaas.json"]
    merged = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert merged == {**own, "runtimes": {**own["runtimes"], **json.loads(kind)["runtimes"]}}
