"""Stacks that start, stop and die at the same moment: one at a time in a directory, and nobody else comes to harm."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kaas_command import clean_environment, command, kaas
from local_stack import running_stack, wait_for_end, wait_until
from pool_process import descendants

from kaas.client import PoolClient, bearer
from kaas.errors import CallerError
from kaas_local import daemon
from kaas_local import stack as local
from kaas_local.credentials import Credentials
from kaas_local.state import Process, Stack, StackError, StateDirectory


@pytest.fixture
def innocent() -> Iterator[Process]:
    """A process that is nobody's business."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    found = Process.of(child.pid)
    assert found is not None
    yield found
    assert found.is_alive
    assert child.poll() is None
    child.communicate(b"\n")


def start_all(directories: list[StateDirectory]) -> list[Stack | StackError]:
    """Start at the same moment."""
    together = threading.Barrier(len(directories))

    def start(state: StateDirectory) -> Stack | StackError:
        together.wait()
        try:
            return local.start(state, "emulated")
        except StackError as error:
            return error

    with ThreadPoolExecutor(len(directories)) as threads:
        return list(threads.map(start, directories))


def assert_works(state: StateDirectory, stack: Stack) -> None:
    """It is what the directory says, and takes the directory's own token and nobody else's."""
    credentials = Credentials.load(state)
    assert credentials is not None
    assert state.running() == stack
    with PoolClient(stack.pool_url, bearer(credentials.namespaces["guest"].token)) as client:
        client.ready()
        assert client.status("devices")
        with pytest.raises(CallerError) as refused:
            client.acting_as(bearer("another's")).status("devices")
    assert refused.value.code == "unauthenticated"


def test_of_several_in_one_directory_one_wins_and_the_others_say_who(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    try:
        outcomes = start_all([state] * 3)
        (won,) = [outcome for outcome in outcomes if isinstance(outcome, Stack)]
        for lost in outcomes:
            if isinstance(lost, StackError):
                assert f"another `kaas up` holds {state.path} (process {won.processes['daemon'].pid})" in lost.message
                assert "KAAS_STATE_DIR=DIR kaas up" in (lost.hint or "")
        assert_works(state, won)
    finally:
        assert local.stop(state)


def test_in_directories_of_their_own_all_work(tmp_path: Path) -> None:
    states = [StateDirectory(tmp_path / f"state-{number}") for number in range(3)]
    try:
        stacks = start_all(states)
        urls = set()
        for state, stack in zip(states, stacks, strict=True):
            assert isinstance(stack, Stack), stack
            assert_works(state, stack)
            urls |= {stack.pool_url, stack.store_url}
        assert len(urls) == 6
    finally:
        for state in states:
            local.stop(state)


def test_two_commands_at_once(tmp_path: Path) -> None:
    environment = {"KAAS_STATE_DIR": str(tmp_path / "state")}
    try:
        ups = [
            subprocess.Popen(
                command("up"),
                env=clean_environment(environment),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        outcomes = [(*up.communicate(timeout=110), up.returncode) for up in ups]
        assert sorted(status for *_, status in outcomes) in ([0, 0], [0, 3])
        for out, err, status in outcomes:
            # The slower one may have come when the faster had begun, or when it had done.
            if status == 0:
                assert "GPU pool      http://127.0.0.1:" in out
            else:
                assert "error: another `kaas up` holds" in err
                assert "hint:  `kaas status` tells when it is ready" in err
        assert kaas("status", environment=environment).returncode == 0
    finally:
        kaas("down", environment=environment)


def test_down_while_it_starts(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    steps: list[str] = []
    stopped: list[bool] = []

    def on_step(step: str) -> None:
        steps.append(step)
        if not stopped:
            stopped.append(local.stop(state))

    with pytest.raises(StackError, match="was stopped while it started") as failed:
        local.start(state, "emulated", on_step=on_step)
    assert failed.value.hint == "`kaas up` starts it again"
    assert stopped == [True]
    assert state.holder() is None
    assert state.read_stack() is None
    with running_stack(state.path) as (_, stack, _):
        assert_works(state, stack)


def test_up_after_everything_was_killed(tmp_path: Path) -> None:
    with running_stack(tmp_path / "state") as (state, first, _):
        daemon_pid = first.processes["daemon"].pid
        everything = [Process.of(pid) for pid in (daemon_pid, *descendants(daemon_pid))]
        assert len(everything) >= 5
        for process in everything:
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
        # At once: what is dying may hold its ports and locks yet.
        wait_until(lambda: state.holder() is None, "the lock's release")
        second = local.start(state, "emulated", dies_with_parent=True)
        assert second.processes["daemon"] != first.processes["daemon"]
        assert_works(state, second)
        for process in everything:
            if process is not None:
                wait_for_end(process)


def test_traces_that_name_another_process_harm_nobody(tmp_path: Path, innocent: Process) -> None:
    state = StateDirectory(tmp_path / "state")
    state.make()
    before = Process(innocent.pid, innocent.started - 1)
    names = ("daemon", "pool", "store")
    stale = Stack("emulated", "http://127.0.0.1:1", "http://127.0.0.1:2", "", dict.fromkeys(names, before))
    state.write_json("stack.json", stale.to_json())
    (state.path / "lock").write_text(f"{before.pid} {before.started}\n")
    (state.path / "pool" / "run").mkdir(parents=True)
    for name in ("pool", "front", "mover", "executor-1"):
        (state.path / "pool" / "run" / f"{name}.pid").write_text(f"{before.pid}\n")
    announced = {"host": "127.0.0.1", "port": 1, "pid": before.pid}
    (state.path / "pool" / "run" / "front.json").write_text(json.dumps(announced))
    assert state.running() is None
    assert local.stop(state) is False
    with running_stack(state.path) as (_, stack, _):
        assert_works(state, stack)
    assert innocent.is_alive


def test_a_daemon_that_has_not_written_its_name_yet_is_not_taken_for_an_earlier_one(
    tmp_path: Path, innocent: Process
) -> None:
    state = StateDirectory(tmp_path)
    lock = state.take_lock()
    assert lock is not None
    for text in (f"{innocent.pid} {innocent.started - 1}\n", f"{innocent.pid}\n", "", "?"):
        (tmp_path / "lock").write_text(text)
        assert state.holder() is None
        assert local.stop(state) is False
    os.close(lock)


def test_whoever_looks_does_not_keep_a_daemon_out(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    looks = "from pathlib import Path; from kaas_local.state import StateDirectory; state = StateDirectory(Path('.'))\n"
    looks += "while True: state.holder()"
    lock = state.take_lock()
    assert lock is not None
    os.close(lock)
    looking = [subprocess.Popen([sys.executable, "-c", looks], cwd=tmp_path) for _ in range(2)]
    try:
        for _ in range(300):
            lock = state.take_lock()
            assert lock is not None
            os.close(lock)
        assert [one.poll() for one in looking] == [None, None]
    finally:
        for one in looking:
            one.kill()
            one.wait()


def test_a_leftover_has_ended_before_the_next_begins(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    # What it holds takes the kernel a while to free.
    program = "held = bytearray(300 << 20)\nprint(flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        left = Process.of(child.pid)
        assert left is not None
        state.write_json("stack.json", Stack("emulated", "", "", "", {"pool": left}).to_json())
        daemon.end_leftovers(state)
        assert not left.is_alive
    assert state.read_stack() is None
