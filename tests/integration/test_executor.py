"""A real executor process on the emulated driver: cache, copies, loops, outputs, memory."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import numpy as np
import pytest
from executor_actions import Actions, actions, executor, front
from executor_process import Array, ExecutorProcess, Front, until

from kaas_pool.executor.memory import charge

__all__ = ["actions", "executor", "front"]

N = 1000
RNG = np.random.default_rng(7)


def floats(*shape: int) -> Array:
    return RNG.random(shape, dtype=np.float32)


def smoothed(x: Array, rounds: int) -> Array:
    """What the action `smooth` returns."""
    z = np.zeros_like(x)
    for k in range(rounds):
        z = (np.float32(0.5) * (x + np.roll(x, -1)) + np.float32(k)).astype(np.float32)
        x, z = z, x
    return z


def test_hello_says_what_is_served(executor: ExecutorProcess, front: Front) -> None:
    with executor.attach() as another:
        hello = another.hello
    assert (hello["device"], hello["domain"], hello["pid"]) == ("0", "test", executor.pid)
    assert hello["memory_bytes"] == 2 << 30
    assert hello["compute_capability"] == [9, 0]
    assert hello["resident"] == []
    assert "Emulated" in hello["name"]


def test_inputs_are_asked_for_once_and_then_found(front: Front, actions: Actions) -> None:
    x, y = floats(N), floats(N)
    binding = actions["saxpy"].bind(x=x, y=y, a=3)
    keys = {"x": "key-x", "y": "key-y"}
    inv = front.start(actions["saxpy"], binding, keys)
    need = front.expect("need", inv)
    assert sorted(need["keys"]) == ["key-x", "key-y"]
    front.supply(inv, "key-x", x)
    front.supply(inv, "key-y", y, before=5000)
    done = front.expect("done", inv)
    np.testing.assert_allclose(front.inline(done, "z"), 3 * x + y, rtol=1e-6)
    assert done["stats"]["device_hits"] == []
    front.pending()
    assert sorted(front.added) == [["key-x", charge(4 * N)], ["key-y", charge(4 * N)]]
    assert sorted((frame["inv"], frame["key"]) for frame in front.copied) == [(inv, "key-x"), (inv, "key-y")]

    again = front.start(actions["saxpy"], actions["saxpy"].bind(x=x, y=y, a=4), keys)
    done = front.expect("done", again)
    np.testing.assert_allclose(front.inline(done, "z"), 4 * x + y, rtol=1e-6)
    assert sorted(done["stats"]["device_hits"]) == ["key-x", "key-y"]
    assert front.pending() == []


def test_stats_are_milliseconds_that_add_up(front: Front, actions: Actions) -> None:
    done, _ = front.run(actions["saxpy"], {"x": floats(N), "y": floats(N)})
    stats = done["stats"]
    assert stats["load_ms"] > 0
    assert 0 < stats["gpu_ms"] <= stats["compute_ms"]


def test_inline_values_come_as_data(front: Front, actions: Actions) -> None:
    x, y = floats(8), floats(8)
    inv = front.start(actions["saxpy"], actions["saxpy"].bind(x=x, y=y), {"x": "x", "y": "y"})
    front.expect("need", inv)
    for key, array in (("x", x), ("y", y)):
        text = base64.b64encode(array.tobytes()).decode()
        front.send("supply", inv=inv, key=key, offset=0, size=array.nbytes, data=text)
    np.testing.assert_allclose(front.inline(front.expect("done", inv), "z"), 2 * x + y, rtol=1e-6)


def test_one_object_bound_twice_is_loaded_once(front: Front, actions: Actions) -> None:
    x = floats(N)
    inv = front.start(actions["saxpy"], actions["saxpy"].bind(x=x, y=x), {"x": "same", "y": "same"})
    assert front.expect("need", inv)["keys"] == ["same"]
    front.supply(inv, "same", x)
    np.testing.assert_allclose(front.inline(front.expect("done", inv), "z"), 3 * x, rtol=1e-6)


def test_two_invocations_share_one_load(front: Front, actions: Actions) -> None:
    x = floats(N)
    keys = {"x": "same", "y": "same"}
    binding = actions["saxpy"].bind(x=x, y=x)
    first, second = (front.start(actions["saxpy"], binding, keys) for _ in range(2))
    assert front.expect("need", first)["keys"] == ["same"]
    assert front.pending() == []
    front.supply(first, "same", x)
    for inv in (first, second):
        np.testing.assert_allclose(front.inline(front.expect("done", inv), "z"), 3 * x, rtol=1e-6)
    assert front.pending() == []


def test_a_load_passes_on_when_its_invocation_is_dropped(front: Front, actions: Actions) -> None:
    x = floats(N)
    keys = {"x": "same", "y": "same"}
    binding = actions["saxpy"].bind(x=x, y=x)
    first, second = (front.start(actions["saxpy"], binding, keys) for _ in range(2))
    front.expect("need", first)
    front.send("drop", inv=first)
    assert front.expect("failed", first)["error"]["code"] == "cancelled"
    assert front.expect("need", second)["keys"] == ["same"]
    # The first supply comes too late for its invocation, and does no harm.
    front.supply(first, "same", floats(N))
    front.supply(second, "same", x)
    np.testing.assert_allclose(front.inline(front.expect("done", second), "z"), 3 * x, rtol=1e-6)


def test_a_supply_of_the_wrong_size_fails_who_waits_and_nobody_else(front: Front, actions: Actions) -> None:
    x = floats(N)
    binding = actions["saxpy"].bind(x=x, y=x)
    inv = front.start(actions["saxpy"], binding, {"x": "same", "y": "same"})
    front.expect("need", inv)
    front.supply(inv, "same", floats(10))
    failed = front.expect("failed", inv)
    assert (failed["error"]["code"], failed["fatal"]) == ("internal", False)
    front.run(actions["saxpy"], {"x": x, "y": x})


def test_a_segment_that_is_too_short_is_an_error_and_no_bus_error(front: Front, actions: Actions) -> None:
    x = floats(N)
    inv = front.start(actions["saxpy"], actions["saxpy"].bind(x=x, y=x), {"x": "same", "y": "same"})
    front.expect("need", inv)
    empty = os.memfd_create("short")
    front.send("supply", empty, inv=inv, key="same", offset=0, size=x.nbytes)
    os.close(empty)
    assert "has no 4000 bytes" in front.expect("failed", inv)["error"]["message"]


def test_cached_inputs_are_never_changed(front: Front, actions: Actions) -> None:
    x, y = floats(N), floats(N)
    for hits in ([], ["x", "y"], ["x", "y"]):
        done, _ = front.run(actions["in_place"], {"x": x, "y": y})
        np.testing.assert_allclose(front.inline(done, "y"), x + y, rtol=1e-6)
        assert sorted(done["stats"]["device_hits"]) == hits
    done, _ = front.run(actions["saxpy"], {"x": x, "y": y}, a=1)
    np.testing.assert_allclose(front.inline(done, "z"), x + y, rtol=1e-6)


@pytest.mark.parametrize("rounds", [0, 1, 2, 3, 1000])
def test_loops_with_swap_and_index_equal_numpy(front: Front, actions: Actions, rounds: int) -> None:
    x = floats(64)
    done, _ = front.run(actions["smooth"], {"x": x}, rounds=rounds)
    if rounds:
        np.testing.assert_allclose(front.inline(done, "z"), smoothed(x, rounds), rtol=1e-4)
    again, _ = front.run(actions["smooth"], {"x": x}, rounds=1)
    np.testing.assert_allclose(front.inline(again, "z"), smoothed(x, 1), rtol=1e-5)


def test_patterns_of_all_sizes(front: Front, actions: Actions) -> None:
    done, _ = front.run(actions["patterns"], {})
    assert front.inline(done, "b", "int16").tolist() == [258] * 13
    assert front.inline(done, "d8", "float64").tolist() == [0.1] * 13
    assert front.inline(done, "c16", "complex128").tolist() == [1.5 - 2.5j] * 13


def test_empty_arrays(front: Front, actions: Actions) -> None:
    done, _ = front.run(actions["saxpy"], {"x": floats(0), "y": floats(0)})
    assert done["inline"] == {"z": ""}


@pytest.mark.parametrize("size", [N, 1 << 20])
def test_outputs_reach_their_segments_and_are_adopted(front: Front, actions: Actions, size: int) -> None:
    x, y = floats(size), floats(size)
    segment = os.memfd_create("result")
    os.ftruncate(segment, x.nbytes + 100)
    binding = actions["saxpy"].bind(x=x, y=y)
    inv = front.start(actions["saxpy"], binding, {"x": "x", "y": "y"}, {"z": segment})
    done = front.finish(inv, {"x": x, "y": y})
    assert done["inline"] == {}
    z = np.frombuffer(os.pread(segment, x.nbytes + 100, 0), np.float32)
    np.testing.assert_allclose(z[:size], 2 * x + y, rtol=1e-6)
    assert not z[size:].any()
    os.close(segment)

    front.send("adopt", inv=inv, keys={"z": "key-z"})
    chained = front.start(actions["saxpy"], binding, {"x": "key-z", "y": "y"})
    done = front.expect("done", chained)
    assert sorted(done["stats"]["device_hits"]) == ["key-z", "y"]
    np.testing.assert_allclose(front.inline(done, "z"), 2 * z[:size] + y, rtol=1e-6)

    front.send("rename", keys={"key-z": "etag-z", "absent": "too"})
    for key in ("etag-z", "key-z"):
        done = front.expect("done", front.start(actions["saxpy"], binding, {"x": key, "y": "y"}))
        assert sorted(done["stats"]["device_hits"]) == [key, "y"]


def test_an_output_is_adopted_wherever_the_swaps_left_it(front: Front, actions: Actions) -> None:
    x = floats(64)
    for rounds in (1, 2):
        segment = os.memfd_create("result")
        os.ftruncate(segment, x.nbytes)
        binding = actions["smooth"].bind(x=x, rounds=rounds)
        inv = front.start(actions["smooth"], binding, {"x": "x"}, {"z": segment})
        front.finish(inv, {"x": x})
        z = np.frombuffer(os.pread(segment, x.nbytes, 0), np.float32)
        os.close(segment)
        front.send("adopt", inv=inv, keys={"z": f"after-{rounds}"})
        chained = front.start(
            actions["saxpy"], actions["saxpy"].bind(x=x, y=x, a=0), {"x": "x", "y": f"after-{rounds}"}
        )
        np.testing.assert_array_equal(front.inline(front.expect("done", chained), "z"), z)


def test_dropped_outputs_are_not_kept(front: Front, actions: Actions) -> None:
    x = floats(N)
    segment = os.memfd_create("result")
    os.ftruncate(segment, x.nbytes)
    inv = front.start(actions["saxpy"], actions["saxpy"].bind(x=x, y=x), {"x": "x", "y": "x"}, {"z": segment})
    front.finish(inv, {"x": x})
    os.close(segment)
    front.send("drop", inv=inv)
    front.send("adopt", inv=inv, keys={"z": "key-z"})
    chained = front.start(actions["saxpy"], actions["saxpy"].bind(x=x, y=x), {"x": "x", "y": "key-z"})
    assert front.expect("need", chained)["keys"] == ["key-z"]


def test_memory_between_tenants_is_cleared_where_the_front_says_so(front: Front, actions: Actions) -> None:
    x = floats(N)
    seen = []
    for scrub in (False, True):
        front.run(actions["paint"], {"x": x})
        inv = front.start(actions["peek"], actions["peek"].bind(x=x), {"x": "x"}, scrub=scrub)
        done = front.expect("done", inv)
        seen.append(set(front.inline(done, "z")))
        assert set(front.inline(done, "w")) == {0.0}
    # The same blocks are used again: without `scrub` an invocation sees what the last one left.
    assert seen == [{7.0}, {0.0}]


def test_a_launch_that_only_its_index_makes_invalid_fails_alone(front: Front, actions: Actions) -> None:
    x = floats(N)
    inv = front.start(actions["too_wide"], actions["too_wide"].bind(x=x), {"x": "x"})
    front.expect("need", inv)
    front.supply(inv, "x", x)
    failed = front.expect("failed", inv)
    assert (failed["error"]["code"], failed["fatal"]) == ("launch_invalid", False)
    assert "2048" in failed["error"]["message"]
    assert "kaas.yaml" in failed["error"]["where"]
    done, _ = front.run(actions["saxpy"], {"x": x, "y": floats(N)})
    assert "x" in done["stats"]["device_hits"]


def test_many_invocations_leave_nothing_behind(executor: ExecutorProcess, front: Front, actions: Actions) -> None:
    x, y = floats(N), floats(N)

    def round_of(number: int) -> None:
        segment = os.memfd_create("result")
        os.ftruncate(segment, x.nbytes)
        keys = {"x": f"x{number % 7}", "y": "y"}
        inv = front.start(actions["saxpy"], actions["saxpy"].bind(x=x, y=y), keys, {"z": segment})
        front.finish(inv, {keys["x"]: x, "y": y})
        os.close(segment)
        front.send("adopt" if number % 2 else "drop", inv=inv, keys={"z": f"z{number % 5}"})

    for number in range(50):
        round_of(number)
    front.pending()
    descriptors, memory = executor.descriptors(), executor.resident_bytes()
    for number in range(200):
        round_of(number)
    front.pending()
    assert executor.descriptors() == descriptors
    assert executor.resident_bytes() - memory < 1 << 20


def test_an_idle_executor_sleeps(executor: ExecutorProcess, front: Front, actions: Actions) -> None:
    front.run(actions["saxpy"], {"x": floats(N), "y": floats(N)})
    front.pending()
    wait_channel = Path(f"/proc/{executor.pid}/syscall")
    # 232 and 281 are epoll_wait and epoll_pwait; the third number is the time it waits, -1 for ever.
    until(lambda: wait_channel.read_text().split()[0] in ("232", "281"), "it does not wait for events")
    assert int(wait_channel.read_text().split()[4], 16) & 0xFFFFFFFF == 0xFFFFFFFF
