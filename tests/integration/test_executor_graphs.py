"""A real executor process on the emulated driver: loops that a value ends, branches, temporaries that take turns."""

from __future__ import annotations

import numpy as np
import pytest
from executor_actions import Actions, actions, executor, front
from executor_process import Array, Front

__all__ = ["actions", "executor", "front"]

N = 1000


def constant(value: float, size: int = N) -> Array:
    return np.full(size, value, np.float32)


@pytest.mark.parametrize(
    ("parameters", "rounds", "left"),
    [
        ({}, 7, 0.78125),
        ({"tol": 0.1}, 10, 0.09765625),
        ({"every": 4}, 8, 0.390625),
        ({"tol": 50}, 2, 25.0),
        ({"most": 5}, 5, 3.125),
        ({"most": 5, "every": 6}, 5, 3.125),
        ({"most": 0}, 0, 100.0),
        ({"tol": "nan", "most": 9}, 9, 0.1953125),
    ],
)
def test_a_loop_ends_by_a_value(
    front: Front, actions: Actions, parameters: dict[str, float], rounds: int, left: float
) -> None:
    done, _ = front.run(actions["settle"], {"x": constant(100)}, **parameters)
    assert done["stats"]["rounds"] == [rounds]
    assert set(front.inline(done, "z")) == {np.float32(left)}


def test_a_value_that_is_no_number_ends_nothing(front: Front, actions: Actions) -> None:
    done, _ = front.run(actions["settle"], {"x": constant(np.nan)}, most=6)
    assert done["stats"]["rounds"] == [6]


def settled_often(value: float) -> tuple[list[int], float]:
    """What `settle_often` does, in plain words."""
    rounds = [0, 0]
    for i in range(3):
        for _ in range(4):
            for inner in range(1, 5 + i + 1):
                value -= 1
                rounds[1] += 1
                if inner % 2 == 0 and value < 12 - 4 * i:
                    break
            rounds[0] += 1
            if value < 10 - 4 * i:
                break
    return [*rounds, 0], value


@pytest.mark.parametrize("value", [5, 20, 23, 40])
def test_loops_inside_loops_end_each_by_its_own_value(front: Front, actions: Actions, value: float) -> None:
    done, _ = front.run(actions["settle_often"], {"x": constant(0), "z": constant(value)})
    rounds, left = settled_often(value)
    assert done["stats"]["rounds"] == rounds
    assert set(front.inline(done, "z")) == {left}


def test_without_such_a_loop_no_rounds_are_told(front: Front, actions: Actions) -> None:
    done, _ = front.run(actions["branches"], {"x": constant(1)})
    assert "rounds" not in done["stats"]


def test_a_loop_that_waits_for_its_value_can_be_dropped(front: Front, actions: Actions) -> None:
    x = constant(1)
    front.run(actions["saxpy"], {"x": x, "y": x})
    for _ in range(3):
        inv = front.start(actions["unsettled"], actions["unsettled"].bind(x=x), {"x": "x"})
        other, _ = front.run(actions["saxpy"], {"x": x, "y": x})
        assert set(front.inline(other, "z")) == {3.0}
        front.send("drop", inv=inv)
        assert front.expect("failed", inv)["error"]["code"] == "cancelled"
    done, _ = front.run(actions["settle"], {"x": x}, tol=0.01)
    assert done["stats"]["rounds"] == [7]


def branched(x: Array, rounds: int) -> Array:
    """What `branches` returns."""
    b, z = np.zeros_like(x), np.zeros_like(x)
    for k in range(rounds):
        b += 1
        z += x * k + 2 * x
        z += b + 3 * x
    return z


@pytest.mark.parametrize("scrub", [False, True])
def test_branches_give_what_the_steps_give_one_after_the_other(front: Front, actions: Actions, scrub: bool) -> None:
    for size in (1, 100, 5000):
        x = np.arange(size, dtype=np.float32)
        binding = actions["branches"].bind(x=x, rounds=20)
        inv = front.start(actions["branches"], binding, {"x": f"x{size}"}, scrub=scrub)
        front.expect("need", inv)
        front.supply(inv, f"x{size}", x)
        done = front.expect("done", inv)
        np.testing.assert_array_equal(front.inline(done, "z"), branched(x, 20))
        assert done["stats"]["gpu_ms"] > 0


def test_branches_that_run_for_ever_can_be_dropped(front: Front, actions: Actions) -> None:
    x = constant(1)
    binding = actions["branches"].bind(x=x, rounds=1 << 30)
    inv = front.start(actions["branches"], binding, {"x": "x"})
    front.expect("need", inv)
    front.supply(inv, "x", x)
    done, _ = front.run(actions["saxpy"], {"x": x, "y": x})
    front.send("drop", inv=inv)
    assert front.expect("failed", inv)["error"]["code"] == "cancelled"
    np.testing.assert_array_equal(front.inline(front.run(actions["branches"], {"x": x})[0], "z"), branched(x, 10))
    assert set(front.inline(done, "z")) == {3.0}


@pytest.mark.parametrize("scrub", [False, True])
def test_temporaries_take_turns_in_the_same_memory(front: Front, actions: Actions, scrub: bool) -> None:
    size = 1 << 20
    x = np.arange(size, dtype=np.float32)
    # Memory as it was left by somebody else.
    front.run(actions["paint"], {"x": x})
    binding = actions["turns"].bind(x=x)
    # x, z and two temporaries at a time.
    front.set_budget(4 * x.nbytes)
    inv = front.start(actions["turns"], binding, {"x": "x"}, scrub=scrub)
    while not (frames := [frame for frame in front.frames if frame.get("inv") == inv]):
        front.read()
    if frames[0]["type"] == "need":
        front.frames.remove(frames[0])
        front.supply(inv, "x", x)
    np.testing.assert_array_equal(front.inline(front.expect("done", inv), "z"), 11 * x)


def test_a_budget_below_the_peak_is_refused(front: Front, actions: Actions) -> None:
    x = np.zeros(1 << 20, np.float32)
    front.set_budget(4 * x.nbytes - 1)
    inv = front.start(actions["turns"], actions["turns"].bind(x=x), {"x": "x"})
    error = front.expect("failed", inv)["error"]
    assert error["code"] == "device_out_of_memory"
    assert str(4 * x.nbytes) in error["message"]


@pytest.mark.parametrize("size", [1000, 48 << 10, 60000, 60000, 232448 - 4000])
def test_shared_memory_beyond_48_kib_is_asked_for(front: Front, actions: Actions, size: int) -> None:
    x = np.arange(7, dtype=np.float32)
    done, _ = front.run(actions["shared"], {"x": x}, size=size)
    np.testing.assert_array_equal(front.inline(done, "z"), x)


def test_shared_memory_over_the_devices_limit_is_refused_with_kernel_place_and_limit(
    front: Front, actions: Actions
) -> None:
    inv = front.start(actions["shared"], actions["shared"].bind(x=constant(1, 7), size=232449), {"x": "x"})
    error = front.expect("failed", inv)["error"]
    assert error["code"] == "launch_invalid"
    assert error["where"].endswith("graph[0].shared")
    assert "through_shared" in error["message"]
    assert "232448" in error["message"]
