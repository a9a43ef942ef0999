"""The report of how many cases each target has had."""

from __future__ import annotations

import pytest
from hunt import TALLY, summary


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TALLY:
        terminalreporter.section("fuzz")
        for line in summary():
            terminalreporter.write_line(line)
        terminalreporter.write_line(f"in all: {sum(tally.total() for tally in TALLY.values())} cases")
