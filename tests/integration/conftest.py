"""Servers and names that integration tests share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from pool_process import PoolProcess
from seaweed import S3Client, S3Server, running_s3_server
from tcp_proxy import TcpProxy


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server; see seaweed.py for its identities and buckets."""
    with running_s3_server(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session")
def s3(s3_server: S3Server) -> Iterator[S3Client]:
    """A boto3 client with every right."""
    client = s3_server.client("admin")
    yield client
    client.close()


@pytest.fixture(scope="session")
def pool(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolProcess]:
    """A whole pool on an emulated device, for the tenants alice and bob; see pool_process.py."""
    stores = {name: s3_server.rights(name) for name in ("alice", "bob")}
    with PoolProcess(tmp_path_factory.mktemp("pool") / "state", stores) as running:
        yield running


@pytest.fixture(scope="session")
def gate(s3_server: S3Server) -> Iterator[TcpProxy]:
    """What stands between the store and `gated_pool`, to make the store slow, silent or gone."""
    with TcpProxy(s3_server.endpoint) as between:
        yield between


@pytest.fixture(scope="session")
def gated_pool(s3_server: S3Server, gate: TcpProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolProcess]:
    """As `pool`, to be ill-treated: its store can be stalled, it has less host memory (256 MiB) than the device."""
    stores = {name: s3_server.rights(name, gate.endpoint) for name in ("alice", "bob")}
    with PoolProcess(tmp_path_factory.mktemp("gated") / "state", stores, "--host-bytes", "256M") as running:
        yield running


_names = (f"test/{number}" for number in itertools.count())


@pytest.fixture
def name() -> str:
    """A prefix in the buckets that no other test writes to."""
    return next(_names)


@pytest.fixture
def store(gate: TcpProxy) -> Iterator[TcpProxy]:
    """The proxy before `gated_pool`'s store, put right again afterwards."""
    yield gate
    gate.cuts_left = gate.refusals_left = 0
    gate.drop_connections()
    gate.release()
