"""A real executor process whose kernels print: who gets it, whole, and nobody else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from executor_actions import Actions, actions, executor, front
from executor_process import ExecutorProcess, Front
from printing_actions import MANIFESTS, SOURCE

from kaas_pool.executor.__main__ import CONTEXT_LOST
from kaas_pool.frames import Frame
from kaas_pool.printed import MAX_BYTES, printed_lines

__all__ = ["actions", "executor", "front"]

X = np.array([3, 1, 4], np.int32)
MANY = np.arange(1000, dtype=np.int32)
SAID = ["x[0] is 3 in round 0", "x[1] is 1 in round 0", "x[2] is 4 in round 0"]


@pytest.fixture(scope="session")
def printing(tmp_path_factory: pytest.TempPathFactory) -> Actions:
    return Actions(tmp_path_factory.mktemp("printing"), MANIFESTS, SOURCE)


def printed(frame: Frame) -> list[str]:
    """The lines, those of KaaS itself included."""
    return [line.line for line in printed_lines(frame.get("printed", {}), time.time())]


def start(front: Front, action: Any, x: np.ndarray[Any, Any] = X, **parameters: Any) -> str:
    """Start an action whose input is there already."""
    return front.start(action, action.bind(x=x, **parameters), {"x": f"x of {x.size}"})


@pytest.fixture
def ready(front: Front, printing: Actions) -> Iterator[Front]:
    """A link to an executor that has all inputs."""
    for x in (X, MANY):
        action = printing["say"]
        inv = front.start(action, action.bind(x=x), {"x": f"x of {x.size}"})
        front.finish(inv, {f"x of {x.size}": x})
    yield front


def test_what_is_printed_arrives_whole(ready: Front, printing: Actions) -> None:
    for _ in range(2):
        assert sorted(printed(ready.expect("done", start(ready, printing["say"])))) == SAID
    done = ready.expect("done", start(ready, printing["say"], MANY))
    assert sorted(printed(done)) == sorted(f"x[{i}] is {i} in round 0" for i in range(1000))


def test_rounds_of_a_loop_are_in_order(ready: Front, printing: Actions) -> None:
    lines = printed(ready.expect("done", start(ready, printing["chat"], rounds=600)))
    assert [line.rpartition(" ")[2] for line in lines] == [str(k) for k in range(600) for _ in X]


def test_who_prints_nothing_has_no_word_of_it(front: Front, actions: Actions) -> None:
    done, _ = front.run(actions["saxpy"], {"x": np.ones(3, np.float32), "y": np.ones(3, np.float32)})
    assert "printed" not in done


def test_a_chatty_kernel_is_bounded_and_told_so(ready: Front, printing: Actions) -> None:
    frame = ready.expect("done", start(ready, printing["chat"], MANY, rounds=200))
    assert len(frame["printed"]["text"]) == MAX_BYTES
    *lines, told = printed(frame)
    assert "bytes are left out" in told
    assert lines[0].endswith("in round 0")
    # The next one has its own lines alone.
    assert sorted(printed(ready.expect("done", start(ready, printing["say"])))) == SAID


def test_among_others_it_is_left_out_and_told_so(ready: Front, printing: Actions) -> None:
    long = start(ready, printing["chat"])
    [told] = printed(ready.expect("done", start(ready, printing["say"])))
    assert "left out: other invocations computed" in told
    ready.send("drop", inv=long)
    [told] = printed(ready.expect("failed", long))
    assert "left out" in told
    assert sorted(printed(ready.expect("done", start(ready, printing["say"])))) == SAID


def test_one_that_prints_nothing_is_company_too(ready: Front, printing: Actions, actions: Actions) -> None:
    x = np.ones(10, np.float32)
    ready.run(actions["saxpy"], {"x": x, "y": x})
    silent = ready.start(actions["long"], actions["long"].bind(x=x), {"x": "x"})
    [told] = printed(ready.expect("done", start(ready, printing["say"])))
    assert "left out" in told
    ready.send("drop", inv=silent)
    assert "printed" not in ready.expect("failed", silent)


def test_company_that_comes_later_takes_all_of_it(ready: Front, printing: Actions, actions: Actions) -> None:
    x = np.ones(10, np.float32)
    ready.run(actions["saxpy"], {"x": x, "y": x})
    long = start(ready, printing["chat"])
    ready.run(actions["saxpy"], {"x": x, "y": x})
    ready.send("drop", inv=long)
    [told] = printed(ready.expect("failed", long))
    assert "left out" in told


def test_what_was_cancelled_leaves_nothing_for_the_next(ready: Front, printing: Actions) -> None:
    for _ in range(5):
        long = start(ready, printing["chat"], MANY)
        assert ready.pending() == []
        ready.send("drop", inv=long)
        assert ready.expect("failed", long)["error"]["code"] == "cancelled"
        assert sorted(printed(ready.expect("done", start(ready, printing["say"])))) == SAID


def test_what_ran_for_an_earlier_front_leaves_nothing(
    executor: ExecutorProcess, ready: Front, printing: Actions
) -> None:
    start(ready, printing["chat"])
    assert ready.pending() == []
    with executor.attach() as another:
        for _ in range(3):
            frame = another.expect("done", start(another, printing["say"]))
            assert set(printed(frame)) <= {*SAID, *(line for line in printed(frame) if "left out" in line)}
        assert sorted(printed(another.expect("done", start(another, printing["say"])))) == SAID


def test_what_was_printed_before_a_fault_is_told(tmp_path: Path, printing: Actions) -> None:
    with ExecutorProcess(tmp_path / "scratch") as process, process.attach() as front:
        action = printing["say_and_fault"]
        inv = front.start(action, action.bind(x=X), {"x": "x"})
        front.expect("need", inv)
        front.supply(inv, "x", X)
        failed = front.expect("failed", inv)
        assert (failed["error"]["code"], failed["fatal"]) == ("kernel_fault", True)
        assert printed(failed) == ["before the fault: 3"]
        assert process.wait() == CONTEXT_LOST


def test_odd_texts_do_no_harm(ready: Front, printing: Actions) -> None:
    lines = printed(ready.expect("done", start(ready, printing["odd"])))
    assert lines[0] == "\\x1b[31mred\tand\\x7f"
    assert lines[2] == "� and € and \\u202e"
    assert lines[-1] == "no end"


def test_what_is_printed_by_other_means_is_nobodys(ready: Front, printing: Actions, tmp_path: Path) -> None:
    source = SOURCE.replace("printf(", "fprintf(stdout, ")
    other = Actions(tmp_path / "images", MANIFESTS, source)["chat"]
    ready.expect("done", start(ready, other, MANY, rounds=3))
    assert sorted(printed(ready.expect("done", start(ready, printing["say"])))) == SAID
