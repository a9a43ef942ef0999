"""The mover and an https endpoint."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from mover_process import MoverProcess, contents, error_code, fill

from kaas_local.seaweedfs import Identity, Ports, SeaweedFS

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here to make a certificate with")

IDENTITY = Identity("admin", "admin-key", "admin-secret", ("Admin",))


class SeaweedFSWithTls(SeaweedFS):
    """Serves https on a port of its own, beside http."""

    def __init__(self, directory: Path, certificate: Path) -> None:
        super().__init__(directory, Ports.choose(), [IDENTITY])
        self.certificate = certificate
        self.https_port = Ports.choose().s3

    def _command(self, data: Path) -> list[str]:
        key = self.certificate.with_suffix(".key")
        return [
            *super()._command(data),
            f"-s3.port.https={self.https_port}",
            f"-s3.cert.file={self.certificate}",
            f"-s3.key.file={key}",
        ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFSWithTls]:
    certificate = tmp_path_factory.mktemp("tls") / "server.crt"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    command += f" -addext subjectAltName=IP:127.0.0.1 -keyout {certificate.with_suffix('.key')} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True)
    server = SeaweedFSWithTls(tmp_path_factory.mktemp("seaweedfs-tls"), certificate)
    server.start()
    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=IDENTITY.access_key,
        aws_secret_access_key=IDENTITY.secret_key,
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="bucket")
    client.close()
    yield server
    server.kill()


def rights(server: SeaweedFSWithTls, **more: str) -> dict[str, str]:
    endpoint = f"https://127.0.0.1:{server.https_port}"
    return {"endpoint": endpoint, "access_key": IDENTITY.access_key, "secret_key": IDENTITY.secret_key, **more}


def test_data_goes_through_tls(server: SeaweedFSWithTls, tmp_path: Path) -> None:
    data = os.urandom(8 << 20)
    # A relative path begins where stores.json is.
    shutil.copy(server.certificate, tmp_path / "ca.crt")
    tenants = {"t": rights(server, ca_bundle="ca.crt"), "untrusting": rights(server)}
    with MoverProcess(tmp_path, tenants) as mover, mover.front() as front:
        segment, descriptor = front.alloc("t", len(data))
        fill(descriptor, data)
        frame, _ = front.answer(front.ask_store("t", segment, len(data), "bucket", "k"))
        assert frame["type"] == "stored", frame
        found = front.stat("t", "bucket", "k")
        assert contents(*front.answer(front.ask_load("t", "bucket", "k", found))) == data
        refused = front.stat("untrusting", "bucket", "k")
        assert error_code(refused) == "store_unreachable" and "ca_bundle" in refused["error"]["hint"]
