"""What the compose file says is what runs: its services as processes on the emulated device, and an invocation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import numpy
import pytest
import yaml
from compose_home import empty_home, initialise, variables
from front_process import SAXPY
from helm_chart import NAMESPACE, ROOT, Manifest
from pod_processes import Cluster, running

from kaas.client import PoolClient, bearer

pytestmark = pytest.mark.timeout(600)

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "gpu-pool" / "compose.yaml").read_text())


def as_pod(name: str, values: dict[str, str]) -> Manifest:
    """A service as a pod of one container: folders of the home as claims, its one secret as a Secret."""
    text = json.dumps(COMPOSE["services"][name])
    for variable, value in values.items():
        text = text.replace(f"${{{variable}}}", value)
    service = json.loads(text)
    mounts = [volume.removeprefix(values["KAAS_HOME"]).strip("/").split(":") for volume in service["volumes"]]
    (secret,) = service["secrets"]
    probe = {"exec": {"command": service["healthcheck"]["test"][1:]}} if "healthcheck" in service else {"tcpSocket": {}}
    ports = [{"containerPort": int(port.rpartition(":")[2])} for port in service.get("ports", [])]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "enableServiceLinks": False,
            "containers": [
                {
                    "name": name,
                    "command": service["entrypoint"],
                    "args": service["command"],
                    "env": [{"name": key, "value": value} for key, value in service["environment"].items()],
                    "ports": ports,
                    "startupProbe": {**probe, "periodSeconds": 1, "failureThreshold": 100},
                    "volumeMounts": [
                        *({"name": folder, "mountPath": path} for folder, path in mounts),
                        {"name": "secret", "mountPath": "/run/secrets"},
                        {"name": "tmp", "mountPath": "/tmp"},
                    ],
                }
            ],
            "volumes": [
                *({"name": folder, "persistentVolumeClaim": {"claimName": folder}} for folder, _ in mounts),
                {"name": "secret", "secret": {"secretName": secret, "defaultMode": 0o600}},
                {"name": "tmp", "emptyDir": {}},
            ],
        },
    }


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with empty_home() as folder:
        assert initialise(folder).returncode == 0
        yield folder


def test_the_services_answer(home: Path, tmp_path: Path) -> None:
    values = variables(home)
    pods = [as_pod(name, values) for name in COMPOSE["services"]]
    secrets = {name: {name: (home / name).read_bytes()} for name in COMPOSE["secrets"]}
    # Compose's network knows a service by its name alone.
    stores = secrets["stores.json"]["stores.json"].replace(b"//store:", f"//store.{NAMESPACE}.svc:".encode())
    secrets["stores.json"]["stores.json"] = stores
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "store"}, "spec": {"pod": "store"}}
    cluster = Cluster(tmp_path, [*pods, service], secrets)
    with (
        running(cluster, "store", "mover", "pool") as started,
        PoolClient(f"http://{cluster.address('pool')}:7233", bearer(values["KAAS_TOKEN"])) as pool,
    ):
        s3 = boto3.client(
            "s3",
            endpoint_url=f"http://{cluster.address('store')}:{cluster.ports.s3}",
            aws_access_key_id=values["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=values["AWS_SECRET_ACCESS_KEY"],
            region_name=values["AWS_DEFAULT_REGION"],
        )
        arguments = {"x": [1, 2, 3], "y": [10, 10, 10], "a": 2, "z": "s3://out/z.npy"}
        invocation = pool.invoke(SAXPY.encode(), arguments)
        assert invocation.result is not None, invocation.error
        stored = s3.get_object(Bucket="out", Key="z.npy")["Body"].read()
        s3.close()
        assert numpy.load(BytesIO(stored)).tolist() == [12, 14, 16]
        assert started["pool"].stop() == {"pool": 0}
        assert started["mover"].stop() == {"mover": 0}
