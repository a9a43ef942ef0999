"""Kernels that go wrong: the error, the context that stays broken, and a new process in which all is well."""

from __future__ import annotations

import re
import signal
from typing import Any

import pytest
from contract_device import KERNELS, KIND
from fresh_process import SECONDS, run, start

ILLEGAL_ADDRESS = "an illegal memory access was encountered"
LAUNCH_FAILED = "unspecified launch failure"
STACK_ERROR = "hardware stack error"
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
    "endless recursion": ("recurse", 1, 0, [1_000_000, None], STACK_ERROR),
    "division by zero": ("divide", 1, 0, [None, 0], LAUNCH_FAILED),
    "threads that wait for each other": ("cross_wait", 64, 0, [None], LAUNCH_FAILED),
    "a mask without its own lane": ("foreign_mask", 32, 0, [None], LAUNCH_FAILED),
    "a null pointer": ("write_through", 1, 0, [0, 0], ILLEGAL_ADDRESS),
    "a barrier in a loop that half of them leave": ("leave_early", 64, 0, [None], LAUNCH_FAILED),
    "an atomic in a function of ours": ("add_far", 1, 0, [None, FAR], ILLEGAL_ADDRESS),
}

#: What the emulator tells of each, in its words; `LINE` is the line of the kernel that says "here".
TOLD = {
    "far out of bounds": r"write_at \(control\.cu:LINE\): an access to something that is not an address in "
    r"block \(0,0,0\)",
    "after a barrier": r"write_after_wait \(control\.cu:LINE\): an access .* in block \(0,0,0\), thread \(63,0,0\)",
    "trap": r"trap \(control\.cu:LINE\): __trap\(\) was called in block \(0,0,0\), thread \(0,0,0\)",
    "assertion": r"check \(control\.cu:LINE\): assertion 'value == 3 && \"three\"' failed in block \(0,0,0\), "
    r"thread \(0,0,0\)",
    "just out of bounds": r"write_next \(control\.cu:LINE\): a write at address 0x[0-9a-f]+, just past the end of a "
    r"buffer of 4096 bytes in block",
    "beyond dynamic shared memory": r"write_shared \(control\.cu:LINE\): a write 3872 bytes past the end of the "
    r"block's 128 bytes of dynamic shared memory in block",
    "endless recursion": r"recurse \(control\.cu:\d+\): a thread's stack overflowed in block \(0,0,0\)",
    "division by zero": r"divide \(control\.cu:LINE\): an integer division by zero",
    "threads that wait for each other": r"cross_wait \(control\.cu:LINE\): the threads of block \(0,0,0\) wait for "
    r"each other and none can go on: 32 threads, the first \(16,0,0\), at the block's barrier \(control\.cu:LINE\); "
    r"32 threads, the first \(0,0,0\), at a warp barrier \(control\.cu:\d+\) with mask 0xffffffff",
    "a mask without its own lane": r"foreign_mask \(control\.cu:LINE\): a warp function is called with mask "
    r"0xfffffffe, which leaves out its own lane 0 in block \(0,0,0\), thread \(0,0,0\)",
    "a null pointer": r"write_through \(control\.cu:LINE\): a write through a null pointer \(address 0x0\) in block",
    "a barrier in a loop that half of them leave": r"leave_early \(control\.cu:\d+\): the threads of block .* wait .*"
    r"32 threads, the first \(0,0,0\), at the block's barrier \(control\.cu:\d+\); "
    r"32 threads, the first \(16,0,0\), at a vote \(control\.cu:\d+\) with mask 0xffffffff",
    "an atomic in a function of ours": r"add_far \(control\.cu:LINE\): an access ",
}


def line_of(kernel: str) -> int:
    """The line of `control.cu` marked "here" after the kernel's name, or the kernel's own."""
    lines = (KERNELS / "control.cu").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if f" void {kernel}(" in line)
    end = next((number for number in range(start + 1, len(lines)) if "__global__" in lines[number]), len(lines))
    marked = [number for number in range(start, end) if "// here" in lines[number]]
    return (marked or [start])[0] + 1


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
    check(EMULATED_FAULTS[name])


@pytest.mark.skipif(KIND != "emulated", reason="a real driver tells the code alone")
@pytest.mark.parametrize("name", TOLD)
def test_the_emulator_tells_where_and_what(name: str) -> None:
    kernel, threads, shared, values, _ = (FAULTS | EMULATED_FAULTS)[name]
    (told, again), errors = run("explain", kernel, threads, shared, values)
    assert re.fullmatch(TOLD[name].replace("LINE", str(line_of(kernel))) + ".*", told), told
    assert again == "", "a new context knows nothing of another's fault"
    assert errors.splitlines().count(f"kaas-emulator: {told}") == 1


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
