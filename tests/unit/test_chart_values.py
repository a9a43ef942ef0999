"""The chart's values: each documented, typos refused, contradictions refused with the reason; what it starts parses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from helm_chart import CHART, FOR, ROOT, Helm, choose, containers, flags, helm_binary, leaves, paths, pod_specs
from manifest_rules import check

from kaas.bundle import Bundle
from kaas_pool.mover.__main__ import parse_bytes
from kaas_pool.supervisor import config as pool_config

VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
#: Settings that are an object, and one setting.
WHOLE = frozenset({"pool.resources", "mover.resources", "metrics.dashboard.labels"})


@pytest.fixture(scope="module")
def helm(request: pytest.FixtureRequest) -> Helm:
    return Helm(helm_binary(request.config.getoption("--slow")))


def test_the_readmes_table_is_the_values() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| `(.*?)` \| (.*) \|$", (CHART / "README.md").read_text(), re.MULTILINE)
    assert [(key, default) for key, default, _ in rows] == list(leaves(VALUES, WHOLE))
    assert all(meaning.strip() for _, _, meaning in rows)


def test_every_value_has_its_comment() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        match = re.match(r" *(\w+): ?(.*)$", line)
        if match is not None and match[2] and not line.startswith("      effect"):
            before = lines[number - 1].strip()
            assert before.startswith("#") or match[1] in {"requests", "limits", "operator"}, line


def test_the_defaults_and_the_examples_fit_the_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(VALUES, SCHEMA)
    examples = yaml.safe_load((CHART / "values-knative.yaml").read_text())
    jsonschema.validate({**VALUES, **examples}, SCHEMA)
    for service in examples["knative"]["services"]:
        if "manifest" in service:
            assert Bundle.open(service["manifest"].encode()).manifest.name == service["name"]


def test_the_schema_knows_every_value_and_nothing_else() -> None:
    def known(schema: dict[str, Any], prefix: str = "") -> list[str]:
        names = []
        for key, part in schema.get("properties", {}).items():
            path = f"{prefix}{key}"
            names += known(part, f"{path}.") if "properties" in part else [path]
        return names

    objects = [SCHEMA]
    for part in objects:
        objects += [one for one in part.get("properties", {}).values() if "properties" in one]
        assert part["additionalProperties"] is False
    assert set(known(SCHEMA)) - {"global"} == {key for key, _ in leaves(VALUES, WHOLE)}


TYPOS = {
    "replicas=1": "replicas",
    "pool.nodeselector.gpu=a": "nodeselector",
    "pool.persistence.storageClass=fast": "storageClass",
    "emulator.allowarbitraryHostCode=true": "allowarbitraryHostCode",
    "openwhisk.plugin.image=a:1": "image",
    "metrics.serviceMonitor.label.a=b": "label",
    "device=gpu": "/device",
    "devices=0": "/devices",
    "replicaCount=0": "/replicaCount",
    "engine=ray": "/engine",
    "mover.hostBytes=2GB": "/mover/hostBytes",
    "pool.slots=many": "/pool/slots",
    "tls.secret=Pool_TLS": "/tls/secret",
    "test.outputs=out/test": "/test/outputs",
    "knative.services[0].nam=a": "nam",
    "knative.services[0].trigger.filter=a": "trigger",
    "knative.services[0].trigger.broker=Default": "broker",
    "knative.services[0].trigger.attributes.Type=a": "Type",
    "knative.services[0].action=s3://data/a\nb": "/knative/services/0/action",
    "pool.resources.limits.memroy=1Gi": "memroy",
    "pool.resources.limits.nvidia\\.com/gpu=2": "nvidia.com/gpu",
    "pool.resources.limits.memory=8ki": "/pool/resources/limits/memory",
    "pool.resources.limits.memory=-8Gi": "/pool/resources/limits/memory",
    "pool.resources.limits.memory=8G B": "/pool/resources/limits/memory",
    "pool.resources.limits.cpu=8Gi": "/pool/resources/limits/cpu",
    "mover.resources.limits.cpu=0m": "/mover/resources/limits/cpu",
    "pool.persistence.size=0Gi": "/pool/persistence/size",
    "pool.persistence.size=500m": "/pool/persistence/size",
    "pool.persistence.size=0.5": "/pool/persistence/size",
    "knative.services[0].annotations.a b=c": "a b",
    "mover.hostBytes=0": "/mover/hostBytes",
    "mover.hostBytes=2e9": "/mover/hostBytes",
    "pool.slots=1000000": "/pool/slots",
    "devices=100": "/devices",
    "pool.tolerations[0].efect=NoSchedule": "efect",
    "pool.tolerations[0].operator=exists": "/pool/tolerations/0/operator",
    "pool.nodeSelector.gpu=a b": "/pool/nodeSelector/gpu",
    "pool.domains.guest=-x": "/pool/domains/guest",
    "networkPolicy.clients[0].podSelektor.a=b": "podSelektor",
    "networkPolicy.clients[0].ipBlock.cidr=everywhere": "cidr",
    "networkPolicy.egress[0].tow=a": "tow",
    "gpu.resource=-/-": "/gpu/resource",
    "images.pool=http://registry/pool:1": "/images/pool",
    "images.pool=Kaas/Pool:1": "/images/pool",
    "images.store=a//b:1": "/images/store",
    "images.store=&a:1": "/images/store",
    "imagePullSecrets[0].name=My_Registry": "/imagePullSecrets/0/name",
    "nameOverride=pool": "nameOverride",
}

#: What Kubernetes' users write, and the chart has to take.
FORMS = [
    "pool.resources.limits.memory=8589934592",
    "pool.resources.limits.memory=9G",
    "pool.resources.limits.cpu=8000m",
    "pool.resources.limits.ephemeral-storage=10Gi",
    "pool.persistence.size=1.5Ti",
    "pool.persistence.size=0.5Gi",
    "pool.persistence.size=21474836480",
    "mover.hostBytes=512Mi",
    "mover.hostBytes=1T,mover.resources.limits.memory=1.5Ti,pool.resources.limits.memory=2Ti",
    "images.pool=localhost:5000/kaas/pool_cuda--x:0.1.0",
    f"images.pool=Registry.example/pool@sha256:{'0' * 64}",
    f"images.pool=pool:1@sha256:{'0' * 64}",
    "openwhisk.enabled=true,openwhisk.controller=https://[::1]:8443/",
]


@pytest.mark.parametrize(("setting", "place"), TYPOS.items(), ids=TYPOS)
def test_a_typo_is_refused_with_its_place(helm: Helm, setting: str, place: str) -> None:
    said = helm.refusal(*choose("gpu", "external"), setting)
    assert "schema" in said
    assert place in said


@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_kubernetes_is_taken(helm: Helm, form: str) -> None:
    for manifest in helm.template(*choose("gpu", "external"), form):
        check(manifest)


@pytest.mark.parametrize("path", [path for path, _ in paths(VALUES)])
def test_a_null_is_refused_by_name_or_means_nothing(helm: Helm, path: str) -> None:
    """In Helm a null takes the default away, and templates would fall over what is not there."""
    words = flags((*choose("emulated", "bundled", "knative", "plugin", "extras"), f"{path}=null"))
    done = helm.run("template", "kaas", str(CHART), *FOR, *words)
    if done.returncode:
        assert re.search(f"missing property '{path.rpartition('.')[2]}'|without {path}", done.stderr)
        return
    for manifest in yaml.load_all(done.stdout, yaml.CSafeLoader):
        if manifest:
            check(manifest, ("1.37",))
            assert "null" not in yaml.safe_dump(manifest, default_flow_style=False).split()


GPU = choose("gpu", "external")
TRIAL = choose("emulated", "bundled")
SERVICE = "knative.services[0].name=a"

CONTRADICTIONS: list[tuple[list[str], str, str]] = [
    ([*GPU, "replicaCount=2"], "replicaCount is 2", "second release"),
    ([*GPU, "images.pool=kaas/pool:latest"], "images.pool is kaas/pool:latest", "a tag that stays"),
    (
        [*GPU, *choose("stock"), "openwhisk.controller=https://openwhisk.example/api"],
        'openwhisk.controller is "https://openwhisk.example/api"',
        "without a path",
    ),
    ([*GPU, *choose("knative"), "knative.services[0].image=a:latest"], "services saxpy: image is a:latest", "a digest"),
    (
        [*GPU, "pool.resources.limits.memory=3Gi"],
        "pool.resources.requests.memory is 4Gi, more than pool.resources.limits.memory, 3Gi",
        "raise the limit",
    ),
    ([*GPU, "mover.hostBytes=4G"], "mover.resources.limits.memory is 4Gi, and mover.hostBytes 4G", "raise the limit"),
    (["device=emulated", *choose("bundled")], "native code", "emulator.allowArbitraryHostCode: true"),
    ([*GPU, "emulator.allowArbitraryHostCode=true"], "never falls back", "leave the other out"),
    ([*GPU, "gpu.resource=nvidia.com/mig-1g.10gb", "devices=2"], "sees one MIG instance", "one release per instance"),
    ([*GPU, "tls.secret="], "no certificate", "tls.allowPlaintext"),
    ([*GPU, *choose("bundled")], "two stores", "set one of them"),
    (choose("gpu"), "no object store", "store.existingSecret"),
    ([*TRIAL, "auth.tokensSecret=t"], "no token for `helm test`", "auth.clientTokenSecret"),
    ([*TRIAL, "auth.clientTokenSecret=t"], "go with auth.tokensSecret", "makes all tokens itself"),
    (
        [*GPU, "auth.tokensSecret=t", "auth.clientTokenSecret=c", "metrics.serviceMonitor.enabled=true"],
        "metrics.serviceMonitor needs a token",
        "auth.metricsTokenSecret",
    ),
    ([*GPU, "openwhisk.enabled=true"], "whose an API key is", "openwhisk.plugin.enabled: true"),
    ([*GPU, *choose("stock"), f"images.action=a/b@sha256:{'0' * 64}"], "by tag only", "give it one"),
    ([*GPU, *choose("stock"), "images.action=action:1"], "wants a prefix", "prefix/name:tag"),
    ([*GPU, "openwhisk.enabled=true", "openwhisk.plugin.enabled=true"], "invokerImage", "invoker-plugin/README.md"),
    ([*GPU, "openwhisk.controller=https://a"], "openwhisk.enabled is false", "leave them out"),
    ([*GPU, *choose("stock"), "openwhisk.controller=http://a"], "in plain text", "https://"),
    ([*GPU, "knative.enabled=true"], "without knative.services", "values-knative.yaml"),
    ([*GPU, SERVICE, "knative.services[0].action=/a"], "knative.enabled is false", "set it true"),
    ([*GPU, *choose("knative"), "knative.services[1].name=saxpy"], "saxpy twice", "names of their own"),
    (
        [*TRIAL, *choose("knative"), "knative.services[0].name=store"],
        "the Service kaas-store is the bundled store's",
        "another name",
    ),
    ([*GPU, "knative.enabled=true", SERVICE], "either action", "or manifest"),
    (
        [*GPU, "knative.enabled=true", SERVICE, "knative.services[0].action=/a", "auth.tokensSecret=t"],
        "has no token",
        "tokenSecret",
    ),
    ([*TRIAL, "gpu.runtimeClassName=nvidia"], "takes no GPU", "device: cuda"),
    (
        [*TRIAL, *choose("knative"), f"knative.services[0].digest=sha256:{'0' * 64}"],
        "digest goes with action",
        "follows from its text",
    ),
    (
        [*TRIAL, *choose("knative"), "knative.services[0].budgetMs=295000"],
        "timeoutSeconds: 300, while the call may take budgetMs: 295000",
        "leave 10 s between",
    ),
]


@pytest.mark.parametrize(("settings", "problem", "way_out"), CONTRADICTIONS, ids=lambda value: str(value)[-40:])
def test_a_contradiction_is_refused_with_the_way_out(
    helm: Helm, settings: list[str], problem: str, way_out: str
) -> None:
    said = helm.refusal(*settings)
    assert problem in said
    assert way_out in said


CONTROLLERS = [
    "openwhisk.example",
    "ftp://openwhisk.example",
    "https://me@openwhisk.example",
    "https://openwhisk.example:99999",
    "https://openwhisk.example?a",
    "https://open whisk",
    "HTTPS://openwhisk.example",
]


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_what_the_pool_would_not_take_for_a_controller_is_refused_before(helm: Helm, controller: str) -> None:
    said = helm.refusal(*GPU, *choose("stock"), f"openwhisk.controller={controller}")
    assert f'openwhisk.controller is "{controller}"' in said


@pytest.mark.parametrize("image", ["kaas/pool", "registry.example:5000/kaas/pool", "a:latest", "r:1/a/b:latest"])
def test_an_image_that_may_be_another_one_tomorrow_is_refused(helm: Helm, image: str) -> None:
    for key in ("pool", "emulated", "action", "store"):
        assert f"images.{key} is {image}" in helm.refusal(*GPU, f"images.{key}={image}")


REQUESTS = {
    ("cpu=1", "cpu=1000m"): True,
    ("cpu=1001m", "cpu=1"): False,
    ("cpu=0.5", "cpu=500m"): True,
    ("memory=4Gi", "memory=4294967296"): True,
    ("memory=4Gi", "memory=4294967295"): False,
    ("memory=4Gi", "memory=4G"): False,
    ("memory=4G", "memory=4Gi"): True,
    ("memory=4000M", "memory=3.9G"): False,
    ("ephemeral-storage=1Ti", "ephemeral-storage=1T"): False,
}


@pytest.mark.parametrize(("pair", "fits"), REQUESTS.items(), ids=map(str, REQUESTS))
def test_a_request_fits_its_limit_in_all_units(helm: Helm, pair: tuple[str, str], fits: bool) -> None:
    settings = [
        *GPU,
        *(f"pool.resources.{kind}.{each}" for kind, each in zip(("requests", "limits"), pair, strict=True)),
    ]
    if fits:
        helm.template(*settings)
    else:
        assert "more than pool.resources.limits" in helm.refusal(*settings)


HOST_BYTES = {
    "4294967295": True,
    "4294967296": False,
    "3G": True,
    "3Gi": True,
    "4095Mi": True,
    "4096M": False,
    "1T": False,
}


@pytest.mark.parametrize(("size", "fits"), HOST_BYTES.items())
def test_host_memory_fits_the_containers_that_hold_it(helm: Helm, tmp_path: Path, size: str, fits: bool) -> None:
    file = tmp_path / "values.json"
    # Not by --set, which makes numbers of digits.
    file.write_text(json.dumps({"mover": {"hostBytes": size}}))
    settings = [*GPU, f"values={file}"]
    if fits:
        helm.template(*settings)
    else:
        assert f"mover.resources.limits.memory is 4Gi, and mover.hostBytes {size}" in helm.refusal(*settings)
    small = helm.refusal(*GPU, "pool.resources.limits.memory=2Gi", "pool.resources.requests.memory=1Gi")
    assert "pool.resources.limits.memory is 2Gi, and mover.hostBytes 2Gi" in small


def test_a_knative_service_of_a_long_release_has_room_for_its_name(helm: Helm) -> None:
    settings = flags(
        (*GPU, "knative.enabled=true", f"knative.services[0].name={'s' * 40}", "knative.services[0].action=/a")
    )
    done = helm.run("template", "a" * 53, str(CHART), *FOR, *settings)
    assert done.returncode != 0
    assert "has 81 characters, and a Service's name has at most 63" in done.stderr
    assert "a shorter name" in done.stderr


def test_every_refusal_has_its_case() -> None:
    refusals = re.findall(r"(?m)^{{- fail .*$", (CHART / "templates" / "validate.yaml").read_text())
    # One needs a release with a long name, and has a test of its own.
    ways_out = ["a shorter name", *(way_out for _, _, way_out in CONTRADICTIONS)]
    assert [line for line in refusals if not any(way_out in line for way_out in ways_out)] == []


def test_what_is_started_is_accepted_by_the_program(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_config, "_DRIVER_NODES", ("/dev/null",))
    for names in (
        ["gpu", "external", "stock", "extras"],
        ["emulated", "bundled", "plugin"],
        ["gpu", "external", "own-tokens"],
    ):
        manifests = helm.template(*choose(*names), "pool.allowUnsandboxed=true")
        (spec,) = [spec for place, spec in pod_specs(manifests) if place == "StatefulSet/kaas"]
        pool, mover = (next(one for one in containers(spec) if one["name"] == name) for name in ("pool", "mover"))
        assert pool["command"][1:] == ["-m", "kaas_pool"]
        read = pool_config.parse_arguments(pool["args"])
        assert f"--socket={read.mover_socket}" in mover["args"]
        assert read.device == ("cuda" if "gpu" in names else "emulated")
        assert (read.host, read.port) == ("0.0.0.0", 7233)
        assert (read.certificate is not None) == ("gpu" in names)
        assert read.allow_unsandboxed
        assert dict(read.domains) == ({"alice": "lab", "bob": "lab"} if "extras" in names else {})
        assert read.controller == ("https://openwhisk.example" if "stock" in names else None)
        mounts = [Path(mount["mountPath"]) for mount in pool["volumeMounts"]]
        for path in (read.state, read.tokens, read.certificate, read.key, read.mover_socket):
            assert path is None or any(path.is_relative_to(mount) for mount in mounts), path
        (size,) = [word.partition("=")[2] for word in mover["args"] if word.startswith("--host-bytes")]
        assert parse_bytes(size) == 2 << 30


def test_the_pages_lines_of_helm_are_rendered(helm: Helm, tmp_path: Path) -> None:
    """Every `helm install` that the documentation prints, with the settings and the values file it prints."""
    own = tmp_path / "my-values.yaml"
    seen = 0
    for page in [CHART / "README.md", *sorted((ROOT / "docs" / "deploy").glob("*.md"))]:
        text = page.read_text().replace("\\\n", " ")
        own.write_text("".join(re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)))
        for line in re.findall(r"^\s*helm (?:install|upgrade --install) \S+ helm/kaas (.*)$", text, re.MULTILINE):
            words = [word.strip("'\"") for word in re.findall(r"'[^']*'|\"[^\"]*\"|\S+", line)]
            words = [str(ROOT / word) if word.startswith("helm/kaas/") else word for word in words]
            words = [str(own) if word == own.name else word for word in words]
            done = helm.run("template", "kaas", str(CHART), *FOR, *words)
            assert done.returncode == 0, f"{page}: {line}\n{done.stderr}"
            seen += 1
    assert seen >= 4
