"""The supervisor with the pool's real processes: whoever is killed comes back, and nothing outlives it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from front_process import SAXPY, wait_until
from pool_process import PoolProcess, descendants

from kaas.client import digest_of

ARGUMENTS = {"x": [1, 2, 3], "y": [10, 10, 10], "z": "inline", "a": 2}

#: Compiles for longer than any of these tests wait, within what a compiler may use.
SLOW = SAXPY.replace("name: saxpy", "name: slow").replace(
    "source: |",
    """source: |
      template <typename A, typename B> struct pair {};
      template <int D, typename T> struct bomb { bomb<D - 1, pair<T, int>> a; bomb<D - 1, pair<int, T>> b; };
      template <typename T> struct bomb<0, T> {};
      bomb<30, int> boom;""",
)


@pytest.fixture
def pool_here(tmp_path: Path) -> Iterator[PoolProcess]:
    """A pool of the test's own, without a store."""
    with PoolProcess(tmp_path / "state", {}) as running:
        yield running


def saxpy(pool: PoolProcess) -> dict[str, Any]:
    """One invocation that needs every process but the mover's stores; its statistics."""
    client = pool.client()
    reply = client.invoke(client.upload(SAXPY.encode()), ARGUMENTS)
    assert reply.body["state"] == "done", reply.body
    assert reply.body["result"]["z"] == [12, 14, 16]
    stats: dict[str, Any] = reply.body["result"]["kaas"]["stats"]
    return stats


def pids(pool: PoolProcess) -> dict[str, int]:
    """The living processes by name, from the pid files."""
    return {"pool": int((pool.state / "run" / "pool.pid").read_text()), **pool.processes()}


def commands(processes: list[int]) -> set[str]:
    """The names of programs."""
    names = set()
    for pid in processes:
        path = Path(f"/proc/{pid}/comm")
        names.add(path.read_text().strip() if path.exists() else "gone")
    return names


def test_a_pool_says_what_it_is(pool_here: PoolProcess) -> None:
    wait_until(lambda: "listening on" in pool_here.log.read_text())
    line = next(line for line in pool_here.log.read_text().splitlines() if "listening on" in line and "device" in line)
    assert line.startswith("kaas-pool: device emulated (")
    assert "native code, not a GPU" in line
    assert "sandbox: " in line
    assert line.endswith(f"http://127.0.0.1:{pool_here.port}")
    assert (pool_here.state / "run").stat().st_mode & 0o777 == 0o700
    assert saxpy(pool_here)["misses"] == 0


def test_a_killed_front_comes_back_on_its_port_and_finds_the_executors(pool_here: PoolProcess) -> None:
    saxpy(pool_here)
    (executor,) = pool_here.executor_pids()
    port, front = pool_here.port, pids(pool_here)["front"]
    os.kill(front, signal.SIGKILL)
    wait_until(lambda: pids(pool_here).get("front", front) != front)
    pool_here.wait_until_ready()
    assert pool_here.port == port
    wait_until(lambda: pool_here.executor_pids() == [executor])
    saxpy(pool_here)


@pytest.mark.parametrize("role", ["mover", "executor"])
def test_the_next_invocation_works_after_a_kill(pool_here: PoolProcess, role: str) -> None:
    saxpy(pool_here)
    (name, pid) = next((name, pid) for name, pid in pids(pool_here).items() if name.startswith(role))
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pids(pool_here).get(name) != pid)
    if role == "mover":
        wait_until(lambda: "mover" in pids(pool_here))
        pool_here.wait_until_ready()
    saxpy(pool_here)


class Slow(PoolProcess):
    """Used as soon as it listens, long before its first device serves."""

    def wait_until_ready(self, path: str = "/healthz/live") -> None:
        super().wait_until_ready(path)


def test_what_comes_before_the_first_device_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAAS_EMULATOR_DELAYS", "context:for=3s")
    with Slow(tmp_path / "state", {}) as pool:
        assert pool.client(None).get("/healthz/ready").status == 503
        saxpy(pool)


def test_a_killed_compiler_is_replaced(pool_here: PoolProcess) -> None:
    client = pool_here.client()
    replies: list[Any] = []
    upload = threading.Thread(target=lambda: replies.append(client.upload(SAXPY.encode())))

    def compiler() -> int | None:
        return next((pid for name, pid in pids(pool_here).items() if name.startswith("compiler")), None)

    upload.start()
    wait_until(lambda: compiler() or replies)
    first = compiler()
    if first is not None:
        os.kill(first, signal.SIGKILL)
    upload.join()
    assert client.invoke(replies[0], ARGUMENTS).body["state"] == "done"
    wait_until(lambda: compiler() is None)
    assert not list((pool_here.state / "run").glob("compiler-*"))


