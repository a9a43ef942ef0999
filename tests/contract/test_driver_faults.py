"""Kernels that go wrong: the error, the context that stays broken, and a new process in which all is well."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from contract_device import KIND
from fresh_process import SECONDS, run, start

ILLEGAL_ADDRESS = "an illegal memory access was encountered"
LAUNCH_FAILED = "unspecified launch failure"
ASSERTION = "device-side assert triggered"

FAR = 1 << 40

#: kernel, threads, bytes of dynamic shared memory, arguments (None is a buffer of 4096 bytes), error
Fault = tuple[str, int, int, list[int | None], str]

FAULTS: dict[str, Fault] = {
    "far out of bounds": ("write_at", 1, 0, [None, FAR], ILLEGAL_ADDRESS),
    "after a barrier": ("write_after_wait", 64, 0, [None, FAR], ILLEGAL_ADDRESS),
    "trap": ("trap", 1, 0, [], LAUNCH_FAILED),
    "assertion": ("check", 32, 0, [4], ASSERTION),
}

#: What hardware may let pass or call otherwise.
EMULATED_FAULTS: dict[str, Fault] = {
    "just out of bounds": ("write_next", 1, 0, [None, 1024], ILLEGAL_ADDRESS),
    "beyond dynamic shared memory": ("write_shared", 32, 128, [None, 1000], ILLEGAL_ADDRESS),
    "endless recursion": ("recurse", 1, 0, [1_000_000, None], ILLEGAL_ADDRESS),
    "division by zero": ("divide", 1, 0, [None, 0], LAUNCH_FAILED),
    "threads that wait for each other": ("cross_wait", 64, 0, [None], LAUNCH_FAILED),
    "a mask without its own lane": ("foreign_mask", 32, 0, [None], LAUNCH_FAILED),
}


def check(fault: Fault) -> str:
    kernel, threads, shared, values, expected = fault
    answers, errors = run("fault", kernel, threads, shared, values)
    assert set(answers.values()) == {expected}, answers
    return errors


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_breaks_its_context(name: str) -> None:
    check(FAULTS[name])
    assert run("add")[0] == 42


@pytest.mark.skipif(KIND != "emulated", reason="hardware may let it pass")
@pytest.mark.parametrize("name", EMULATED_FAULTS)
def test_the_emulator_sees_more_faults(name: str) -> None:
    assert f"kernel {EMULATED_FAULTS[name][0]}, block (0, 0, 0)" in check(EMULATED_FAULTS[name])


@pytest.mark.skipif(KIND != "emulated", reason="a real driver may need a new process")
def test_a_new_context_works_after_a_fault(cuda: Any) -> None:
    answers, _ = run("recover")
    assert answers == [ILLEGAL_ADDRESS, 42]


def test_an_endless_kernel_holds_up_nobody() -> None:
    process = start("hang")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == '"hanging"\n'
        process.kill()
        assert process.wait(SECONDS) == -signal.SIGKILL
    finally:
        process.kill()
        process.communicate()
    assert run("add")[0] == 42


def test_a_forked_child_is_refused() -> None:
    assert run("fork")[0] == "initialization error"
