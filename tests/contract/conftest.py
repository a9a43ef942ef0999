"""Contexts for the contract tests: what the pool relies on must hold on the emulated device and on a real one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import contract_device
import pytest


@pytest.fixture(scope="session")
def cuda() -> Any:
    """`pycuda.driver` on the chosen device."""
    return contract_device.driver()


@pytest.fixture
def context(cuda: Any) -> Iterator[Any]:
    """A context of the test's own, current while it runs."""
    made = cuda.Device(0).make_context()
    try:
        yield made
    finally:
        # PyCUDA aborts the process if it exits with a context pushed.
        made.pop()
        made.detach()


@pytest.fixture
def gate(context: Any) -> Iterator[contract_device.Gate]:
    """A closed gate; opened at the end, so that no kernel waits for ever."""
    made = contract_device.Gate()
    try:
        yield made
    finally:
        made.open()
        context.synchronize()
