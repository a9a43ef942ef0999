"""Check a kernel action, from the manifest to compiled kernels, without a server.

Findings are printed as `file:line: error: ...`; the exit status is 0 if there are none, else 1. Every source is
compiled for the device that this machine has.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kaas.errors import KaasError
from kaas_cli.devices import add_device_argument, add_unsandboxed_argument, images, target
from kaas_cli.output import CALLER, patience
from kaas_cli.sources import place, read_bundle
from kaas_local.stack import choose_device


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("action", type=Path, nargs="?", default=Path(), metavar="DIR", help="folder or zip (here)")
    add_device_argument(parser)
    add_unsandboxed_argument(parser)


def run(given: argparse.Namespace) -> int:
    """Check, print, and return the exit status."""
    from kaas.bundle import Bundle
    from kaas_pool.compiler import compile_bundle

    path: Path = given.action
    kind = choose_device(given.device)
    try:
        data = Bundle.pack(path) if path.is_dir() else read_bundle(path)
        bundle = Bundle.open(data)
        with patience("compiling"):
            compiled = compile_bundle(bundle, target(kind), images=images(), allow_unsandboxed=given.allow_unsandboxed)
    except KaasError as error:
        if error.row.blame == "platform":
            raise
        print(_finding(path, error))
        return CALLER
    for source in compiled:
        if source.log.strip():
            print(source.log.rstrip())
    manifest = bundle.manifest
    found = [
        _count(len(manifest.buffers), "buffer"),
        _count(len(manifest.params), "parameter"),
        _count(sum(len(one.signatures) for one in compiled), "kernel"),
    ]
    print(f"{manifest.name}: good ({', '.join(found)} compiled for the {kind} device)")
    return 0


def _finding(path: Path, error: KaasError) -> str:
    where = place(path, error.where)
    file, _, inside = (where or str(path)).partition(" ")
    first, *rest = error.message.splitlines() or [""]
    lines = [f"{file}: error: {f'{inside}: ' if inside else ''}{first}", *(f"  {line}" for line in rest)]
    if error.hint:
        lines.append(f"  hint: {error.hint}")
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
