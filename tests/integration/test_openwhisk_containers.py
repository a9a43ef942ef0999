"""Which processes the local OpenWhisk keeps: one per revision, warm, few, in turn."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import signal
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from openwhisk_actions import Machine, call, executable, zipped

from kaas_local.openwhisk.containers import Answer, Executable
from kaas_local.openwhisk.containers.answers import INTERRUPTED
from kaas_local.openwhisk.containers.model import DEVELOPER_ERROR, INTERNAL_ERROR, SUCCESS

AS_LONG = "for as long as a call may wait"

#: Returns its process's id when a file is there; says that it waits by making another, with the id.
WAIT = """\
import os, time
def main(args):
    if 'gate' in args:
        with open(args['gate'] + '-starts', 'w') as file:
            file.write(str(os.getpid()))
        os.rename(args['gate'] + '-starts', args['gate'] + '-waits')
        while not os.path.exists(args['gate']):
            time.sleep(0.01)
    return {'pid': os.getpid(), 'parent': os.getppid()}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "actions"


@pytest.fixture
def machine(directory: Path) -> Iterator[Machine]:
    with Machine(directory) as running:
        yield running


def pid_of(answer: Answer) -> int:
    assert answer.status == SUCCESS, answer
    pid: int = answer.result["pid"]
    return pid


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def waits(gate: Path) -> bool:
    return Path(f"{gate}-waits").exists()


def begin(machine: Machine, action: Executable, gate: Path) -> asyncio.Task[Answer]:
    """A call that comes to its end when the gate is there."""
    return asyncio.create_task(machine.containers.run(action, call({"gate": str(gate)})))


async def until_waits(gate: Path) -> None:
    while not waits(gate):
        await asyncio.sleep(0.01)  # The system is who knows, and can only be asked.


def test_a_process_stays_warm(machine: Machine) -> None:
    action = executable(WAIT)
    first, second = machine.run(action), machine.run(action)
    assert pid_of(first) == pid_of(second)
    assert first.init_ms is not None
    assert second.init_ms is None
    assert first.end_ms - first.start_ms >= first.init_ms, "a duration includes the initialisation"


def test_each_revision_has_its_own(machine: Machine) -> None:
    action = executable(WAIT)
    changed = replace(action, revision="2", version="0.0.2", code=WAIT + "\n")
    assert pid_of(machine.run(action)) != pid_of(machine.run(changed))


def test_stop_ends_what_is_idle(machine: Machine) -> None:
    action, other = executable(WAIT), executable(WAIT, name="pkg/other")
    pids = [pid_of(machine.run(one)) for one in (action, other)]
    machine.wait(machine.containers.stop(action.namespace, action.name))
    assert [is_alive(pid) for pid in pids] == [False, True]
    machine.wait(machine.containers.stop("somebody", other.name))
    assert is_alive(pids[1])
    machine.wait(machine.containers.stop(other.namespace, other.name))
    assert not is_alive(pids[1])
    assert machine.run(action).init_ms is not None


def test_stop_lets_go_of_the_code(machine: Machine) -> None:
    action = executable(WAIT)
    kept = weakref.ref(action)
    machine.run(action)
    machine.wait(machine.containers.stop(action.namespace, action.name))
    del action
    gc.collect()
    assert kept() is None


