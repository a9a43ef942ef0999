"""A stack of the tests' own: object store and pool, as `kaas up` starts them."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from kaas_local import stack as local
from kaas_local.credentials import Credentials
from kaas_local.state import Process, Stack, StateDirectory

#: What the slowest test machine may need for anything at all.
PATIENCE_SECONDS = 100.0


@contextmanager
def running_stack(directory: Path) -> Iterator[tuple[StateDirectory, Stack, dict[str, str]]]:
    """Start a stack, and stop whatever runs in the directory at the end. Gives its variables too."""
    state = StateDirectory(directory)
    try:
        stack = local.start(state, "emulated", dies_with_parent=True)
        credentials = Credentials.load(state)
        assert credentials is not None
        yield state, stack, local.environment(stack, credentials)
    finally:
        local.stop(state)


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait for a condition that another process brings about."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    pause = Event()
    while not holds():
        assert time.monotonic() < give_up, f"never came about: {what}"
        pause.wait(0.02)


def wait_for_end(process: Process) -> None:
    """Wait until a process that is nobody's child here has ended."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if process.is_alive:
            assert select.select([descriptor], [], [], PATIENCE_SECONDS)[0], f"process {process.pid} still runs"
    finally:
        os.close(descriptor)
