"""Faults that the environment asks the emulated device for, and its watchdog."""

from __future__ import annotations

import signal

import pytest
from contract_device import KIND
from fresh_process import SECONDS, run, start

pytestmark = pytest.mark.skipif(KIND != "emulated", reason="a real device goes wrong by itself")

OK = "ok"
OUT_OF_MEMORY = "out of memory"
ILLEGAL_ADDRESS = "an illegal memory access was encountered"
TIMED_OUT = "the launch timed out and was terminated"
UNKNOWN = "unknown error"

#: Allocations that `operate` makes before its steps.
BEFORE = 2


def statuses(steps: list[str], faults: str, **environment: str) -> tuple[list[str], str]:
    """What each step answered, and what is told of the first fault."""
    (*answers, (told, _)), _ = run("operate", steps, KAAS_EMULATOR_FAULTS=faults, **environment)
    return [status for status, _ in answers], told


def test_the_nth_allocation_fails_and_nothing_else() -> None:
    answers, told = statuses(["allocate"] * 4, f"allocation-fails:nth={BEFORE + 3}")
    assert answers == [OK, OK, OUT_OF_MEMORY, OK]
    assert told == ""


def test_an_allocation_that_fails_twice_fails_in_pycuda_too() -> None:
    answers, _ = statuses(["allocate through PyCUDA"] * 3, f"allocation-fails:nth={BEFORE + 2},times=2")
    assert answers == [OK, OUT_OF_MEMORY, OK]


def test_every_nth_allocation_fails() -> None:
    answers, _ = statuses(["allocate"] * 6, f" allocation-fails: every={BEFORE + 1} ; ")
    assert answers == [OUT_OF_MEMORY, OK, OK, OUT_OF_MEMORY, OK, OK]


def test_a_random_rule_does_the_same_for_the_same_seed() -> None:
    steps = ["to host"] * 3 + ["set"] * 60

    def pattern(seed: int) -> list[str]:
        return statuses(steps, f"launch-slow:p=0.3,seed={seed},for=0us; launch-faults:p=0.05,seed={seed}")[0]

    first = pattern(7)
    assert first == pattern(7)
    # The first fault is the last: it sticks.
    assert first.index(ILLEGAL_ADDRESS) != pattern(8).index(ILLEGAL_ADDRESS)


@pytest.mark.parametrize(("p", "expected"), [("0", OK), ("1.0", OUT_OF_MEMORY)])
def test_never_and_always(p: str, expected: str) -> None:
    told, _ = run("allocations", 40, KAAS_EMULATOR_FAULTS=f"allocation-fails:p={p}")
    assert told == [expected] * 40


def test_about_as_many_as_asked_for_fail() -> None:
    told, _ = run("allocations", 1000, KAAS_EMULATOR_FAULTS="allocation-fails:p=0.1,seed=3")
    # The seed is fixed, so this is one number; within four standard deviations of 100.
    assert 62 < told.count(OUT_OF_MEMORY) < 138


def test_the_nth_launch_faults() -> None:
    answers, told = statuses(["set", "set", "set"], "launch-faults:nth=2")
    assert answers == [OK, ILLEGAL_ADDRESS, ILLEGAL_ADDRESS]
    assert told == "set: a fault that KAAS_EMULATOR_FAULTS asks for"


def test_a_slow_launch_is_late_and_right() -> None:
    answers, _ = run("operate", ["set", "set", "to host"], KAAS_EMULATOR_FAULTS="launch-slow:nth=2,for=300ms")
    assert [status for status, _ in answers[:3]] == [OK, OK, OK]
    assert answers[1][1] >= 0.3


def test_a_launch_that_hangs_ends_with_its_process() -> None:
    process = start("hang", "set", KAAS_EMULATOR_FAULTS="launch-hangs:nth=1")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == '"hanging"\n'
        process.kill()
        assert process.wait(SECONDS) == -signal.SIGKILL
    finally:
        process.kill()
        process.communicate()


def test_the_watchdog_ends_a_launch_that_hangs() -> None:
    answers, told = statuses(["set", "set", "set"], "launch-hangs:nth=2", KAAS_EMULATOR_WATCHDOG_MS="200")
    assert answers == [OK, TIMED_OUT, TIMED_OUT]
    assert told.startswith("set: it ran longer than KAAS_EMULATOR_WATCHDOG_MS allows")


@pytest.mark.parametrize(("step", "kernel"), [("endless", "endless"), ("barriers", "endless_barriers")])
def test_the_watchdog_ends_an_endless_kernel(step: str, kernel: str) -> None:
    answers, told = statuses(["set", step, "to host"], "", KAAS_EMULATOR_WATCHDOG_MS="300")
    assert answers == [OK, TIMED_OUT, TIMED_OUT]
    assert told.startswith(f"{kernel} (control.cu:")
    assert "it ran longer than KAAS_EMULATOR_WATCHDOG_MS allows in block (0,0,0)" in told


