"""Stop what `kaas up` started. The store's data stay."""

from __future__ import annotations

import argparse

from kaas_cli.access import state_directory
from kaas_cli.output import patience
from kaas_local.stack import stop


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no options."""


def run(given: argparse.Namespace) -> int:
    """Stop the stack, or say that none runs."""
    with patience("waiting for what runs in the pool to end"):
        stopped = stop(state_directory())
    print("stopped" if stopped else "nothing ran")
    return 0
