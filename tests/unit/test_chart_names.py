"""Releases of any name that Helm takes, several in one namespace."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from helm_chart import CHART, FOR, Helm, choose, find, flags, helm_binary
from manifest_rules import check

#: Helm takes up to 53 letters, digits, dashes and dots; some of these are no text in YAML.
RELEASES = ["a" * 53, "7", "123", "1e3", "true", "null", "yes", "1-kaas", "my.release", "kaas.x", "a" * 35 + "-----b"]
EVERYTHING = choose("emulated", "bundled", "knative", "plugin", "extras")


@pytest.fixture(scope="module")
def helm(request: pytest.FixtureRequest) -> Helm:
    return Helm(helm_binary(request.config.getoption("--slow")))


@pytest.mark.parametrize("release", RELEASES)
def test_a_release_may_have_any_name(helm: Helm, release: str) -> None:
    manifests = helm.template(*EVERYTHING, release=release)
    for manifest in manifests:
        check(manifest, ("1.37",))
        assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == release


def test_two_releases_in_one_namespace_do_not_meet(helm: Helm) -> None:
    for releases in [("left", "right"), ("a" * 52 + "l", "a" * 52 + "r")]:
        one, other = (helm.template(*EVERYTHING, release=release) for release in releases)
        names = [{(each["kind"], each["metadata"]["name"]) for each in manifests} for manifests in (one, other)]
        assert not names[0] & names[1]
        selectors = [
            [each["spec"]["selector"] for each in manifests if each["apiVersion"] == "v1" and each["kind"] == "Service"]
            for manifests in (one, other)
        ]
        assert not any(selector in selectors[1] for selector in selectors[0])
        assert min(names[0])[1] not in yaml.safe_dump(other)


def test_a_chart_may_be_packaged_with_a_build_in_its_version(helm: Helm, tmp_path: Path) -> None:
    chart = tmp_path / "kaas"
    shutil.copytree(CHART, chart)
    about = (chart / "Chart.yaml").read_text()
    (chart / "Chart.yaml").write_text(re.sub(r"(ersion: \"?0\.1\.0)", r"\1+g1234567", about))
    done = helm.run("template", "kaas", str(chart), *FOR, *flags(tuple(EVERYTHING)))
    assert done.returncode == 0, done.stderr
    for manifest in yaml.load_all(done.stdout, yaml.CSafeLoader):
        check(manifest, ("1.37",))
        assert manifest["metadata"]["labels"]["helm.sh/chart"] == "kaas-0.1.0_g1234567"
        assert manifest["metadata"]["labels"]["app.kubernetes.io/version"] == "0.1.0_g1234567"


def test_a_label_of_the_operators_holds_before_the_charts(helm: Helm) -> None:
    label = {"app.kubernetes.io/name": "pools"}
    settings = [f"metrics.{kind}.labels.app\\.kubernetes\\.io/name=pools" for kind in ("serviceMonitor", "dashboard")]
    manifests = helm.template(*EVERYTHING, *settings)
    for kind, name in (("ServiceMonitor", "kaas"), ("ConfigMap", "kaas-dashboard")):
        assert label.items() <= find(manifests, kind, name)["metadata"]["labels"].items()


def test_two_dashboards_are_two_in_one_grafana(helm: Helm) -> None:
    """The sidecar writes the ConfigMaps of all namespaces into one folder, by key."""
    (key, text), (other_key, other_text) = (
        entry
        for release in ("left", "right")
        for entry in find(helm.template(*EVERYTHING, release=release), "ConfigMap", f"{release}-kaas-dashboard")[
            "data"
        ].items()
    )
    assert key != other_key
    one, other = json.loads(text), json.loads(other_text)
    assert one["uid"] != other["uid"]
    assert max(len(one["uid"]), len(other["uid"])) <= 40, "Grafana's limit"
    assert one["title"] != other["title"]
    assert one["panels"] == other["panels"]
