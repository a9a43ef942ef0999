"""What actions of the local OpenWhisk may do to the machine: whatever they start ends with them, and has limits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_stack import wait_until
from openwhisk_actions import Machine, executable, lines, needs_node

from kaas_local.openwhisk.containers.model import DEVELOPER_ERROR, SUCCESS
from kaas_local.openwhisk.kinds import NODEJS, PYTHON

MEMORY = {"error": "The action exhausted its memory and was aborted."}

#: Starts a process that leaves its session, its group and its parent, as a daemon does; notes its id in a file.
DAEMON = """\
import os, signal, time
def daemon(note):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            with open(note + '~', 'w') as file:
                file.write(str(os.getpid()))
            os.rename(note + '~', note)
            while True:
                time.sleep(100)
        os._exit(0)
    while not os.path.exists(note):
        time.sleep(0.01)
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path / "actions") as running:
        yield running


def is_alive(note: Path) -> bool:
    return Path(f"/proc/{note.read_text()}").exists()


@pytest.mark.parametrize(
    "rest", ["while True: pass", "os.kill(os.getpid(), 9)", "return 7", "os.close(1); os.close(2); os._exit(1)"]
)
def test_what_an_action_started_ends_with_it(machine: Machine, tmp_path: Path, rest: str) -> None:
    note = tmp_path / "note"
    code = f"{DAEMON}def main(args):\n    daemon(args['note'])\n    {rest}\n"
    answer = machine.run(executable(code, timeout_ms=5_000), {"note": str(note)})
    assert answer.status == DEVELOPER_ERROR
    assert answer.timed_out == rest.startswith("while")
    machine.until(lambda: not is_alive(note), "the end of what the action had started")


def test_what_an_action_started_lives_as_long_as_it(machine: Machine, tmp_path: Path) -> None:
    note = tmp_path / "note"
    action = executable(f"{DAEMON}def main(args):\n    daemon(args['note'])\n    return {{}}\n")
    for _ in range(2):
        assert machine.run(action, {"note": str(note)}).status == SUCCESS
        assert is_alive(note)
    machine.wait(machine.containers.stop(action.namespace, action.name))
    assert not is_alive(note), "stop waits for the end"


def test_an_action_that_forks_and_forks(machine: Machine, tmp_path: Path) -> None:
    code = """\
import os, time
def main(args):
    for number in range(20):
        if os.fork() == 0:
            if number % 2:
                os.setsid()
            os.fork()
            while True:
                if os.fork() == 0:
                    os._exit(0)
                os.wait()
    print('forked')
    time.sleep(100)
"""
    answer = machine.run(executable(code, timeout_ms=5_000, memory_mb=512))
    assert (answer.status, answer.timed_out, lines(answer, "stdout")) == (DEVELOPER_ERROR, True, ["forked"])
    assert not [path for path in Path("/proc").glob("[0-9]*/cwd") if links_to(path, tmp_path)]


def links_to(path: Path, directory: Path) -> bool:
    try:
        return path.readlink().is_relative_to(directory)
    except OSError:
        return False


def test_time_limits(machine: Machine) -> None:
    action = executable(
        "import time\ndef main(args):\n    print('before')\n    time.sleep(args['s'])\n", timeout_ms=3_000
    )
    answer = machine.run(action, {"s": 100})
    assert (answer.status, answer.timed_out) == (DEVELOPER_ERROR, True)
    assert answer.result == {"error": "The action exceeded its time limits of 3000 milliseconds."}
    assert answer.end_ms - answer.start_ms >= 3_000
    assert lines(answer, "stdout") == ["before"]
    after = machine.run(action, {"s": 0})
    assert (after.init_ms is not None, after.timed_out) == (True, False)


def test_an_init_that_never_ends(machine: Machine) -> None:
    answer = machine.run(executable("print('before')\nwhile True: pass\n", timeout_ms=3_000))
    assert (answer.status, answer.timed_out) == (DEVELOPER_ERROR, True)
    assert answer.result == {"error": "The action exceeded its time limits of 3000 milliseconds during initialization."}
    assert lines(answer, "stdout") == ["before"]


