"""Loops that do nothing, or in every round the same."""

from __future__ import annotations

from collections.abc import Iterator

from kaas.graph import KernelStep, RepeatStep, walk
from kaas_pool.findings.finding import Finding, note, warning
from kaas_pool.findings.subject import Subject, whole
from kaas_pool.findings.uses import names_of
from kaas_pool.findings.words import listed


def find(subject: Subject) -> Iterator[Finding]:
    """One finding a loop, of what makes it idle; its `until` and `swap` for themselves."""
    for loop, loops in subject.placed:
        if not isinstance(loop, RepeatStep):
            continue
        inside = subject.inside(loop)
        exchanged = {name for step in walk((loop,)) if isinstance(step, RepeatStep) for name in step.swap or ()}
        yield from _times(subject, loop, loops)
        if loop.swap is not None and not inside.may_write & set(loop.swap):
            yield warning(
                loop.where,
                f"the loop swaps {listed(loop.swap)}, and no step in it writes either",
                "the two only change places from round to round",
                f"write {loop.swap[1]} in the loop, so that {loop.swap[0]} holds the new values after the swap, "
                "or leave out swap",
            )
        if loop.until is not None and loop.until.buffer not in inside.may_write | exchanged:
            name = loop.until.buffer
            yield warning(
                loop.until.where,
                f"the loop ends when {name} is below a bound, and no step in it writes {name}",
                "the first look decides, and it is never another",
                f"compute {name} in the loop, or leave out until",
            )
        depends = inside.may_write & inside.looked_at
        varies = loop.index is not None and any(loop.index in names_of(step) for step in walk(loop.steps))
        if not depends and not varies and not exchanged and not _is_short(loop):
            kernels = sum(isinstance(step, KernelStep) for step in walk(loop.steps))
            yield warning(
                loop.where,
                "no step in the loop reads what the loop writes, and none uses a loop index",
                "every round computes the same as the first" if kernels else "every round does the same as the first",
                "write the steps without repeat; or, if the rounds build on each other, swap the buffers: "
                "swap: [x, x_new]",
            )


def _times(subject: Subject, loop: RepeatStep, loops: tuple[RepeatStep, ...]) -> Iterator[Finding]:
    if loop.times.constant is not None and whole(loop.times, {}) == 0:
        yield warning(
            loop.times.where, "times is 0", "no step of the loop ever runs", "give a number of rounds, or remove it"
        )
    elif loop.times.is_name and loop.times.names <= subject.manifest.params.keys():
        # What is computed from sizes may well be 0 for some: so a step is made to depend on them.
        rounds = [whole(loop.times, names) for names in subject.environments(loops)]
        if rounds and all(count == 0 for count in rounds):
            given = subject.given([loop.times], subject.environments(loops)[0])
            yield note(
                loop.times.where,
                f"times {loop.times.text!r} is 0{given}",
                "no step of the loop runs then",
                "check the default, or the value given",
            )


def _is_short(loop: RepeatStep) -> bool:
    """Whether there is no second round that could differ."""
    return loop.times.constant is not None and loop.times.constant <= 1
