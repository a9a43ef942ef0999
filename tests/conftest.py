"""Options and markers that every test folder shares."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# Test machines are shared and slow in bursts: a deadline per example would be a timed assert.
settings.register_profile("kaas", deadline=None, print_blob=True)
settings.load_profile("kaas")

#: The kernel module's own report: there exactly where an NVIDIA driver is loaded.
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow = pytest.mark.skip(reason="slow: runs with --slow (make test-all)")
    gpu = pytest.mark.skip(reason=f"no NVIDIA driver here ({NVIDIA_DRIVER} is missing)")
    for item in items:
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(slow)
        if item.get_closest_marker("gpu") and not NVIDIA_DRIVER.exists():
            item.add_marker(gpu)
