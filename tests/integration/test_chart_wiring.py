"""What the chart says is what runs: its pods as processes on the emulated device, and a call through each entry."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from front_process import SAXPY
from helm_chart import Helm, choose, helm_binary
from pod_processes import Cluster, Pod, running
from seaweed import S3Server

from kaas.client import PoolClient, bearer, digest_of

pytestmark = pytest.mark.timeout(600)

TRIAL = choose("emulated", "bundled", "knative", "stock")
ARGUMENTS: dict[str, Any] = {"x": [1, 2, 3], "y": [10, 10, 10], "a": 2, "z": "inline"}
ANSWER = [12, 14, 16]


@pytest.fixture(scope="module")
def helm(request: pytest.FixtureRequest) -> Helm:
    return Helm(helm_binary(request.config.getoption("--slow")))


@pytest.fixture(scope="module")
def trial(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A release with everything bundled, its store and pool running."""
    cluster = Cluster(tmp_path_factory.mktemp("trial"), helm.template(*TRIAL))
    with running(cluster, "kaas-store", "kaas"):
        yield cluster


def post(url: str, body: Any) -> Any:
    """The decoded answer to JSON."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def client(cluster: Cluster) -> PoolClient:
    """A client as the notes set one up."""
    token = cluster.secret("kaas-client")["token"].decode()
    return PoolClient(f"http://{cluster.address('kaas')}:7233", bearer(token))


def test_the_pool_answers_and_helm_test_finds_it_right(trial: Cluster) -> None:
    with client(trial) as pool:
        invocation = pool.invoke(SAXPY.encode(), ARGUMENTS)
    assert invocation.result is not None, invocation.error
    assert invocation.result["z"] == ANSWER

    test = trial.start("kaas-test").containers["test"]
    assert test.wait(100) == 0, test.log.read_text()
    assert "right: the pool computed, stored s3://out/kaas-test/y.npy and read it again" in test.log.read_text()


def test_the_action_image_answers_openwhisk(trial: Cluster) -> None:
    # The container of a Knative Service is the action image with the pool's address and a token; OpenWhisk's own has
    # no KAAS_ACTION.
    spec = trial.find("Service", "kaas-saxpy")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    variables = [one for one in container["env"] if one["name"] != "KAAS_ACTION"]
    bare = {**spec, "containers": [{**container, "env": variables}]}
    pod = Pod(trial, "openwhisk-action", bare)
    pod.start()
    try:
        action = pod.containers["action"]
        url = f"http://{pod.address}:8080"
        action.wait_for_port()
        assert post(f"{url}/init", {"value": {"code": SAXPY}}) == {"ok": True}
        assert post(f"{url}/run", {"value": ARGUMENTS})["z"] == ANSWER
    finally:
        assert pod.stop() == {"action": 0}


def test_a_knative_service_answers(trial: Cluster) -> None:
    pod = trial.start("kaas-saxpy")
    pod.wait_until_ready()
    answer = post(f"http://{pod.address}:8080/", ARGUMENTS)
    assert answer["z"] == ANSWER
    assert pod.stop() == {"action": 0}


def test_an_upgrade_keeps_bundles_and_what_was_accepted(helm: Helm, s3_server: S3Server, tmp_path: Path) -> None:
    # Longer than the pool has to drain: it is computed again after the start.
    slow = SAXPY.replace("int i =", "for (volatile int k = 0; k < 10000000; k = k + 1); int i =")
    manifests = helm.template(*choose("emulated", "external"), "pool.drainSeconds=1")
    secrets = {"my-stores": {"stores.json": json.dumps({"tenants": {"guest": s3_server.rights("alice")}}).encode()}}
    cluster = Cluster(tmp_path, manifests, secrets)
    with running(cluster, "kaas") as pods, client(cluster) as pool:
        digest = pool.put_bundle(SAXPY.encode())["digest"]
        accepted = pool.invoke(slow.encode(), ARGUMENTS, wait_ms=0)
        assert accepted.result is None
        assert pods["kaas"].stop() == {"pool": 0, "mover": 0}

    # The volumes, and what `helm upgrade` looks up: the Secrets.
    again = Cluster(tmp_path, manifests, secrets)
    with running(again, "kaas"), client(again) as pool:
        assert digest == digest_of(SAXPY.encode())
        known = pool.invoke(digest, ARGUMENTS)
        assert known.result is not None, "the bundle is known without an upload"
        finished = pool.invoke(slow.encode(), ARGUMENTS, id=accepted.id)
        assert finished.result is not None, finished.error
        assert finished.result["z"] == ANSWER


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here to make a certificate with")
def test_with_a_certificate_a_store_and_tokens_of_ones_own(helm: Helm, s3_server: S3Server, tmp_path: Path) -> None:
    # As on a GPU node, but for the device.
    settings = ["device=emulated", "emulator.allowArbitraryHostCode=true", "tls.secret=pool-tls"]
    manifests = helm.template(
        *settings, *choose("external", "own-tokens", "extras"), "test.outputs=s3://alice/kaas-test"
    )
    secrets = {
        "my-stores": {"stores.json": json.dumps({"tenants": {"alice": s3_server.rights("alice")}}).encode()},
        "my-client": {"token": b"alice's token"},
    }
    cluster = Cluster(tmp_path, manifests, secrets)
    digest = digest_of(secrets["my-client"]["token"]).removeprefix("sha256:")
    entry = {"sha256": digest, "tenant": "alice", "scopes": ["invoke", "read"]}
    secrets["my-tokens"] = {"tokens.json": json.dumps([entry]).encode()}
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=kaas"
    command += f" -addext subjectAltName=IP:{cluster.address('kaas')} -keyout {key} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True)
    authority = certificate.read_bytes()
    secrets["pool-tls"] = {"tls.crt": authority, "tls.key": key.read_bytes(), "ca.crt": authority}
    with running(cluster, "kaas") as pods:
        test = cluster.start("kaas-test").containers["test"]
        assert test.wait(100) == 0, test.log.read_text()
        log = pods["kaas"].containers["pool"].log.read_text()
        assert "listening on https://" in log
        assert "can be read by others" not in log, "the group that Kubernetes lets read its Secrets is the pool's own"
