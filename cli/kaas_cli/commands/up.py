"""Start an object store, a GPU pool and an OpenWhisk API on this machine.

They listen on this machine only, with keys of their own, and keep their data in one directory: $KAAS_STATE_DIR, else
kaas in $XDG_STATE_HOME or ~/.local/state. What dies is started again. `kaas down` stops them.

The OpenWhisk API is for one developer's machine: its actions run as your own processes, with no wall between them.
"""

from __future__ import annotations

import argparse
import contextlib

from kaas_cli.access import local_environment, state_directory, wsk_line
from kaas_cli.devices import add_device_argument, add_unsandboxed_argument, describe
from kaas_cli.output import note, patience
from kaas_local import stack as local
from kaas_local.credentials import BUCKETS
from kaas_local.state import Stack, StateDirectory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_device_argument(parser)
    parser.add_argument("--devices", type=_positive, default=1, metavar="N", help="how many devices to serve (1)")
    add_unsandboxed_argument(parser)


def run(given: argparse.Namespace) -> int:
    """Start the stack, or say that it runs."""
    state = state_directory()
    running = state.running()
    if running is not None:
        print("runs already")
        _print(state, running)
        return 0
    stack = start(
        state,
        local.choose_device(given.device),
        devices=given.devices,
        allow_unsandboxed=given.allow_unsandboxed,
    )
    _print(state, stack)
    return 0


def start(
    state: StateDirectory,
    device: local.Kind,
    *,
    devices: int = 1,
    allow_unsandboxed: bool = False,
    dies_with_parent: bool = False,
) -> Stack:
    """Start the stack, saying what is waited for."""
    with contextlib.ExitStack() as waiting:

        def on_step(step: str) -> None:
            waiting.pop_all().close()
            waiting.enter_context(patience(f"waiting for {step}"))

        return local.start(
            state,
            device,
            devices=devices,
            allow_unsandboxed=allow_unsandboxed,
            dies_with_parent=dies_with_parent,
            on_step=on_step,
        )


def _print(state: StateDirectory, stack: Stack) -> None:
    buckets = " and ".join(f"s3://{bucket}" for bucket in BUCKETS)
    print(f"object store  {stack.store_url}  buckets {buckets}")
    print(f"GPU pool      {stack.pool_url}")
    print(f"OpenWhisk API {stack.api_url}  for development: actions run as your own processes")
    print(f"device        {describe(stack.device)}")
    print(f"state, logs   {state.path}")
    note('\nfor other programs:  eval "$(kaas env)"')
    variables = local_environment()
    if variables is not None:
        note(f"for OpenWhisk's:     {wsk_line(variables)}")


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)
