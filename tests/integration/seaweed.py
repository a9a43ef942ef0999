"""The tests' object store: a real SeaweedFS with three identities and three buckets."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from kaas_local.seaweedfs import Identity, Ports, SeaweedFS

#: boto3 makes its clients' methods at run time.
S3Client = Any

#: What each identity may do. Buckets "alice", "bob" and "shared" exist.
RIGHTS = {
    "admin": ("Admin",),
    "alice": ("Read:alice", "Write:alice", "List:alice", "Read:shared", "Write:shared", "List:shared"),
    "bob": ("Read:bob", "Write:bob", "List:bob", "Read:shared", "List:shared"),
}
BUCKETS = ("alice", "bob", "shared")


@dataclass(frozen=True)
class S3Server:
    """A running store and its identities by name."""

    process: SeaweedFS
    identities: dict[str, Identity]

    @property
    def endpoint(self) -> str:
        """The S3 endpoint's URL."""
        return self.process.endpoint

    def rights(self, name: str, endpoint: str | None = None) -> dict[str, Any]:
        """The identity's entry for a stores.json, by way of another endpoint if one is given."""
        identity = self.identities[name]
        return {
            "endpoint": endpoint or self.endpoint,
            "access_key": identity.access_key,
            "secret_key": identity.secret_key,
        }

    def client(self, name: str) -> S3Client:
        """A new boto3 client of the identity; the caller closes it."""
        identity = self.identities[name]
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=identity.access_key,
            aws_secret_access_key=identity.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )


@contextmanager
def running_s3_server(directory: Path) -> Iterator[S3Server]:
    """Start a store with its buckets, and kill it at the end."""
    identities = {
        name: Identity(name, f"{name}-{secrets.token_hex(8)}", secrets.token_hex(20), rights)
        for name, rights in RIGHTS.items()
    }
    process = SeaweedFS(directory, Ports.choose(), list(identities.values()))
    process.start()
    try:
        server = S3Server(process, identities)
        client = server.client("admin")
        for bucket in BUCKETS:
            client.create_bucket(Bucket=bucket)
        client.close()
        yield server
    finally:
        process.kill()
        process.ports.close()
