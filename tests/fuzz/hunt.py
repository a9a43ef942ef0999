"""Running a property on many generated cases: a short, fixed run in `make test`, a long one in `make fuzz`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

_T = TypeVar("_T")

#: Cases of the long run over all targets; 0 is the short run, whose cases are the same every time.
CASES = int(os.environ.get("KAAS_FUZZ_CASES", "0"))

#: What the coverage-guided runs start from; the others get theirs by --hypothesis-seed.
SEED = int(os.environ.get("KAAS_FUZZ_SEED", "1"))

#: How often each outcome came, by target.
TALLY: dict[str, Counter[str]] = {}

#: A slow machine is no finding, and generated objects are large on purpose.
_TIMED = [HealthCheck.too_slow, HealthCheck.data_too_large]


def hunt(
    target: str,
    strategy: st.SearchStrategy[_T],
    check: Callable[[_T], str],
    *,
    short: int,
    share: float,
    known: Iterable[_T] = (),
    outcomes: Iterable[str] = (),
) -> None:
    """Run `check` on `known` cases and on generated ones: `short` of them, or `share` of `CASES`.

    `check` raises for a finding, else it names the outcome. Each of `outcomes` has to come at least once, so that a
    generator that only makes one kind of case is noticed.
    """
    tally = TALLY.setdefault(target, Counter())
    before = tally.copy()
    for case in known:
        tally[check(case)] += 1

    @settings(
        max_examples=round(share * CASES) or short if CASES else short,
        derandomize=not CASES,
        database=None,
        suppress_health_check=_TIMED,
        phases=[Phase.generate, Phase.shrink],
    )
    @given(strategy)
    def run(case: _T) -> None:
        tally[check(case)] += 1

    run()
    missing = set(outcomes) - (tally - before).keys()
    assert not missing, f"no case of {target} ended as {missing}: {dict(tally)}"


def summary() -> list[str]:
    """One line for each target."""
    lines = []
    for target, tally in TALLY.items():
        kinds = ", ".join(f"{count} {outcome}" for outcome, count in tally.most_common())
        lines.append(f"{target}: {tally.total()} cases ({kinds})")
    return lines