def test_a_new_context_works_after_the_watchdog() -> None:
    answers, _ = statuses(["endless", "context", "load", "set"], "", KAAS_EMULATOR_WATCHDOG_MS="300")
    assert answers[:3] == [TIMED_OUT, OK, OK]


def test_a_lost_device_stays_lost() -> None:
    answers, told = statuses(["set", "to host", "set", "allocate", "context by the driver"], "device-lost:nth=5")
    # Two allocations and a launch before it, and the copy.
    assert answers == [OK, OK, UNKNOWN, UNKNOWN, UNKNOWN]
    assert told == "the device is lost, as KAAS_EMULATOR_FAULTS asks for"


@pytest.mark.parametrize("lost", ["allocate", "to host", "set"])
def test_any_operation_can_lose_the_device(lost: str) -> None:
    answers, _ = statuses(["set", lost, "set"], f"device-lost:nth={BEFORE + 2}")
    assert answers == [OK, UNKNOWN, UNKNOWN]


def test_a_copy_stalls_for_a_while() -> None:
    answers, _ = run("operate", ["to host", "to device", "to host"], KAAS_EMULATOR_FAULTS="copy-stalls:nth=2,for=300ms")
    assert [status for status, _ in answers[:3]] == [OK, OK, OK]
    assert answers[1][1] >= 0.3


def test_a_copy_that_stalls_for_ever_holds_up_its_direction_alone() -> None:
    assert run("directions", KAAS_EMULATOR_FAULTS="copy-stalls:nth=1")[0] == [False, 5]


def test_a_stalled_copy_ends_with_its_context() -> None:
    answers, _ = run("stalled", KAAS_EMULATOR_FAULTS="copy-stalls:nth=1; launch-faults:nth=1")
    assert answers == [ILLEGAL_ADDRESS, 5]


@pytest.mark.parametrize(
    ("faults", "told"),
    [
        (
            "launch-hang:nth=2",
            "NAME:KEY=VALUE,..., where the name is one of allocation-fails, copy-stalls, device-lost, ",
        ),
        ("launch-hangs", "launch-hangs:KEY=VALUE,..., each key once, of nth, times, every, p, seed"),
        ("launch-hangs:nht=2", "launch-hangs:KEY=VALUE,..., each key once, of nth, times, every, p, seed"),
        ("launch-hangs:nth=2,nth=3", "each key once"),
        ("launch-hangs:nth=2,for=1s", "of nth, times, every, p, seed"),
        ("launch-hangs:nth=0", "a rule whose nth is a whole number from 1 on"),
        ("launch-hangs:nth=-1", "a rule whose nth is a whole number from 1 on"),
        ("launch-hangs:nth=two", "a rule whose nth is a whole number from 1 on"),
        ("launch-hangs:nth=", "a rule whose nth is a whole number from 1 on"),
        ("launch-hangs:nth=1,p=0.5", "a rule with exactly one of nth=N, every=N and p=P"),
        ("launch-hangs:nth=1,seed=3", "a rule that has p=P where it has seed=N"),
        ("launch-hangs:every=2,times=3", "a rule that has nth=N where it has times=N"),
        ("launch-hangs:p=1.5", "a rule whose p is a number from 0 to 1"),
        ("launch-hangs:p=nan", "a rule whose p is a number from 0 to 1"),
        ("launch-slow:nth=1", "a rule with for=TIME, such as for=500ms"),
        ("launch-slow:nth=1,for=3", "a rule whose for is a time, such as 10us, 5ms or 2s"),
        ("launch-slow:nth=1,for=-3s", "a rule whose for is a time, such as 10us, 5ms or 2s"),
        ("allocation-fails:nth=1;copy-stall:nth=1", 'is "copy-stall:nth=1"; it must be'),
    ],
)
def test_a_slip_is_refused_at_initialisation(faults: str, told: str) -> None:
    (code, refused), errors = run("refusal", KAAS_EMULATOR_FAULTS=faults)
    assert code == "CUDA_ERROR_INVALID_VALUE"
    assert refused.startswith('KAAS_EMULATOR_FAULTS is "')
    assert told in refused
    assert f"kaas-emulator: {refused}" in errors


def test_a_watchdog_that_is_no_number_is_refused() -> None:
    (code, refused), _ = run("refusal", KAAS_EMULATOR_WATCHDOG_MS="1s")
    assert code == "CUDA_ERROR_INVALID_VALUE"
    assert refused.startswith('KAAS_EMULATOR_WATCHDOG_MS is "1s"; it must be')
