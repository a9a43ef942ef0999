"""Blocks that leave a part of a warp idle."""

from __future__ import annotations

import math
from collections.abc import Iterator

from kaas_pool.findings.finding import Finding, note
from kaas_pool.findings.subject import Subject, whole

#: Threads that a device runs in step, on every device so far.
WARP = 32


def find(subject: Subject) -> Iterator[Finding]:
    """Blocks whose threads are no multiple of a warp."""
    for step, loops in subject.launches:
        for names in subject.environments(loops):
            extents = [whole(extent, names) for extent in step.block]
            threads = math.prod(extent for extent in extents if extent is not None)
            if None in extents or threads % WARP == 0:
                continue
            idle = -threads % WARP
            yield note(
                step.place("block"),
                f"a block of {step.kernel} has {threads} threads{subject.given(step.block, names)}, "
                f"no multiple of {WARP}",
                f"the device runs them {WARP} at a time, so {idle} of {threads + idle} places stay idle in every block",
                f"use a multiple of {WARP}, such as {max(threads + idle, WARP)}",
            )
            break
