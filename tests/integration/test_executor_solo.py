"""Bundles run in a process of their own choosing, without a pool."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from executor_actions import Actions, actions

from kaas.errors import KaasError
from kaas_pool.executor.solo import bind_arrays

__all__ = ["actions"]

#: Runs in a process of its own: whoever imports PyCUDA has a driver for life.
PROGRAM = """
import sys
from pathlib import Path

import numpy as np
from executor_actions import Actions

from kaas.errors import KaasError
from kaas_pool.executor.solo import Solo, run_bundle

actions = Actions(Path(sys.argv[1]))
x = np.arange(24, dtype=np.float32)


def saxpy():
    one = actions["saxpy"]
    outcome = run_bundle(one.bundle, one.compiled, {"x": x, "y": [1.0] * 24, "a": 3}, "emulated")
    np.testing.assert_allclose(outcome.outputs["z"], 3 * x + 1)
    assert outcome.stats["gpu_ms"] > 0


def other_orders():
    one = actions["saxpy"]
    given = {"x": np.repeat(x, 2)[::2].astype(">f4"), "y": np.ones(24, ">f4"), "a": 3}
    outcome = run_bundle(one.bundle, one.compiled, given, "emulated")
    np.testing.assert_array_equal(outcome.outputs["z"], 3 * x + 1)


def twice():
    solo = Solo("emulated")
    try:
        for name, output, factor in (("in_place", "y", 2), ("saxpy", "z", 3), ("in_place", "y", 2)):
            one = actions[name]
            outcome = solo.run(one.bundle, one.compiled, {"x": x, "y": x})
            np.testing.assert_allclose(outcome.outputs[output], factor * x)
    finally:
        solo.close()


def fault():
    one = actions["fault"]
    try:
        run_bundle(one.bundle, one.compiled, {"x": x}, "emulated")
    except KaasError as error:
        assert error.code == "kernel_fault", error
    else:
        raise AssertionError("no fault")


def wrong():
    one = actions["saxpy"]
    try:
        run_bundle(one.bundle, one.compiled, {"x": x, "y": np.zeros(24)}, "emulated")
    except KaasError as error:
        assert error.code == "dtype_mismatch", error
    else:
        raise AssertionError("no error")
    saxpy()


def graphs():
    solo = Solo("emulated")
    try:
        one = actions["settle"]
        outcome = solo.run(one.bundle, one.compiled, {"x": np.full(9, 100, np.float32), "every": 4})
        assert outcome.stats["rounds"] == [8], outcome.stats
        np.testing.assert_array_equal(outcome.outputs["z"], np.full(9, 0.390625))
        one = actions["branches"]
        outcome = solo.run(one.bundle, one.compiled, {"x": x, "rounds": 1})
        np.testing.assert_array_equal(outcome.outputs["z"], 5 * x + 1)
        assert "rounds" not in outcome.stats
    finally:
        solo.close()


def page_locked():
    solo = Solo("emulated")
    solo.device.page_lock_bytes = 1 << 20
    one = actions["saxpy"]
    big = np.arange(1 << 19, dtype=np.float32)
    try:
        for _ in range(3):
            outcome = solo.run(one.bundle, one.compiled, {"x": big, "y": big})
            np.testing.assert_allclose(outcome.outputs["z"], 3 * big)
    finally:
        solo.close()


globals()[sys.argv[2]]()
"""


@pytest.mark.parametrize("part", ["saxpy", "other_orders", "twice", "fault", "wrong", "graphs", "page_locked"])
def test_a_process_runs_bundles_and_ends_cleanly(part: str, actions: Actions) -> None:
    for name in ("saxpy", "in_place", "fault", "settle", "branches"):
        assert actions[name].compiled
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(actions.images), part],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # After a fault PyCUDA warns of every object that it cannot give back to the lost context.
    assert done.stderr == "" or part == "fault"


def test_arrays_are_bound_as_objects_are(actions: Actions) -> None:
    bundle = actions["saxpy"].bundle
    binding = bind_arrays(bundle, {"x": np.zeros(5, np.float32), "y": [0, 0, 0, 0, 0], "a": 1.5})
    assert binding.symbols == {"n": 5}
    with pytest.raises(KaasError, match="5"):
        bind_arrays(bundle, {"x": np.zeros(5, np.float32), "y": np.zeros(6, np.float32)})
    with pytest.raises(KaasError, match="not an element type"):
        bind_arrays(bundle, {"x": np.zeros(5, "U4"), "y": [0.0]})