ALLOCATE = (
    "import time\ndef main(args):\n    kept = b'x' * (args['mb'] << 20)\n    time.sleep(args['s'])\n    return {}\n"
)


def test_memory(machine: Machine) -> None:
    action = executable(ALLOCATE, memory_mb=128)
    assert machine.run(action, {"mb": 80, "s": 0.3}).status == SUCCESS
    answer = machine.run(action, {"mb": 200, "s": 100})
    assert (answer.status, answer.result, answer.timed_out) == (DEVELOPER_ERROR, MEMORY, False)
    assert machine.run(action, {"mb": 1, "s": 0}).init_ms is not None


def test_memory_in_init(machine: Machine) -> None:
    answer = machine.run(executable("import time\nkept = b'x' * (200 << 20)\ntime.sleep(100)\n", memory_mb=128))
    assert (answer.status, answer.result) == (DEVELOPER_ERROR, MEMORY)


@needs_node
def test_memory_of_nodejs(machine: Machine) -> None:
    code = "function main({mb}) { kept = Buffer.alloc(mb << 20, 1); return new Promise(() => setInterval(main, 1e6)) }"
    answer = machine.run(executable(code, NODEJS, memory_mb=128), {"mb": 200})
    assert (answer.status, answer.result) == (DEVELOPER_ERROR, MEMORY)


FORKED = """\
import os, time
def main(args):
    kept = b'x' * (args['before'] << 20)
    children = []
    for _ in range(3):
        children.append(os.fork())
        if children[-1] == 0:
            own = b'y' * (args['after'] << 20)
            time.sleep(args['s'])
            os._exit(0)
    for child in children:
        os.waitpid(child, 0)
    return {}
"""


def test_memory_counts_all_processes_together(machine: Machine) -> None:
    answer = machine.run(executable(FORKED, memory_mb=128), {"before": 0, "after": 60, "s": 100})
    assert (answer.status, answer.result) == (DEVELOPER_ERROR, MEMORY)


def test_memory_that_processes_share_counts_once(machine: Machine) -> None:
    answer = machine.run(executable(FORKED, memory_mb=128), {"before": 60, "after": 0, "s": 0.3})
    assert (answer.status, answer.result) == (SUCCESS, {})


#: Starts a process that counts in a file, as long as it can, and leaves it alone.
COUNTS = """\
import os, time
def main(args):
    with open(args['note'], 'a+b') as count:
        if args['starts'] and os.fork() == 0:
            while True:
                count.write(b'.')
                count.flush()
        begin = os.stat(args['note']).st_size
        while os.stat(args['note']).st_size < begin + 100:
            time.sleep(0.001)  # Both are processes without a common parent here: the file is all they share.
    return {'pid': os.getpid()}
"""


def test_what_runs_on_after_the_answer_stands_still_until_the_next_call(machine: Machine, tmp_path: Path) -> None:
    note = tmp_path / "note"
    action = executable(COUNTS)
    for starts in (True, False, False):
        answer = machine.run(action, {"note": str(note), "starts": starts})
        assert answer.status == SUCCESS
        pids = [answer.result["pid"], *children(answer.result["pid"])]
        assert len(pids) == 2
        machine.until(lambda pids=pids: all(map(is_stopped, pids)), "the stop of all processes")  # type: ignore[misc]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


PRINT = """\
import sys
def main(args):
    line = 'x' * 99 + '\\n'
    for _ in range(args['mb'] * 10_000):
        getattr(sys, args['stream']).write(line)
    return {'done': True}
"""


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_an_action_that_prints_100_mb(machine: Machine, stream: str) -> None:
    action = executable(PRINT, logs_mb=1)
    answer = machine.run(action, {"mb": 100, "stream": stream})
    assert (answer.status, answer.result) == (SUCCESS, {"done": True}), "a full log harms nobody"
    *before, last = answer.logs
    assert last[30:] == " stderr: Logs were truncated because the total bytes size exceeds the limit of 1048576 bytes."
    assert len(before) == (1 << 20) // len(f'"{before[0]}",')
    again = machine.run(action, {"mb": 0, "stream": stream})
    assert (again.init_ms, again.logs) == (None, ()), "nothing spills over"


