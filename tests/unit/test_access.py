"""What each step reads and writes."""

from __future__ import annotations

import pytest
from plan_cases import manifest_of, signatures_of

from kaas_pool.access import step_access


def access(step: str, *, signed: bool = True) -> tuple[str, str]:
    """The reads and writes of one step, as sorted letters."""
    manifest = manifest_of(f"  - {step}\n")
    found = step_access(manifest.steps[0], signatures_of(manifest) if signed else None)
    return "".join(sorted(found.reads)), "".join(sorted(found.writes))


def axpy(args: str, more: str = "") -> str:
    return f"{{kernel: axpy, source: a.cu, grid: [1], block: [1], args: [a, {args}, k]{more}}}"


@pytest.mark.parametrize(
    ("step", "reads", "writes"),
    [
        (axpy("x, z"), "xz", "z"),
        (axpy("null, z"), "z", "z"),
        (axpy("z, z"), "z", "z"),
        (axpy("{buffer: x, offset: 4}, z"), "xz", "z"),
        (axpy("x, z", ", reads: [x], writes: [z]"), "x", "z"),
        (axpy("x, z", ", reads: [x, z], writes: [z]"), "xz", "z"),
        ("{kernel: 'scale<float,4>', source: a.cu, grid: [1], block: [1], args: [a, x]}", "x", "x"),
        ("fill: {buffer: z, value: 0}", "", "z"),
        ("copy: {from: x, to: z}", "x", "z"),
        (f"repeat: {{times: 2, steps: [{axpy('x, z')}, {{copy: {{from: c, to: t}}}}]}}", "cxz", "tz"),
        ("repeat: {times: 2, swap: [z, t], steps: [{fill: {buffer: x, value: 0}}]}", "tz", "txz"),
        ("repeat: {times: 2, until: {buffer: c, below: 1}, steps: [{fill: {buffer: x, value: 0}}]}", "c", "x"),
    ],
)
def test_steps_read_and_write_what_they_say(step: str, reads: str, writes: str) -> None:
    assert access(step) == (reads, writes)


def test_without_a_signature_a_kernel_may_do_anything_but_what_it_declares() -> None:
    assert access(axpy("x, z"), signed=False) == ("xz", "xz")
    assert access(axpy("x, z", ", reads: [x], writes: [z]"), signed=False) == ("x", "z")
