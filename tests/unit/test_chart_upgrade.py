"""An upgrade finds in the cluster what the first installation made: the chart's lookups, against a scripted API."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_chart import CHART, FOR, NAMESPACE, Helm, Manifest, choose, find, flags, helm_binary

_SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets/"
#: What is Helm's in a cluster, and whose.
_OWNED = {"meta.helm.sh/release-name": "kaas", "meta.helm.sh/release-namespace": NAMESPACE}
#: The kinds of the releases below.
_KINDS = {
    "v1": ["ConfigMap", "PersistentVolumeClaim", "Secret", "Service"],
    "apps/v1": ["StatefulSet"],
    "monitoring.coreos.com/v1": ["ServiceMonitor"],
    "networking.k8s.io/v1": ["NetworkPolicy"],
    "policy/v1": ["PodDisruptionBudget"],
}


def _discovery() -> dict[str, Any]:
    """What an API server answers about itself."""
    groups = []
    found: dict[str, Any] = {"/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"}}
    found["/api"] = {"kind": "APIVersions", "versions": ["v1"]}
    for version, kinds in _KINDS.items():
        names = {kind: f"{kind.lower()}s".replace("ys", "ies") for kind in kinds}
        resources = [
            {"name": name, "singularName": kind.lower(), "namespaced": True, "kind": kind, "verbs": ["get"]}
            for kind, name in names.items()
        ]
        group = f"/apis/{version}" if "/" in version else f"/api/{version}"
        found[group] = {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
        if "/" in version:
            one = {"groupVersion": version, "version": version.partition("/")[2]}
            groups.append({"name": version.partition("/")[0], "versions": [one], "preferredVersion": one})
    found["/apis"] = {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    return found


@contextmanager
def cluster(directory: Path, secrets: list[Manifest]) -> Iterator[list[str]]:
    """The API of a cluster that has these Secrets; gives arguments of helm."""
    there = {
        secret["metadata"]["name"]: {**secret, "metadata": {**secret["metadata"], "annotations": _OWNED}}
        for secret in secrets
    }
    discovery = _discovery()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            found = discovery.get(path) or there.get(path.removeprefix(_SECRETS))
            missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            data = json.dumps(found or missing).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Tests print their own."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        kubeconfig = directory / "kubeconfig"
        context = {"name": "test", "context": {"cluster": "test", "user": "test"}}
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "test", "contexts": [context]}
        config |= {
            "clusters": [{"name": "test", "cluster": {"server": address}}],
            "users": [{"name": "test", "user": {}}],
        }
        kubeconfig.write_text(json.dumps(config))
        try:
            yield ["--dry-run=server", "--disable-openapi-validation", "--kubeconfig", str(kubeconfig)]
        finally:
            server.shutdown()
            thread.join()


def secrets_of(manifests: list[Manifest]) -> dict[str, dict[str, bytes]]:
    """The data of all Secrets."""
    return {
        one["metadata"]["name"]: {key: base64.b64decode(value) for key, value in one["data"].items()}
        for one in manifests
        if one["kind"] == "Secret"
    }


@pytest.fixture(scope="module")
def helm(request: pytest.FixtureRequest) -> Helm:
    return Helm(helm_binary(request.config.getoption("--slow")))


def render(helm: Helm, settings: list[str], *words: str) -> list[Manifest]:
    """What an installation with these settings would send."""
    done = helm.run("template", "kaas", str(CHART), *FOR, "--namespace", NAMESPACE, *flags(tuple(settings)), *words)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.load_all(done.stdout, yaml.CSafeLoader) if one]


def test_tokens_and_keys_are_made_once(helm: Helm, tmp_path: Path) -> None:
    settings = choose("emulated", "bundled")
    first = render(helm, settings)
    assert secrets_of(first) != secrets_of(render(helm, settings)), "they are made at random"
    with cluster(tmp_path, [one for one in first if one["kind"] == "Secret"]) as words:
        assert secrets_of(render(helm, settings, *words)) == secrets_of(first)

        # What is new gets a token, what there was keeps its own.
        more = secrets_of(render(helm, [*settings, *choose("plugin", "extras")], *words))
    assert more["kaas-client"] == secrets_of(first)["kaas-client"]
    before, after = (json.loads(found["kaas-tokens"]["tokens.json"]) for found in (secrets_of(first), more))
    assert [entry for entry in after if entry in before] == before
    assert len(after) == len(before) + 2
    assert find(first, "Secret", "kaas-stores")


def test_another_tenant_gets_keys_of_its_own(helm: Helm, tmp_path: Path) -> None:
    settings = choose("emulated", "bundled")
    first = render(helm, settings)
    with cluster(tmp_path, [one for one in first if one["kind"] == "Secret"]) as words:
        renamed = secrets_of(render(helm, [*settings, "auth.tenant=alice"], *words))
    tenants = [json.loads(found["kaas-stores"]["stores.json"])["tenants"] for found in (secrets_of(first), renamed)]
    assert [list(one) for one in tenants] == [["guest"], ["alice"]]
    assert tenants[0]["guest"]["secret_key"] != tenants[1]["alice"]["secret_key"]


def _template(manifests: list[Manifest], kind: str, name: str) -> Any:
    return find(manifests, kind, name)["spec"]["template"]


def test_what_reads_a_secret_that_the_chart_changes_is_started_again(helm: Helm, tmp_path: Path) -> None:
    settings = choose("emulated", "bundled")
    first = render(helm, settings)
    with cluster(tmp_path, [one for one in first if one["kind"] == "Secret"]) as words:
        same = render(helm, settings, *words)
        monitored = render(helm, [*settings, "metrics.serviceMonitor.enabled=true"], *words)
        renamed = render(helm, [*settings, "auth.tenant=alice"], *words)
    for name in ("kaas", "kaas-store"):
        assert _template(same, "StatefulSet", name) == _template(first, "StatefulSet", name), "nothing has changed"
        assert _template(renamed, "StatefulSet", name) != _template(first, "StatefulSet", name)
    # Its token is new to the pool, and nothing to the store.
    assert _template(monitored, "StatefulSet", "kaas") != _template(first, "StatefulSet", "kaas")
    assert _template(monitored, "StatefulSet", "kaas-store") == _template(first, "StatefulSet", "kaas-store")


def test_another_manifest_makes_another_revision(helm: Helm) -> None:
    def revision(manifest: str) -> Any:
        service = ["knative.enabled=true", "knative.services[0].name=a", f"knative.services[0].manifest={manifest}"]
        return _template(render(helm, [*choose("emulated", "bundled"), *service]), "Service", "kaas-a")

    assert revision("one") == revision("one")
    assert revision("one") != revision("other")


@pytest.mark.parametrize(
    "data", [{}, None, {"token": ""}, {"stores.json": base64.b64encode(b"no JSON").decode()}, {"stores.json": "e30="}]
)
def test_secrets_that_lack_what_belongs_there_get_it_anew(
    helm: Helm, tmp_path: Path, data: dict[str, str] | None
) -> None:
    """Somebody has edited them: an empty token would be everybody's."""
    settings = choose("emulated", "bundled")
    spoilt = [{**one, "data": data} for one in render(helm, settings) if one["kind"] == "Secret"]
    with cluster(tmp_path, spoilt) as words:
        made = secrets_of(render(helm, settings, *words))
    assert len(made["kaas-client"]["token"]) >= 40
    assert json.loads(made["kaas-stores"]["stores.json"])["tenants"]["guest"]["secret_key"]
    assert [entry["tenant"] for entry in json.loads(made["kaas-tokens"]["tokens.json"])] == ["guest"]