def test_100_mb_without_a_line_end(machine: Machine) -> None:
    code = "def main(args):\n    for _ in range(100):\n        print('❄' * (1 << 18), end='')\n    return {}\n"
    answer = machine.run(executable(code, logs_mb=1))
    assert answer.status == SUCCESS
    assert all(set(line[39:]) == {"❄"} and len(line) < 6000 for line in answer.logs[:-1]), "no character is cut"
    assert "Logs were truncated" in answer.logs[-1]
    assert len(answer.logs) > 60


def test_no_logs_at_all(machine: Machine) -> None:
    assert machine.run(executable(PRINT, logs_mb=0), {"mb": 1, "stream": "stdout"}).logs == ()


def test_log_lines_have_their_stream_and_time(machine: Machine) -> None:
    code = (
        "import sys, time\ndef main(args):\n    print('one')\n    time.sleep(0.05)\n    print('❄', file=sys.stderr)\n"
        "    time.sleep(0.05)\n    sys.stdout.write('no end')\n    return {}\n"
    )
    action = executable(code)
    for _ in range(2):
        answer = machine.run(action)
        assert [line[30:] for line in answer.logs] == [" stdout: one", " stderr: ❄", " stdout: no end"]
        times = [line[:30] for line in answer.logs]
        assert times == sorted(times)
        assert len(set(times)) == 3
        assert all(time[10] == "T" and time[19] == "." and time.endswith("Z") for time in times)


def test_the_sentinel_of_other_runtimes_is_a_line_like_any(machine: Machine) -> None:
    code = "def main(args):\n    print('XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\\nafter')\n    return {}\n"
    assert lines(machine.run(executable(code)), "stdout") == ["XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX", "after"]


def test_files_are_removed(machine: Machine, tmp_path: Path) -> None:
    code = "import os\ndef main(args):\n    os.mkdir(os.environ['TMPDIR'] + '/x')\n    return {'cwd': os.getcwd()}\n"
    action = executable(code)
    home = Path(machine.run(action).result["cwd"])
    assert home.is_relative_to(tmp_path)
    assert home.parent.stat().st_mode & 0o077 == 0
    machine.wait(machine.containers.stop(action.namespace, action.name))
    assert not home.parent.exists()


OWNER = f"""\
import asyncio, sys
from pathlib import Path
from openwhisk_actions import Machine, executable, zipped
with Machine(Path(sys.argv[1]) / "actions") as machine:
    code = {DAEMON!r} + "def main(args):\\n    daemon(args['note'])\\n    return {{'pid': os.getpid()}}\\n"
    idle = machine.run(executable(code), {{"note": sys.argv[1] + "/idle-daemon"}})
    (Path(sys.argv[1]) / "idle").write_text(str(idle.result["pid"]))
    code = {DAEMON!r} + "def main(args):\\n    open(args['pid'], 'w').write(str(os.getpid()))\\n"
    code += "    daemon(args['note'])\\n    while True: time.sleep(1)\\n"
    machine.run(executable(code), {{"note": sys.argv[1] + "/busy-daemon", "pid": sys.argv[1] + "/busy"}})
"""


def test_nothing_outlives_a_killed_owner(tmp_path: Path) -> None:
    """The API is killed with one action that runs and one that is idle, each with a process that it has let go of."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], env=environment) as owner:
        notes = [tmp_path / name for name in ("idle", "idle-daemon", "busy", "busy-daemon")]
        wait_until(lambda: all(note.exists() and note.read_text() for note in notes), "both actions' processes")
        assert all(map(is_alive, notes))
        owner.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, notes)), "the end of everything")
    assert list((tmp_path / "actions").iterdir()), "files are left"
    with Machine(tmp_path / "actions") as machine:
        assert list((tmp_path / "actions").iterdir()) == [], "the next owner removes them"
        assert machine.run(executable("def main(args):\n    return {}\n", PYTHON)).status == SUCCESS
