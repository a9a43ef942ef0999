"""A real executor process when things go wrong: faults, aborts, links that end, memory that is not there."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from executor_actions import Actions, actions
from executor_process import Array, ExecutorProcess, Front

from kaas_pool.executor.__main__ import CANNOT_SERVE, CONTEXT_LOST
from kaas_pool.frames import LinkClosed

__all__ = ["actions"]

N = 1000
MIB = 1 << 20
ONES = np.ones(N, np.float32)


def floats(size: int) -> Array:
    return np.arange(size, dtype=np.float32)


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[ExecutorProcess]:
    """A fresh process on a device of 64 MiB."""
    with ExecutorProcess(tmp_path / "scratch", environ={"KAAS_EMULATOR_MEMORY": "64M"}) as process:
        yield process


@pytest.fixture
def front(executor: ExecutorProcess) -> Iterator[Front]:
    """Its first link."""
    with executor.attach() as front:
        yield front


def start_long(front: Front, actions: Actions) -> str:
    """An invocation that computes and does not end by itself."""
    front.run(actions["saxpy"], {"x": ONES, "y": ONES})
    return front.start(actions["long"], actions["long"].bind(x=ONES), {"x": "x"})


# Faults


def test_a_fault_fails_its_invocation_and_ends_the_process(
    executor: ExecutorProcess, front: Front, actions: Actions
) -> None:
    waiting = front.start(actions["saxpy"], actions["saxpy"].bind(x=ONES, y=ONES), {"x": "p", "y": "q"})
    front.expect("need", waiting)
    faulty = front.start(actions["fault"], actions["fault"].bind(x=ONES), {"x": "x"})
    front.expect("need", faulty)
    front.supply(faulty, "x", ONES)
    failed = front.expect("failed", faulty)
    assert (failed["error"]["code"], failed["fatal"]) == ("kernel_fault", True)
    assert "700" in failed["error"]["message"]
    innocent = front.expect("failed", waiting)
    assert (innocent["error"]["code"], innocent["fatal"]) == ("executor_lost", True)
    assert "suspect" not in innocent
    assert executor.wait() == CONTEXT_LOST


def test_the_next_process_serves_after_a_fault(tmp_path: Path, actions: Actions) -> None:
    for _ in range(2):
        with ExecutorProcess(tmp_path / "scratch") as executor, executor.attach() as front:
            done, _ = front.run(actions["saxpy"], {"x": ONES, "y": ONES})
            assert set(front.inline(done, "z")) == {3.0}
            front.start(actions["fault"], actions["fault"].bind(x=ONES), {"x": "x"})
            front.expect("failed")
            assert executor.wait() == CONTEXT_LOST


def test_nobody_is_blamed_when_several_computed(executor: ExecutorProcess, front: Front, actions: Actions) -> None:
    long = start_long(front, actions)
    faulty = front.start(actions["fault"], actions["fault"].bind(x=ONES), {"x": "x"})
    for inv in (long, faulty):
        failed = front.expect("failed", inv)
        assert (failed["error"]["code"], failed["fatal"], failed["suspect"]) == ("executor_lost", True, True)
    assert executor.wait() == CONTEXT_LOST


def test_alone_means_that_nothing_else_computes(executor: ExecutorProcess, front: Front, actions: Actions) -> None:
    long = start_long(front, actions)
    faulty = front.start(actions["fault"], actions["fault"].bind(x=ONES), {"x": "x"}, alone=True)
    behind = front.start(actions["saxpy"], actions["saxpy"].bind(x=ONES, y=ONES), {"x": "x", "y": "y"})
    assert front.pending() == []
    front.send("drop", inv=long)
    assert front.expect("failed", long)["error"]["code"] == "cancelled"
    assert front.expect("failed", faulty)["error"]["code"] == "kernel_fault"
    assert front.expect("failed", behind)["error"]["code"] == "executor_lost"
    assert executor.wait() == CONTEXT_LOST


# Aborts


def test_a_long_loop_ends_when_it_is_dropped(front: Front, actions: Actions) -> None:
    inv = start_long(front, actions)
    assert front.pending() == []
    front.send("drop", inv=inv)
    failed = front.expect("failed", inv)
    assert (failed["error"]["code"], failed["fatal"]) == ("cancelled", False)
    done, _ = front.run(actions["saxpy"], {"x": ONES, "y": ONES})
    assert sorted(done["stats"]["device_hits"]) == ["x", "y"]


def test_other_invocations_go_on_beside_a_long_one(front: Front, actions: Actions) -> None:
    inv = start_long(front, actions)
    for _ in range(3):
        done, _ = front.run(actions["saxpy"], {"x": ONES, "y": ONES})
        assert set(front.inline(done, "z")) == {3.0}
    # Inputs are loaded for who has to wait for a slot.
    second = front.start(actions["long"], actions["long"].bind(x=ONES), {"x": "x"})
    third = front.start(actions["saxpy"], actions["saxpy"].bind(x=ONES, y=ONES), {"x": "x", "y": "new"})
    assert front.expect("need", third)["keys"] == ["new"]
    front.supply(third, "new", ONES)
    front.send("drop", inv=inv)
    assert set(front.inline(front.expect("done", third), "z")) == {3.0}
    front.send("drop", inv=second)
    front.expect("failed", second)


@pytest.mark.parametrize("supplied", [False, True])
def test_what_has_not_begun_is_simply_forgotten(front: Front, actions: Actions, supplied: bool) -> None:
    inv = front.start(actions["saxpy"], actions["saxpy"].bind(x=ONES, y=ONES), {"x": "x", "y": "y"})
    front.expect("need", inv)
    if supplied:
        front.supply(inv, "x", ONES)
    front.send("drop", inv=inv)
    assert front.expect("failed", inv)["error"]["code"] == "cancelled"
    front.supply(inv, "y", ONES)
    again = front.start(actions["saxpy"], actions["saxpy"].bind(x=ONES, y=ONES), {"x": "x", "y": "y"})
    # What had been supplied is not asked for again.
    asked = set(front.expect("need", again)["keys"])
    assert asked == ({"y"} if supplied else {"x", "y"})


# Links


def test_a_new_link_drops_what_is_in_flight_and_keeps_the_cache(executor: ExecutorProcess, actions: Actions) -> None:
    with executor.attach("1") as first:
        start_long(first, actions)
        loading = first.start(actions["saxpy"], actions["saxpy"].bind(x=ONES, y=ONES), {"x": "other", "y": "y"})
        first.expect("need", loading)
        with executor.attach("2") as second:
            assert sorted(key for key, _ in second.hello["resident"]) == ["x", "y"]
            with pytest.raises(LinkClosed):
                while True:
                    first.read()
            # The same names may be used again, and the slot of the long loop becomes free.
            for _ in range(3):
                inv = second.start(actions["saxpy"], actions["saxpy"].bind(x=ONES, y=ONES), {"x": "x", "y": "y"})
                assert sorted(second.expect("done", inv)["stats"]["device_hits"]) == ["x", "y"]
            assert second.pending() == []


def test_a_front_that_goes_away_may_come_back(executor: ExecutorProcess, actions: Actions) -> None:
    with executor.attach("1") as first:
        first.run(actions["saxpy"], {"x": ONES, "y": ONES})
    with executor.attach("2") as second:
        done, _ = second.run(actions["saxpy"], {"x": ONES, "y": ONES})
        assert sorted(done["stats"]["device_hits"]) == ["x", "y"]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("nonsense", {}),
        ("run", {"inv": "i1"}),
        ("budget", {"bytes": "many"}),
        ("supply", {}),
        ("bundle", {"digest": 3}),
    ],
)
def test_a_frame_of_no_contract_closes_the_link_and_nothing_else(
    executor: ExecutorProcess, front: Front, actions: Actions, kind: str, fields: dict[str, object]
) -> None:
    front.run(actions["saxpy"], {"x": ONES, "y": ONES})
    front.send(kind, **fields)
    with pytest.raises(LinkClosed):
        while True:
            front.read()
    with executor.attach("2") as second:
        done, _ = second.run(actions["saxpy"], {"x": ONES, "y": ONES})
        assert len(done["stats"]["device_hits"]) == 2


def test_a_run_of_an_unknown_bundle_is_an_error(front: Front, actions: Actions) -> None:
    front.known.add(actions["saxpy"].bundle.digest)
    inv = front.start(actions["saxpy"], actions["saxpy"].bind(x=ONES, y=ONES), {"x": "x", "y": "y"})
    failed = front.expect("failed", inv)
    assert failed["error"]["code"] == "internal"
    assert actions["saxpy"].bundle.digest in failed["error"]["message"]


def test_it_ends_with_its_supervisor(executor: ExecutorProcess, front: Front, actions: Actions) -> None:
    front.run(actions["saxpy"], {"x": ONES, "y": ONES})
    executor.control.close()
    assert executor.wait() == 0


def test_it_ends_with_its_supervisor_while_it_computes(
    executor: ExecutorProcess, front: Front, actions: Actions
) -> None:
    start_long(front, actions)
    executor.control.close()
    assert executor.wait() == 0


def test_a_device_that_does_not_exist_ends_the_process_with_a_reason(tmp_path: Path) -> None:
    with ExecutorProcess(tmp_path / "scratch", "--device", "7") as executor:
        assert executor.wait() == CANNOT_SERVE


def test_a_stop_signal_ends_it(executor: ExecutorProcess, front: Front) -> None:
    os.kill(executor.pid, signal.SIGTERM)
    assert executor.wait() == -signal.SIGTERM


# Memory


def test_the_least_recently_used_goes_and_is_told(tmp_path: Path, actions: Actions) -> None:
    with ExecutorProcess(tmp_path / "scratch", "--memory-bytes", str(5 * MIB)) as executor, executor.attach() as front:
        mega = floats(MIB // 4)
        for key in "abcd":
            inv = front.start(actions["null"], actions["null"].bind(x=mega), {"x": key})
            front.finish(inv, {key: mega})
        for key in "ae":
            inv = front.start(actions["null"], actions["null"].bind(x=mega), {"x": key})
            front.finish(inv, {key: mega})
        front.pending()
        assert front.evicted == ["b"]
        assert front.usage[-1]["bytes"] == 4 * MIB
        with executor.attach("2") as second:
            assert {key for key, _ in second.hello["resident"]} == {"a", "c", "d", "e"}


def test_a_budget_is_kept_at_once_for_what_is_idle(front: Front, actions: Actions) -> None:
    front.run(actions["saxpy"], {"x": floats(MIB), "y": floats(MIB)})
    usage = front.set_budget(5 * MIB)
    assert usage["bytes"] == 4 * MIB
    assert len(front.evicted) == 1
    assert front.set_budget(0)["bytes"] == 0


def test_what_never_fits_is_refused_and_the_next_works(front: Front, actions: Actions) -> None:
    big = floats(8 * MIB)
    inv = front.start(actions["saxpy"], actions["saxpy"].bind(x=big, y=big), {"x": "big-x", "y": "big-y"})
    failed = front.expect("failed", inv)
    assert (failed["error"]["code"], failed["fatal"]) == ("device_out_of_memory", False)
    assert str(96 * MIB) in failed["error"]["message"]
    front.run(actions["saxpy"], {"x": ONES, "y": ONES})


def test_who_does_not_fit_now_waits_for_its_turn(front: Front, actions: Actions) -> None:
    big = floats(5 * MIB)
    binding = actions["saxpy"].bind(x=big, y=big)
    first = front.start(actions["saxpy"], binding, {"x": "a", "y": "a"})
    front.expect("need", first)
    second = front.start(actions["saxpy"], binding, {"x": "b", "y": "b"})
    small = front.start(actions["saxpy"], actions["saxpy"].bind(x=ONES, y=ONES), {"x": "c", "y": "c"})
    assert front.pending() == []
    front.supply(first, "a", big)
    front.expect("done", first)
    front.supply(front.expect("need", second)["inv"], "b", big)
    front.expect("done", second)
    front.supply(front.expect("need", small)["inv"], "c", ONES)
    front.expect("done", small)


def test_a_device_with_less_than_it_says_evicts_and_tries_again(front: Front, actions: Actions) -> None:
    # As if somebody else used the device: the budget is above what it has.
    front.set_budget(1 << 30)
    big = floats(5 * MIB)
    for key in "abcd":
        inv = front.start(actions["null"], actions["null"].bind(x=big), {"x": key})
        front.finish(inv, {key: big})
    assert front.set_budget(1 << 30)["bytes"] == 60 * MIB
    assert front.evicted == ["a"]
    huge = floats(20 * MIB)
    inv = front.start(actions["null"], actions["null"].bind(x=huge), {"x": "huge"})
    failed = front.expect("failed", inv)
    assert (failed["error"]["code"], failed["fatal"]) == ("device_out_of_memory", False)
    front.run(actions["saxpy"], {"x": ONES, "y": ONES})


def test_a_front_that_does_not_read_loses_nothing(executor: ExecutorProcess, front: Front, actions: Actions) -> None:
    front.run(actions["saxpy"], {"x": ONES, "y": ONES})
    binding = actions["saxpy"].bind(x=ONES, y=ONES)
    # Each answer holds 5 kB; the socket's buffer takes about 40 of them.
    names = [front.start(actions["saxpy"], binding, {"x": "x", "y": "y"}) for _ in range(300)]
    for inv in names:
        assert set(front.inline(front.expect("done", inv), "z")) == {3.0}


def test_an_attach_without_a_link_ends_the_process(executor: ExecutorProcess) -> None:
    executor.control.send({"type": "attach", "epoch": "1"})
    assert executor.wait() == 0
