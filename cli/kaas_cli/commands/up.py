"""Start an object store, a GPU pool and an OpenWhisk API on this machine.

  kaas up
  kaas up --namespace alice,bob     # besides `guest`: to try on one machine what one tenant has from another

They listen on this machine only, with keys of their own, and keep their data in one directory: $KAAS_STATE_DIR, else
kaas in $XDG_STATE_HOME or ~/.local/state. What dies is started again. `kaas down` stops them.

A namespace has its own keys, buckets, actions and activations, and is a tenant of the pool. Once made it stays, with
its keys; `kaas env --namespace NAME` prints them.

The OpenWhisk API is for one developer's machine: its actions run as your own processes, with no wall between them.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence

from kaas_cli.access import local_environment, state_directory, unknown_namespace, wsk_line
from kaas_cli.devices import add_device_argument, add_unsandboxed_argument, describe
from kaas_cli.output import PLATFORM, Failure, note, patience
from kaas_local import stack as local
from kaas_local.credentials import ADMIN, GUEST, OPERATOR, SHARED_BUCKET, Credentials, buckets_of, is_namespace
from kaas_local.state import Stack, StateDirectory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_device_argument(parser)
    parser.add_argument("--devices", type=_positive, default=1, metavar="N", help="how many devices to serve (1)")
    add_unsandboxed_argument(parser)
    parser.add_argument(
        "--namespace",
        dest="namespaces",
        type=_namespaces,
        action="extend",
        default=[],
        metavar="NAME[,...]",
        help="namespaces to have besides guest; known ones need not be named again",
    )


def run(given: argparse.Namespace) -> int:
    """Start the stack, or say that it runs."""
    state = state_directory()
    running = state.running()
    if running is not None:
        credentials = _credentials(state)
        for name in given.namespaces:
            if name not in credentials.namespaces:
                raise unknown_namespace(name, credentials)
        print("runs already")
        _print(state, running)
        return 0
    stack = start(
        state,
        local.choose_device(given.device),
        devices=given.devices,
        allow_unsandboxed=given.allow_unsandboxed,
        namespaces=given.namespaces,
    )
    _print(state, stack)
    return 0


def start(
    state: StateDirectory,
    device: local.Kind,
    *,
    devices: int = 1,
    allow_unsandboxed: bool = False,
    namespaces: Sequence[str] = (),
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
            namespaces=namespaces,
            dies_with_parent=dies_with_parent,
            on_step=on_step,
        )


def _print(state: StateDirectory, stack: Stack) -> None:
    namespaces = _credentials(state).namespaces
    print(f"object store  {stack.store_url}  buckets {_buckets(GUEST)}")
    print(f"GPU pool      {stack.pool_url}")
    print(f"OpenWhisk API {stack.api_url}  for development: actions run as your own processes")
    print(f"device        {describe(stack.device)}")
    for name in sorted(namespaces.keys() - {GUEST}):
        print(f'namespace     {name}  buckets {_buckets(name)}; eval "$(kaas env --namespace {name})"')
    if len(namespaces) > 1:
        print(f"for all       s3://{SHARED_BUCKET}: read by every namespace, each writes below its own name")
    print(f"state, logs   {state.path}")
    note('\nfor other programs:  eval "$(kaas env)"')
    variables = local_environment()
    if variables is not None:
        note(f"for OpenWhisk's:     {wsk_line(variables)}")


def _credentials(state: StateDirectory) -> Credentials:
    """Of a stack that runs."""
    credentials = Credentials.load(state)
    if credentials is None:
        raise Failure(f"the keys in {state.path} cannot be read", hint="`kaas down`, then `kaas up`", status=PLATFORM)
    return credentials


def _buckets(namespace: str) -> str:
    return " and ".join(f"s3://{bucket}" for bucket in buckets_of(namespace))


def _namespaces(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if not is_namespace(name):
            raise argparse.ArgumentTypeError(
                f"{name!r} is no namespace: small letters, digits and single hyphens, a letter first, at most 40, and "
                f"not {OPERATOR} or {ADMIN}"
            )
    return names


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)