def test_nothing_outlives_a_killed_supervisor(pool_here: PoolProcess) -> None:
    saxpy(pool_here)
    assert pool_here.process is not None
    slow = threading.Thread(target=lambda: _ignore_disconnect(pool_here))
    slow.start()
    family: list[int] = []
    wanted = {"kaas-front", "kaas-mover", "kaas-executor", "kaas-compiler", "cc1plus"}

    def is_compiling() -> bool:
        assert pool_here.process is not None
        family[:] = descendants(pool_here.process.pid)
        return wanted <= commands(family)

    wait_until(is_compiling)
    with contextlib.ExitStack() as stack:
        watches = []
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                watches.append(os.pidfd_open(pid))
                stack.callback(os.close, watches[-1])
        pool_here.process.kill()
        waiting = set(watches)
        while waiting:
            ended, _, _ = select.select(waiting, [], [], 30)
            assert ended, "a process outlives the supervisor"
            waiting -= set(ended)
    slow.join()
    # Whatever it left behind is no obstacle.
    with PoolProcess(pool_here.state, {}) as again:
        saxpy(again)


def _ignore_disconnect(pool: PoolProcess) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        pool.client().request("PUT", f"/v1/bundles/{digest_of(SLOW.encode())}", SLOW.encode())


def test_sigterm_ends_everything_and_leaves_nothing(pool_here: PoolProcess) -> None:
    saxpy(pool_here)
    assert pool_here.process is not None
    family = descendants(pool_here.process.pid)
    assert pool_here.stop() == 0
    assert not [pid for pid in family if Path(f"/proc/{pid}").exists()]
    assert set(pids(pool_here)) == {"pool"}
    assert not list((pool_here.state / "run").glob("executor-*"))


def run_pool(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kaas_pool", "--state-dir", str(state), "--device", "emulated", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_a_second_pool_on_one_directory_refuses(pool_here: PoolProcess) -> None:
    assert pool_here.process is not None
    second = run_pool(pool_here.state)
    assert second.returncode == 1
    assert f"a pool runs on {pool_here.state} already (process {pool_here.process.pid})" in second.stderr
    saxpy(pool_here)


def test_unusable_settings_end_the_pool_instead_of_restarting_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "tokens.json").write_text("no json")
    (state / "tokens.json").chmod(0o600)
    ended = run_pool(state, "--listen", "127.0.0.1:0")
    assert ended.returncode == 2
    assert "front cannot start, so the pool does not" in ended.stdout
    assert "mover ended" in ended.stdout


def test_a_mover_that_somebody_else_runs(tmp_path: Path) -> None:
    socket = tmp_path / "mover" / "mover.sock"
    mover = subprocess.Popen(
        [sys.executable, "-m", "kaas_pool.mover", "--socket", str(socket)], stderr=subprocess.DEVNULL
    )
    try:
        wait_until(socket.exists)
        with PoolProcess(tmp_path / "state", {}, "--mover-socket", str(socket)) as pool:
            assert "mover" not in pids(pool)
            saxpy(pool)
        assert mover.poll() is None, "it is not the pool's to stop"
    finally:
        mover.terminate()
        mover.wait()


STAND_IN = """
import json, os, signal
from kaas_pool.frames import Link
link = Link.from_descriptor(3)
link.send({"type": "spawn", "id": 7, "role": "miner"})
link.send({"type": "kill", "child": "executor-99", "reason": "none such"})
link.send({"type": "spawn", "id": 8, "role": "executor", "device": "0", "domain": "a"})
print(json.dumps([link.receive()[0], link.receive()[0]]), flush=True)
link.send({"type": "kill", "child": "executor-1", "reason": "enough"})
print(json.dumps([link.receive()[0]]), flush=True)
os.kill(os.getppid(), signal.SIGTERM)
"""

LAUNCHER = """
import sys
from kaas_pool.__main__ import main
from kaas_pool.spawn import Command, environment
from kaas_pool.supervisor import commands
folder = sys.argv[1]
commands.front = lambda config, port: Command("stand_in", (), environment({"PYTHONPATH": folder}))
sys.argv = ["kaas_pool", *sys.argv[2:]]
sys.exit(main())
"""


def test_the_control_link_answers_a_front(tmp_path: Path) -> None:
    """The frames themselves, with a script as the front."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    command = [sys.executable, "-c", LAUNCHER, str(tmp_path), "--state-dir", str(tmp_path / "state")]
    ended = subprocess.run([*command, "--device", "emulated"], capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    first, second = (json.loads(line) for line in ended.stdout.splitlines() if line.startswith("["))
    refused, spawned = first
    assert (refused["type"], refused["id"], refused["error"]["code"]) == ("error", 7, "internal")
    assert (spawned["type"], spawned["id"], spawned["child"]) == ("spawned", 8, "executor-1")
    assert second == [{"v": 1, "type": "exited", "child": "executor-1", "status": -signal.SIGKILL}]