def test_stop_lets_what_runs_and_what_waits_come_to_its_end(machine: Machine, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    action = executable(WAIT)

    async def go() -> list[Answer]:
        running = [begin(machine, action, gate) for _ in range(2)]
        await until_waits(gate)
        await machine.containers.stop(action.namespace, action.name)
        gate.touch()
        return list(await asyncio.gather(*running))

    pids = {pid_of(answer) for answer in machine.wait(go())}
    assert len(pids) == 1
    machine.until(lambda: not any(map(is_alive, pids)), "the end of the stopped action's process")


def test_one_call_at_a_time_in_the_order_of_coming(machine: Machine, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    action = executable(WAIT)

    async def go() -> list[Answer]:
        running = [begin(machine, action, gate) for _ in range(5)]
        await until_waits(gate)
        gate.touch()
        return list(await asyncio.gather(*running))

    answers = machine.wait(go())
    assert len({pid_of(answer) for answer in answers}) == 1
    assert [answer.init_ms is not None for answer in answers] == [True, False, False, False, False]
    for before, after in itertools.pairwise(answers):
        assert after.start_ms >= before.end_ms


def test_the_time_limit_is_that_of_each_run_and_not_of_the_wait_for_it(machine: Machine) -> None:
    action = executable("import time\ndef main(args):\n    time.sleep(0.2)\n    return {}\n", timeout_ms=2000)

    async def go() -> list[Answer]:
        return list(await asyncio.gather(*(machine.containers.run(action, call()) for _ in range(20))))

    answers = machine.wait(go())
    assert [(answer.status, answer.timed_out) for answer in answers] == [(SUCCESS, False)] * 20
    assert answers[-1].start_ms - answers[0].start_ms > action.timeout_ms


def test_a_call_waits_until_its_deadline_and_no_longer(machine: Machine, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    action = executable(WAIT)

    async def go() -> tuple[Answer, Answer]:
        running = begin(machine, action, gate)
        await until_waits(gate)
        late = await machine.containers.run(action, call(within_s=0.3))
        gate.touch()
        return await running, late

    running, late = machine.wait(go())
    assert running.status == SUCCESS
    assert (late.status, late.timed_out, late.init_ms) == (INTERNAL_ERROR, False, None)
    assert late.result == {
        "error": "The action was not started: its process was busy with other calls for as long as a call may wait."
    }
    assert machine.run(action).init_ms is None


def test_calls_of_different_actions_overlap(machine: Machine, tmp_path: Path) -> None:
    actions = [executable(WAIT), executable(WAIT)]
    gates = [tmp_path / "one", tmp_path / "two"]

    async def go() -> list[Answer]:
        running = [begin(machine, action, gate) for action, gate in zip(actions, gates, strict=True)]
        for gate in gates:
            await until_waits(gate)
        for gate in gates:
            gate.touch()
        return list(await asyncio.gather(*running))

    assert len({pid_of(answer) for answer in machine.wait(go())}) == 2


def test_the_longest_idle_process_makes_room(directory: Path) -> None:
    actions = [executable(WAIT) for _ in range(3)]
    with Machine(directory, max_processes=2) as machine:
        pids = [pid_of(machine.run(action)) for action in actions[:2]]
        assert pid_of(machine.run(actions[0])) == pids[0]
        third = pid_of(machine.run(actions[2]))
        assert [is_alive(pid) for pid in (*pids, third)] == [True, False, True]


def test_without_room_a_call_waits_for_what_runs(directory: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    actions = [executable(WAIT), executable(WAIT)]
    with Machine(directory, max_processes=1) as machine:

        async def go() -> list[Answer]:
            busy = [begin(machine, actions[0], gate) for _ in "ab"]
            await until_waits(gate)
            late = await machine.containers.run(actions[1], call(within_s=0.3))
            other = asyncio.create_task(machine.containers.run(actions[1], call()))
            await asyncio.sleep(0)
            gate.touch()
            return [*await asyncio.gather(*busy, other), late]

        first, second, other, late = machine.wait(go())
        assert late.status == INTERNAL_ERROR
        assert late.result == {
            "error": f"The action was not started: the most processes that there may be, 1, were busy {AS_LONG}."
        }
        assert [answer.status for answer in (first, second, other)] == [SUCCESS] * 3
        assert other.start_ms <= second.start_ms, "who came first has the process first, whosever it was"
        assert second.init_ms is not None


def test_idle_processes_end(directory: Path) -> None:
    with Machine(directory, idle_s=0.5) as machine:
        action = executable(WAIT)
        pid = pid_of(machine.run(action))
        machine.until(lambda: not is_alive(pid), "the end of the idle process")
        assert machine.run(action).init_ms is not None


def test_a_call_ends_idleness(directory: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with Machine(directory, idle_s=0.3) as machine:
        action, other = executable(WAIT), executable(WAIT)

        async def go() -> list[Answer]:
            answers = [await machine.containers.run(action, call())]
            running = begin(machine, action, gate)
            answers.append(await machine.containers.run(other, call()))
            while is_alive(pid_of(answers[1])):  # It was idle later than the one that is called again.
                await asyncio.sleep(0.01)  # The system is who knows, and can only be asked.
            gate.touch()
            return [answers[0], await running]

        first, second = machine.wait(go())
        assert pid_of(first) == pid_of(second)


def test_a_process_that_was_killed_is_replaced(machine: Machine) -> None:
    action = executable(WAIT)
    first = machine.run(action)
    os.kill(pid_of(first), signal.SIGKILL)
    machine.until(lambda: not is_alive(first.result["parent"]), "the end of the process that minds it")
    answers = [machine.run(action), machine.run(action)]
    assert [answer.status for answer in answers] == [SUCCESS, SUCCESS]
    assert [answer.init_ms is not None for answer in answers] == [True, False]


def test_a_cancelled_call_ends_its_process(machine: Machine, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    action = executable(WAIT)

    async def go() -> None:
        running = begin(machine, action, gate)
        await until_waits(gate)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    machine.wait(go())
    pid = int(Path(f"{gate}-waits").read_text())
    machine.until(lambda: not is_alive(pid), "the end of the cancelled call's process")
    assert machine.run(action).init_ms is not None


@pytest.mark.parametrize("moment", ["init", "run", "queue", "room"])
def test_close_answers_everything(directory: Path, tmp_path: Path, moment: str) -> None:
    gate = tmp_path / "gate"
    init = f"{WAIT}main({{'gate': {str(gate)!r}}})\n"
    with Machine(directory, max_processes=1) as machine:
        actions: list[Executable] = [executable(init if moment == "init" else WAIT)]
        actions += {"init": [], "run": [], "queue": actions, "room": [executable(WAIT)]}[moment]

        async def go() -> list[Answer]:
            running = [begin(machine, action, gate) for action in actions]
            await until_waits(gate)
            await machine.containers.close()
            return list(await asyncio.gather(*running, machine.containers.run(executable(WAIT), call())))

        begun, *others = machine.wait(go())
        assert (begun.status, begun.result) == (INTERNAL_ERROR, {"error": INTERRUPTED})
        for answer in others:
            assert (answer.status, answer.result) == (
                INTERNAL_ERROR,
                {"error": "The action was not started: the API is stopping."},
            )


def test_stop_after_close(machine: Machine) -> None:
    action = executable(WAIT)
    machine.run(action)
    machine.wait(machine.containers.close())
    machine.wait(machine.containers.stop(action.namespace, action.name))


def test_an_unknown_kind(machine: Machine) -> None:
    answer = machine.run(executable("", "cobol:85"))
    assert (answer.status, answer.logs) == (DEVELOPER_ERROR, ())
    assert answer.result == {"error": "This machine has nothing that runs actions of kind 'cobol:85'."}


def test_the_machines_own_failures_are_internal_errors(machine: Machine, directory: Path) -> None:
    action = executable(WAIT)
    machine.run(action)
    directory.rename(directory.with_name("gone"))
    answer = machine.run(executable(WAIT))
    assert answer.status == INTERNAL_ERROR
    assert answer.result["error"].startswith("The action could not be run: FileNotFoundError: ")


def test_a_large_zip(machine: Machine) -> None:
    """As much as OpenWhisk takes: 48 MB of base64."""
    code = zipped(
        {"__main__.py": "def main(args):\n    return {'x': len(open('x', 'rb').read())}\n", "x": bytes(35 << 20)}
    )
    assert 46 << 20 < len(code) <= 48 << 20
    assert machine.run(executable(code, binary=True)).result == {"x": 35 << 20}


def descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def test_nothing_is_left_behind(machine: Machine, directory: Path) -> None:
    """No descriptor, no file, no process, whatever has become of the activations."""
    codes = [WAIT, "import none_such", "def main(args):\n    exit()\n", "def main(args):\n    return 7\n", "("]
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    others = children.read_text()

    def go() -> list[str]:
        for code in codes:
            action = executable(code)
            machine.run(action)
            machine.wait(machine.containers.stop(action.namespace, action.name))
        machine.run(executable("bm8gemlw", binary=True))
        machine.until(lambda: not list(directory.iterdir()), "the end of the files")
        return descriptors()

    assert go() == go()
    assert children.read_text() == others


def test_a_process_that_cannot_be_started(machine: Machine, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/none/such")

    def go() -> list[str]:
        assert machine.run(executable(WAIT)).status == INTERNAL_ERROR
        machine.until(lambda: not list(directory.iterdir()), "the end of the files")
        return descriptors()

    assert go() == go()


def test_a_command_that_cannot_be_started(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Machine(directory) as machine:
        gone = replace(machine.containers._programs["python:3"], command=("/none/such",))
        monkeypatch.setitem(machine.containers._programs, "python:3", gone)
        answer = machine.run(executable(WAIT))
    assert (answer.status, answer.result["error"][:12]) == (DEVELOPER_ERROR, "Cannot start")
