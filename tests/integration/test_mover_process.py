"""The mover as a process: who may talk to it, what survives whom, signals."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mover_process import Front, MoverProcess, contents, error_code, fill
from seaweed import S3Client, S3Server
from tcp_proxy import TcpProxy

from kaas_pool.frames import LinkClosed


@pytest.fixture
def mover(s3_server: S3Server, tmp_path: Path) -> Iterator[MoverProcess]:
    with MoverProcess(tmp_path, {"alice": s3_server.rights("alice")}) as process:
        yield process


def wait_for_end(front: Front) -> None:
    with pytest.raises(LinkClosed):
        while True:
            front.link.receive()


def test_only_this_user_reaches_the_socket(mover: MoverProcess) -> None:
    assert stat.S_IMODE(mover.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(mover.socket.parent.stat().st_mode) == 0o700


def test_its_memory_is_hidden(mover: MoverProcess) -> None:
    # An undumpable process's files in /proc belong to root: no core dump, no ptrace by the same user.
    pid = mover.process.pid
    assert Path(f"/proc/{pid}/environ").stat().st_uid == 0
    if os.geteuid():
        with pytest.raises(PermissionError):
            Path(f"/proc/{pid}/environ").read_bytes()


@pytest.mark.parametrize("first", [{"type": "status", "id": 1}, {"type": "nonsense"}, {"type": "hello"}])
def test_who_does_not_begin_with_hello_is_shut_out(mover: MoverProcess, first: dict[str, object]) -> None:
    with mover.front() as front:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect(os.fspath(mover.socket))
        front.link.sock, mine = sock, front.link.sock
        front.link.send(first)
        wait_for_end(front)
        sock.close()
        front.link.sock = mine
        assert front.status()["type"] == "status"


def test_a_malformed_request_is_answered_and_the_next_one_served(mover: MoverProcess) -> None:
    with mover.front() as front:
        assert error_code(front.call("alloc", domain="alice", size="many")) == "internal"
        assert error_code(front.call("load", tenant="alice", domain="alice", object={})) == "internal"
        assert error_code(front.call("store", tenant="alice")) == "internal"
        assert front.status()["type"] == "status"


def test_the_end_of_a_connection_ends_its_leases(mover: MoverProcess) -> None:
    with mover.front() as staying:
        with mover.front() as front:
            _, descriptor = front.alloc("alice", 1 << 20)
            os.close(descriptor)
            assert staying.status()["used_bytes"] == 1 << 20
        while staying.status()["used_bytes"]:
            pass


def test_a_new_epoch_ends_the_old_one(mover: MoverProcess) -> None:
    with mover.front("1") as old:
        _, descriptor = old.alloc("alice", 4096)
        os.close(descriptor)
        with mover.front("2") as new:
            assert new.hello["epoch"] == "2" and new.hello["boot"] == old.hello["boot"]
            assert new.status()["used_bytes"] == 0
            wait_for_end(old)


def test_after_a_kill_a_new_mover_serves(mover: MoverProcess, s3: S3Client) -> None:
    s3.put_object(Bucket="alice", Key="survives", Body=b"survives")
    with mover.front() as front:
        found = front.stat("alice", "alice", "survives")
        frame, descriptors = front.answer(front.ask_load("alice", "alice", "survives", found))
        mover.process.kill()
        wait_for_end(front)
        assert contents(frame, descriptors) == b"survives"  # the memory is whoever's has it
    mover.restart()
    with mover.front() as again:
        assert again.hello["boot"] != front.hello["boot"]
        renewed, descriptors = again.answer(again.ask_load("alice", "alice", "survives", found))
        assert contents(renewed, descriptors) == b"survives" and renewed["segment"] != frame["segment"]


def test_sigterm_lets_a_put_end(s3_server: S3Server, s3: S3Client, tmp_path: Path) -> None:
    with TcpProxy(s3_server.endpoint) as proxy:
        tenants = {"alice": s3_server.rights("alice", proxy.endpoint)}
        with MoverProcess(tmp_path, tenants) as mover, mover.front() as front:
            segment, descriptor = front.alloc("alice", 3)
            fill(descriptor, b"end")
            proxy.gate.clear()
            store = front.ask_store("alice", segment, 3, "alice", "last")
            proxy.wait_for("PUT")
            mover.process.send_signal(signal.SIGTERM)
            while error_code(front.call("alloc", domain="alice", size=1 << 62)) != "pool_draining":
                pass
            proxy.gate.set()
            assert front.answer(store)[0]["type"] == "stored"
            assert mover.process.wait(30) == 0
        assert not mover.socket.exists()
    assert s3.get_object(Bucket="alice", Key="last")["Body"].read() == b"end"


def test_sighup_reads_the_rights_again(mover: MoverProcess, s3_server: S3Server, s3: S3Client) -> None:
    s3.put_object(Bucket="bob", Key="new", Body=b"new")
    with mover.front() as front:
        assert error_code(front.stat("bob", "bob", "new")) == "store_not_configured"
        mover.stores.write_text("{")
        mover.process.send_signal(signal.SIGHUP)
        mover.wait_for_log("keeping the old rights")
        mover.write_stores({"bob": s3_server.rights("bob")})
        mover.process.send_signal(signal.SIGHUP)
        mover.wait_for_log("again")
        assert front.stat("bob", "bob", "new")["size"] == 3
        assert error_code(front.stat("alice", "alice", "k")) == "store_not_configured"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kaas_pool.mover", *arguments], capture_output=True, text=True, timeout=60
    )


def test_a_second_mover_does_not_take_the_socket(mover: MoverProcess) -> None:
    ended = run(f"--socket={mover.socket}", f"--stores={mover.stores}")
    assert ended.returncode == 2 and "another mover" in ended.stderr
    with mover.front() as front:
        assert front.status()["type"] == "status"


def test_it_does_not_start_with_a_directory_open_to_others(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    ended = run(f"--socket={tmp_path}/open/s", f"--allow-file-root={tmp_path}")
    assert ended.returncode == 2 and "chmod 700" in ended.stderr


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        ("{", 0o600, "not JSON"),
        ('{"tenants": []}', 0o600, "tenants"),
        ('{"tenants": {}}', 0o644, "chmod 600"),
        ('{"tenants": {"a": {"endpoint": "http://x", "access_key": "k"}}}', 0o600, "lacks 'secret_key'"),
        ('{"tenants": {"a": {"endpoint": "ftp://x", "access_key": "k", "secret_key": "hush"}}}', 0o600, "endpoint"),
        ('{"tenants": {"a": {"endpoint": "http://x:y", "access_key": "k", "secret_key": "hush"}}}', 0o600, "endpoint"),
        ('{"tenants": {"a": {"url": "http://x", "secret_key": "hush"}}}', 0o600, "unknown key 'url'"),
        (
            '{"tenants": {"a": {"endpoint": "https://x", "access_key": "k", "secret_key": "hush", "ca_bundle": "/0"}}}',
            0o600,
            "/0 is not a file",
        ),
    ],
)
def test_it_does_not_start_with_a_broken_stores_file(tmp_path: Path, text: str, mode: int, says: str) -> None:
    stores = tmp_path / "stores.json"
    stores.write_text(text)
    stores.chmod(mode)
    ended = run(f"--socket={tmp_path}/run/s", f"--stores={stores}")
    assert ended.returncode == 2 and says in ended.stderr and "hush" not in ended.stderr