def test_no_value_changes_what_an_upgrade_may_not(helm: Helm) -> None:
    """An API server refuses another selector of a StatefulSet, and of a volume's claim all but a larger size."""
    seen: dict[str, set[str]] = {}
    for names in (
        ["gpu", "external", "own-tokens"],
        ["gpu", "bundled", "plugin", "extras"],
        ["emulated", "bundled", "knative", "stock", "extras"],
    ):
        more = ["pool.drainSeconds=7", "pool.persistence.size=1Ti", "store.bundled.size=1Ti", "mover.hostBytes=1G"]
        for settings in (choose(*names), [*choose(*names), *more]):
            for manifest in render(helm, settings):
                spec = manifest.get("spec", {})
                if manifest["kind"] == "StatefulSet":
                    mutable = {"replicas", "template", "updateStrategy", "minReadySeconds"}
                elif manifest["kind"] == "PersistentVolumeClaim":
                    mutable = {"resources"}
                else:
                    continue
                fixed = {key: value for key, value in spec.items() if key not in mutable}
                place = f"{manifest['kind']}/{manifest['metadata']['name']}"
                seen.setdefault(place, set()).add(json.dumps(fixed, sort_keys=True))
    assert {place: len(specs) for place, specs in seen.items()} == {
        "StatefulSet/kaas": 1,
        "StatefulSet/kaas-store": 1,
        "PersistentVolumeClaim/kaas-state": 1,
        "PersistentVolumeClaim/kaas-store": 1,
    }
