"""What a front does for itself: devices that do not serve, files that nobody has, a disk that is full."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from front_process import SAXPY, FrontProcess, HttpClient, wait_until
from test_front_invocations import VALUES, Gate

from kaas_pool.frames import Frame, Link


@pytest.fixture
def front(tmp_path: Path) -> Iterator[FrontProcess]:
    """A front with two devices."""
    with FrontProcess(tmp_path / "state", "--devices", "0,1") as running:
        wait_until(lambda: serving(running.client()) == ["0", "1"])
        yield running


def serving(client: HttpClient) -> list[str]:
    """The devices that serve."""
    return [entry["device"] for entry in client.get("/v1/devices").body["devices"] if entry["serves"]]


class Stillborn:
    """Lets no executor start on some devices: it ends before it greets, or the supervisor refuses it."""

    def __init__(self, front: FrontProcess, *devices: str, way: str = "ends") -> None:
        self.asked: list[Frame] = []
        self._front, self._devices, self._way = front, devices, way
        front.supervisor.spawn_script = self._spawn

    def _spawn(self, world: Any, frame: Frame) -> bool:
        if frame["role"] != "executor" or frame["device"] not in self._devices:
            return False
        self.asked.append(frame)
        if self._way == "refused":
            error = {"code": "sandbox_unavailable", "message": "scripted"}
            world.send({"type": "error", "id": frame["id"], "error": error})
            return True
        theirs, ours = Link.pair()
        child = f"stillborn-{len(self.asked)}"
        world.send({"type": "spawned", "id": frame["id"], "child": child, "pid": os.getpid()}, (theirs.fileno(),))
        theirs.close()
        ours.close()
        world.send({"type": "exited", "child": child, "status": 1})
        return True

    def end(self) -> None:
        """Let them start again."""
        self._front.supervisor.spawn_script = lambda _, __: False


def test_a_device_whose_executors_do_not_start_is_taken_out_of_service_and_comes_back(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    broken = Stillborn(front, "0")
    pending = client.invoking(bundle, VALUES, id="moved")
    wait_until(lambda: serving(client) == ["1"])
    entry = client.get("/v1/devices").body["devices"][0]
    assert "before it served" in entry["problem"]
    assert client.get("/healthz/ready").status == 200, "the other serves"
    assert pending.reply().body["state"] == "done"
    story = " | ".join(line["event"] for line in client.get("/v1/invocations/moved").body["story"])
    assert "executor_lost" in story
    assert [executor.device for executor in front.supervisor.tenants() if executor.runs or executor.bundles] == ["1"]
    broken.end()
    wait_until(lambda: serving(client) == ["0", "1"])
    assert len(broken.asked) >= 2


@pytest.mark.parametrize("way", ["ends", "refused"])
def test_with_no_device_left_the_pool_is_not_ready_and_work_waits(front: FrontProcess, way: str) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    broken = Stillborn(front, "0", "1", way=way)
    wait_until(lambda: client.invoke(bundle, VALUES, budget_ms=300).body["state"] == "failed" and not serving(client))
    ready = client.get("/healthz/ready")
    assert ready.status == 503
    assert ready.body["reason"].startswith("no device serves: 0: ")
    late = client.invoke(bundle, VALUES, budget_ms=100)
    assert (late.body["state"], late.code) == ("failed", "device_unavailable"), late
    waiting = client.invoking(bundle, VALUES)
    broken.end()
    assert waiting.reply().body["state"] == "done"
    wait_until(lambda: serving(client) == ["0", "1"])
    assert client.get("/healthz/ready").status == 200


def test_one_executor_that_does_not_start_is_forgiven(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    failed: list[Frame] = []

    def refuse_once(world: Any, frame: Frame) -> bool:
        if frame["role"] != "executor" or failed:
            return False
        failed.append(frame)
        error = {"code": "device_unavailable", "message": "scripted"}
        world.send({"type": "error", "id": frame["id"], "error": error})
        return True

    front.supervisor.spawn_script = refuse_once
    reply = client.invoke(bundle, VALUES)
    assert reply.body["result"]["kaas"]["stats"]["attempts"] == 2
    assert serving(client) == ["0", "1"]


def test_files_that_no_tenant_has_are_deleted_at_the_start(front: FrontProcess) -> None:
    client = front.client()
    kept = client.upload(SAXPY).removeprefix("sha256:")
    folder = front.state / "bundles"
    (folder / ("0" * 64)).write_bytes(b"left by a front that died")
    (folder / ".partial").write_bytes(b"written only half")
    (folder / ".recent").write_bytes(b"perhaps being written")
    old = time.time() - 7200
    os.utime(folder / ".partial", (old, old))
    front.kill()
    front.start()
    wait_until(lambda: {path.name for path in folder.iterdir()} == {kept, ".recent"})
    assert front.client().invoke(f"sha256:{kept}", VALUES).body["state"] == "done"


def test_outcomes_of_more_than_an_hour_are_deleted_at_the_start(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    gate = Gate(front)
    for name in ("old", "new"):
        assert client.invoke(bundle, VALUES, id=name, wait_ms=0).status == 202
    gate.wait_for(2)
    gate.open()
    with contextlib.closing(sqlite3.connect(front.state / "journal.sqlite")) as journal:

        def kept(condition: str) -> list[str]:
            rows = journal.execute(f"SELECT id FROM invocations WHERE {condition} ORDER BY id")
            return [name for (name,) in rows]

        wait_until(lambda: kept("ended IS NOT NULL") == ["new", "old"])
        front.kill()
        with journal:
            journal.execute("UPDATE invocations SET ended = ended - 3700 WHERE id = 'old'")
        front.start()
        wait_until(lambda: kept("TRUE") == ["new"])


def test_a_bundle_that_cannot_be_written_down_is_said_to_be_the_pools_trouble(front: FrontProcess) -> None:
    folder = front.state / "bundles"
    folder.rmdir()
    folder.write_bytes(b"in its place")
    data = SAXPY.encode()
    path = f"/v1/bundles/sha256:{hashlib.sha256(data).hexdigest()}"
    reply = front.client().request("PUT", path, data)
    assert (reply.status, reply.code) == (500, "internal")
    assert "cannot keep the bundle" in reply.body["error"]["message"]
    assert "state directory" in reply.body["error"]["hint"]
    folder.unlink()
    folder.mkdir()
    assert front.client().request("PUT", path, data).status == 200


def test_a_damaged_journal_is_refused_by_name_and_left_as_it_is(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    gate = Gate(front)
    assert client.invoke(bundle, VALUES, id="kept", wait_ms=0).status == 202
    gate.open()
    wait_until(lambda: client.get("/v1/invocations/kept").body["state"] == "done")
    before = client.get("/v1/invocations/kept").body
    with contextlib.closing(sqlite3.connect(front.state / "journal.sqlite")) as journal:
        wait_until(lambda: journal.execute("SELECT ended FROM invocations").fetchone()[0] is not None)
        front.kill()  # Who closes the file last brings everything from its log into it.
    path = front.state / "journal.sqlite"
    whole = path.read_bytes()
    for damaged in (whole[:-4096], bytes(4096) + whole[4096:]):
        path.write_bytes(damaged)
        ended = subprocess.run(front.command(3), capture_output=True, text=True, timeout=30, check=False)
        assert ended.returncode == 2, "it does not help to start again"
        assert f"cannot read its journal {path}" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert path.read_bytes() == damaged
    path.write_bytes(whole)
    front.start()
    client = front.client()
    assert client.get("/v1/invocations/kept").body == before
    assert client.invoke(bundle, VALUES).status == 200, "the bundle is there still"
