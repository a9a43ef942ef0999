"""The notes after an installation: numbered, and commands that are right for what was chosen."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess

import pytest
from helm_chart import CHART, Helm, choose, flags, helm_binary

DEVICES = [["gpu"], ["emulated"], ["emulated", "tls"]]
REST = [
    ["bundled", "stock"],
    ["bundled", "knative", "plugin", "extras"],
    ["external", "own-tokens", "knative"],
    ["external", "own-tokens", "claim", "stock"],
    ["external", "claim", "no-policy", "plugin", "extras"],
    ["external", "bare-tokens"],
]
MORE = {
    "tls": ["tls.secret=pool-tls"],
    "claim": ["pool.persistence.existingClaim=my-claim"],
    "no-policy": ["networkPolicy.enabled=false"],
    "bare-tokens": ["auth.tokensSecret=my-tokens"],
}
MATRIX = [[*device, *rest] for device, rest in itertools.product(DEVICES, REST)]


@pytest.fixture(scope="module")
def helm(request: pytest.FixtureRequest) -> Helm:
    return Helm(helm_binary(request.config.getoption("--slow")))


def settings(names: list[str]) -> list[str]:
    """The settings of choices by name, this file's own included."""
    return [setting for name in names for setting in (MORE[name] if name in MORE else choose(name))]


def notes(helm: Helm, names: list[str]) -> str:
    """What Helm prints after an installation with these settings."""
    words = flags(tuple(settings(names)))
    done = helm.run("install", "one", str(CHART), "-n", "gpu", "--dry-run=client", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("NOTES:")[2]


def commands(text: str) -> str:
    """The lines that are to be typed."""
    return "\n".join(line for line in text.splitlines() if line.startswith("     "))


@pytest.mark.parametrize("names", MATRIX, ids="-".join)
def test_the_notes_are_steps_of_commands(helm: Helm, names: list[str]) -> None:
    text = notes(helm, names)
    steps = [int(number) for number in re.findall(r"^(\d+)\. ", text, re.MULTILINE)]
    assert steps == list(range(1, len(steps) + 1))
    assert "<no value>" not in text
    assert "\n\n\n" not in text
    done = subprocess.run(["bash", "-n"], input=commands(text), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for program in re.findall(r'python3 -c \\\n +"(.*)"$', text, re.MULTILINE):
        ast.parse(program)
    assert ("EMULATED DEVICE" in text) == ("emulated" in names)


@pytest.mark.parametrize("names", MATRIX, ids="-".join)
def test_the_notes_name_what_is_there(helm: Helm, names: list[str]) -> None:
    text = notes(helm, names)
    kinds = {
        "persistentvolumeclaim": "PersistentVolumeClaim",
        "configmap": "ConfigMap",
        "pod": "Pod",
        "secret": "Secret",
    }
    kinds |= {"service": "Service", "statefulset": "StatefulSet"}
    manifests = helm.template(*settings(names), release="one")
    there = {(one["kind"], one["metadata"]["name"]) for one in manifests}
    there |= {("Secret", name) for name in ("my-client", "pool-tls")}
    told = re.findall(rf"\b({'|'.join(kinds)})(?:/| -n gpu )([-a-z0-9]+)", text)
    assert told
    assert {(kinds[kind], name) for kind, name in told} <= there

    # What stays is said, and nothing else.
    kept = {
        ("persistentvolumeclaim", "one-kaas-state"): "claim" not in names,
        ("persistentvolumeclaim", "one-kaas-store"): "bundled" in names,
    }
    kept |= dict.fromkeys([("pod", "one-kaas-test"), ("configmap", "one-kaas-test")], "bare-tokens" not in names)
    leftovers = re.findall(r"\b([a-z]+)/([-a-z0-9]+)", text.partition("`helm uninstall`")[2])
    assert set(leftovers) == {each for each, stays in kept.items() if stays}


@pytest.mark.parametrize("names", MATRIX, ids="-".join)
def test_the_notes_address_the_pool_as_it_is_reached(helm: Helm, names: list[str]) -> None:
    text = notes(helm, names)
    is_encrypted = "gpu" in names or "tls" in names
    (url,) = re.findall(r"KAAS_POOL_URL=(\S+)", text)
    # A certificate has the Service's name.
    assert url == ("https://one-kaas.gpu.svc:7233" if is_encrypted else "http://localhost:7233")
    assert ("SSL_CERT_FILE" in text) == is_encrypted
    assert ("127.0.0.1 one-kaas.gpu.svc" in text) == is_encrypted

    others = {"stock", "plugin", "extras"} & set(names)
    assert ("networkPolicy.clients is empty" in text) == bool(others and "no-policy" not in names)
    assert ("Prometheus" in text) == ("extras" in names and "no-policy" not in names)
