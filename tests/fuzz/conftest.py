"""The report of how many cases each target has had."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hunt import TALLY, summary


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several processes hands its counts to the one that reports."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["cases"] = {target: dict(tally) for target, tally in TALLY.items()}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for target, tally in getattr(node, "workeroutput", {}).get("cases", {}).items():
        TALLY.setdefault(target, Counter()).update(tally)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TALLY:
        terminalreporter.section("fuzz")
        for line in summary():
            terminalreporter.write_line(line)
        terminalreporter.write_line(f"in all: {sum(tally.total() for tally in TALLY.values())} cases")
