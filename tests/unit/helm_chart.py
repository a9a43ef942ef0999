"""The Helm chart, rendered by the real helm: what it would send to a cluster."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from openwhisk_clients import cache_directory, made

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "kaas"

#: Where releases go.
NAMESPACE = "gpu"

#: What a helm takes for the cluster's version without one depends on who built it.
FOR = ("--kube-version", "1.37.0")

Manifest = dict[str, Any]

#: The least that each choice needs, by name: a test puts some together.
SETTINGS: dict[str, list[str]] = {
    "gpu": ["gpu.runtimeClassName=nvidia", "tls.secret=pool-tls"],
    "emulated": ["device=emulated", "emulator.allowArbitraryHostCode=true", "tls.allowPlaintext=true"],
    "bundled": ["store.bundled.enabled=true"],
    "external": ["store.existingSecret=my-stores"],
    "stock": ["openwhisk.enabled=true", "openwhisk.controller=https://openwhisk.example"],
    "plugin": [
        "openwhisk.enabled=true",
        "openwhisk.plugin.enabled=true",
        "openwhisk.plugin.invokerImage=registry.example:5000/invoker-kaas:3",
    ],
    "knative": [f"values={CHART / 'values-knative.yaml'}"],
    "extras": [
        "metrics.serviceMonitor.enabled=true",
        "metrics.serviceMonitor.labels.release=prometheus",
        "metrics.dashboard.enabled=true",
        "podDisruptionBudget.enabled=true",
        "pool.slots=4",
        "pool.domains.alice=lab",
        "pool.domains.bob=lab",
        "imagePullSecrets[0].name=my-registry",
    ],
    "own-tokens": [
        "auth.tokensSecret=my-tokens",
        "auth.clientTokenSecret=my-client",
        "auth.metricsTokenSecret=my-metrics",
    ],
}


@dataclass(frozen=True)
class Helm:
    """The command."""

    binary: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `helm WORDS` and wait for its end."""
        return subprocess.run([self.binary, *words], capture_output=True, text=True, timeout=110, check=False)

    def template(self, *settings: str, release: str = "kaas") -> list[Manifest]:
        """The manifests of a release with these settings (`key=value`, or `values=FILE`)."""
        text = _rendered(self, settings, release)
        return [manifest for manifest in yaml.load_all(text, yaml.CSafeLoader) if manifest]

    def refusal(self, *settings: str) -> str:
        """What is said of settings that must not be rendered."""
        done = self.run("template", "kaas", str(CHART), *FOR, *flags(settings))
        assert done.returncode != 0, "this should have been refused"
        return done.stderr


@cache
def _rendered(helm: Helm, settings: tuple[str, ...], release: str) -> str:
    done = helm.run("template", release, str(CHART), *FOR, "--namespace", NAMESPACE, *flags(settings))
    assert done.returncode == 0, done.stderr
    return done.stdout


def flags(settings: tuple[str, ...]) -> Iterator[str]:
    """Settings as arguments of helm."""
    for setting in settings:
        kind, _, value = setting.partition("=")
        yield from ("--values", value) if kind == "values" else ("--set", setting)


def choose(*names: str) -> list[str]:
    """The settings of choices by name."""
    return [setting for name in names for setting in SETTINGS[name]]


def helm_binary(may_build: bool) -> Path:
    """The path of `helm`, the pinned one if it is there; skips the test where there is none."""
    pinned = next(
        line.partition("=")[2]
        for line in (ROOT / "scripts" / "build-helm.sh").read_text().splitlines()
        if line.startswith("version=")
    )
    built = cache_directory() / f"helm-{pinned}" / "helm"
    if built.exists():
        return built
    if (found := shutil.which("helm")) is not None:
        return Path(found)
    if not may_build:
        pytest.skip("helm is not built yet: scripts/build-helm.sh does it, or a run with --slow")
    if shutil.which("go") is None:
        pytest.skip("there is no helm, and no Go to build it")
    asks = ["go", "list", "-m", f"helm.sh/helm/v4@{pinned}"]
    return Path(made("helm", [str(ROOT / "scripts" / "build-helm.sh")], asks).splitlines()[-1])


def pod_specs(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Each pod that the manifests make: `Kind/name`, and its spec."""
    for manifest in manifests:
        name = f"{manifest['kind']}/{manifest['metadata']['name']}"
        if manifest["kind"] == "Pod":
            yield name, manifest["spec"]
        elif "template" in manifest.get("spec", {}):
            yield name, manifest["spec"]["template"]["spec"]


def containers(spec: Manifest) -> list[Manifest]:
    """All containers of a pod, those that start first included."""
    return [*spec.get("initContainers", []), *spec["containers"]]


def find(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """One manifest."""
    (found,) = [one for one in manifests if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def secrets_of(spec: Manifest, container: Manifest) -> set[str]:
    """The Secrets that a container can see: `name`, or `name/key` where it is one key of them."""
    seen = set()
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        secret = volumes[mount["name"]].get("secret")
        if secret is not None:
            keys = [item["key"] for item in secret.get("items", [])]
            seen |= {f"{secret['secretName']}/{key}" for key in keys} or {secret["secretName"]}
    for variable in container.get("env", []):
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        if reference is not None:
            seen.add(f"{reference['name']}/{reference['key']}")
    assert not container.get("envFrom")
    return seen


def leaves(values: Mapping[str, Any], whole: frozenset[str], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The settings of a values file with their defaults as JSON; those in `whole` are one setting each."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and value and path not in whole:
            yield from leaves(value, whole, f"{path}.")
        else:
            yield path, json.dumps(value)


def paths(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All keys of a values file with what they have, objects before what is in them."""
    for key, value in values.items():
        yield f"{prefix}{key}", value
        if isinstance(value, dict):
            yield from paths(value, f"{prefix}{key}.")
