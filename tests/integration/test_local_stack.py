"""The stack of one machine: what it promises when all goes well, when parts die, and when it cannot start."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from local_stack import running_stack, wait_for_end, wait_until
from seaweed import BUCKETS, running_s3_server

from kaas.client import PoolClient, bearer
from kaas.errors import CallerError
from kaas_local import stack as local
from kaas_local.credentials import Credentials, is_namespace
from kaas_local.state import Process, Stack, StackError, StateDirectory

Running = tuple[StateDirectory, Stack, dict[str, str]]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_stack(tmp_path_factory.mktemp("up") / "state") as running:
        yield running


def s3_client(variables: dict[str, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=variables["AWS_DEFAULT_REGION"],
    )


def test_secrets_are_the_users_alone(running: Running) -> None:
    state, _, _ = running
    assert state.path.stat().st_mode & 0o777 == 0o700
    owned = ("openwhisk/keys.json", "pool/tokens.json", "pool/stores.json", "store/s3.json")
    for name in ("credentials.json", "stack.json", *owned):
        assert (state.path / name).stat().st_mode & 0o777 == 0o600, name
    credentials = Credentials.load(state)
    assert credentials is not None
    keys = credentials.namespaces["guest"]
    assert keys.token not in (state.path / "pool/tokens.json").read_text(), "the pool knows tokens by digest"
    assert keys.api_key not in (state.path / "openwhisk/keys.json").read_text(), "and the API knows keys by it"
    for process in state.read_stack().processes.values():  # type: ignore[union-attr]
        command = Path(f"/proc/{process.pid}/cmdline").read_text()
        assert keys.token not in command
        assert keys.api_key not in command
        assert keys.store_key.secret_key not in command


def test_listens_on_this_machine_only(running: Running) -> None:
    _, stack, _ = running
    assert stack.pool_url.startswith("http://127.0.0.1:")
    assert stack.store_url.startswith("http://127.0.0.1:")
    assert stack.api_url.startswith("http://127.0.0.1:")
    ports = {f"{int(url.rpartition(':')[2]):04X}" for url in (stack.pool_url, stack.store_url, stack.api_url)}
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    found = {
        address.split(":")[1]
        for _, address, _, status, *_ in listening
        if status == "0A" and address.startswith("0100007F:")
    }
    assert ports <= found


def test_the_tenants_key_reaches_its_buckets_only(running: Running) -> None:
    _, _, variables = running
    s3 = s3_client(variables)
    for bucket in ("data", "out"):
        s3.put_object(Bucket=bucket, Key="a", Body=b"1")
        assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"
    with pytest.raises(ClientError):
        s3.create_bucket(Bucket="other")
    s3.close()


def test_tokens(running: Running) -> None:
    state, stack, variables = running
    credentials = Credentials.load(state)
    assert credentials is not None
    with PoolClient(stack.pool_url, bearer(variables["KAAS_TOKEN"])) as client:
        client.ready()
        (device,) = client.status("devices")["devices"]
        assert device["kind"] == "emulated"
        with pytest.raises(CallerError, match="scope") as refused:
            client.acting_as(bearer(credentials.admin_token)).purge()
        assert refused.value.code == "scope_missing"
        with pytest.raises(CallerError) as refused:
            client.acting_as(bearer("guess")).status("devices")
        assert refused.value.code == "unauthenticated"


def test_a_second_start_is_refused(running: Running) -> None:
    state, stack, _ = running
    with pytest.raises(StackError, match=r"another `kaas up` holds .*, and its stack runs$"):
        local.start(state, "emulated")
    assert state.running() == stack


@pytest.mark.parametrize("part", ["store", "pool", "openwhisk"])
def test_what_dies_is_started_again(running: Running, part: str) -> None:
    state, _, variables = running
    before = state.running()
    assert before is not None
    s3 = s3_client(variables)
    s3.put_object(Bucket="data", Key="kept", Body=b"kept")
    os.kill(before.processes[part].pid, signal.SIGKILL)

    def is_back() -> bool:
        now = state.running()
        return now is not None and now.processes[part] != before.processes[part]

    wait_until(is_back, f"a new {part}")
    with PoolClient(before.pool_url, bearer(variables["KAAS_TOKEN"]), reconnect_s=60) as client:
        assert client.status("devices")
    assert s3.get_object(Bucket="data", Key="kept")["Body"].read() == b"kept"
    s3.close()


def test_a_store_that_is_ready_gives_what_it_has(tmp_path: Path) -> None:
    """Names are served before contents are: ready means both, for every bucket, start after start."""
    with running_s3_server(tmp_path / "store") as server, contextlib.closing(server.client("admin")) as client:
        for bucket in BUCKETS:
            client.put_object(Bucket=bucket, Key="kept", Body=b"kept")
        for _ in range(3):
            server.process.kill()
            server.process.start()
            for bucket in BUCKETS:
                assert client.get_object(Bucket=bucket, Key="kept")["Body"].read() == b"kept"


def test_a_store_leaves_nothing_in_tmp(tmp_path: Path) -> None:
    def sockets() -> set[str]:
        return {path.name for path in Path("/tmp").glob(f"seaweedfs-*{store.process.ports.s3}.sock")}

    with running_s3_server(tmp_path) as store:
        assert sockets()
    assert not sockets()


def test_a_killed_daemon_takes_all_along_and_blocks_nothing(tmp_path: Path) -> None:
    with running_stack(tmp_path / "state") as (state, first, _):
        credentials = (state.path / "credentials.json").read_bytes()
        os.kill(first.processes["daemon"].pid, signal.SIGKILL)
        for process in first.processes.values():
            wait_for_end(process)
        assert state.running() is None
        assert state.read_stack() == first, "it left its traces"
        assert local.stop(state) is False
        second = local.start(state, "emulated", dies_with_parent=True)
        assert state.running() == second
        assert (state.path / "credentials.json").read_bytes() == credentials
        assert local.stop(state) is True
        for process in second.processes.values():
            wait_for_end(process)
        assert state.read_stack() is None
        assert local.stop(state) is False


def test_a_leftover_is_told_by_its_start_time_not_its_number(tmp_path: Path) -> None:
    me = Process.of(os.getpid())
    assert me is not None
    assert me.is_alive
    assert not Process(me.pid, me.started - 1).is_alive
    child = subprocess.Popen([sys.executable, "-c", ""])
    waited = Process.of(child.pid)
    child.wait()
    assert waited is None or not waited.is_alive
    assert Process.of(child.pid) is None


def test_a_failed_start_shows_why(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    with pytest.raises(StackError) as failed:
        local.start(state, "cuda")
    assert "no NVIDIA driver here" in failed.value.message
    assert str(state.log("pool")) in failed.value.message
    assert state.holder() is None


def test_a_state_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match="cannot use the state directory"):
        local.start(StateDirectory(tmp_path / "file" / "state"), "emulated")


def test_a_record_of_another_version_is_no_record(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    for text in ("", "{}", json.dumps({"version": 2}), json.dumps({"version": 1, "processes": 3})):
        (tmp_path / "stack.json").write_text(text)
        assert state.read_stack() is None


@pytest.mark.parametrize("api_key", ["uuid:key", None])
def test_credentials_of_a_version_with_one_namespace_are_kept(tmp_path: Path, api_key: str | None) -> None:
    state = StateDirectory(tmp_path)
    pairs = {name: {"access_key": name, "secret_key": f"{name}-secret"} for name in ("tenant_key", "admin_key")}
    older: dict[str, object] = {"token": "token", "admin_token": "admin-token", **pairs}
    state.write_json("credentials.json", older if api_key is None else {**older, "api_key": api_key})
    made = Credentials.ensure(state, ["bob"])
    assert list(made.namespaces) == ["guest", "bob"]
    guest = made.namespaces["guest"]
    assert (guest.token, guest.store_key.secret_key) == ("token", "tenant_key-secret")
    assert (made.admin_token, made.admin_key.secret_key) == ("admin-token", "admin_key-secret")
    assert guest.api_key
    assert api_key in (None, guest.api_key)
    assert Credentials.load(state) == Credentials.ensure(state) == made


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "a--b", "A", "1a", "a_b", "a.b", "x" * 41, "admin", "operator", "a\n"]
)
def test_what_is_no_namespace(name: str) -> None:
    assert not is_namespace(name)
    assert all(is_namespace(one) for one in ("guest", "a", "x" * 40, "team-2", "a-data"))
