"""The command line: finds the command, runs it, and turns every failure into words and a status."""

from __future__ import annotations

import argparse
import os
import re
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module, metadata

from kaas.suggest import suggest
from kaas_cli.output import USAGE, Failure, as_failure, print_failure

#: Commands and what they do, in the order in which one meets them. Each is a module of `kaas_cli.commands`.
COMMANDS = {
    "new": "make a folder with a kernel action to start from",
    "check": "check a kernel action: manifest, expressions, sources",
    "build": "pack a kernel action into a zip, the same bytes everywhere",
    "run": "run a kernel action on local files, without any server",
    "up": "start an object store, a GPU pool and an OpenWhisk API",
    "env": "print the variables by which other programs find them",
    "status": "show what runs",
    "cp": "copy a file to or from the object store",
    "invoke": "run a kernel action in the pool, from S3 to S3",
    "cache": "let go of pinned versions of objects",
    "down": "stop what `kaas up` started",
    "demo": "do all of it once, on real arrays, and check the results",
}

_EPILOG = """\
A first kernel action:

  kaas new halve && cd halve && kaas check .
  python -c "import numpy as np; np.save('x.npy', np.arange(1000, dtype=np.float32))"
  kaas up
  kaas cp x.npy s3://data/x.npy
  kaas invoke . -p x=s3://data/x.npy -p z=s3://out/z.npy

Exit status: 0 good, 1 your input, 2 the command line, 3 the platform. `kaas COMMAND --help` says more.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    _open_closed()
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        given = _parse(words)
        status: int = given.run(given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return 130
    except BrokenPipeError:
        # Whoever read our output has had enough.
        _lead_output_nowhere()
        return 141
    except Exception as error:
        if os.environ.get("KAAS_DEBUG") == "1":
            traceback.print_exc()
        failure = as_failure(error)
        print_failure(failure)
        try:
            sys.stdout.flush()
        except OSError:
            _lead_output_nowhere()
        return failure.status
    return status


def _lead_output_nowhere() -> None:
    """So that what cannot be written is not written at exit either, which would end with 120 from Python 3.13 on."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_closed() -> None:
    """Lead nowhere what the caller closed of the standard streams: else the next file opened takes its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, mode))


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="kaas",
        description="Kernel-as-a-Service: serverless GPUs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"kaas {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    chosen = next((word for word in words if not word.startswith("-")), None)
    if chosen is not None and chosen not in COMMANDS:
        raise Failure(
            f"there is no command {chosen!r}",
            hint=suggest(chosen, COMMANDS) or "`kaas --help` lists them",
            status=USAGE,
        )
    if not words:
        parser.print_help()
        raise SystemExit(USAGE)
    usage = ""
    for name, what in COMMANDS.items():
        if name != chosen:
            commands.add_parser(name, help=what)
            continue
        # Only the chosen command is imported: some need NumPy, boto3 or a GPU driver.
        module = import_module(f"kaas_cli.commands.{name}")
        command = commands.add_parser(
            name,
            help=what,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
        usage = command.format_usage()
    given, unknown = parser.parse_known_args(words)
    if unknown:
        raise _unknown(str(chosen), unknown[0], usage)
    return given


#: Commands whose options take NAME=VALUE -> the option, which is easily forgotten.
_VALUES = {"run": "-p", "invoke": "-p", "check": "--set"}


def _unknown(command: str, word: str, usage: str) -> Failure:
    hint = f"`kaas {command} --help` lists what it knows"
    if word.startswith("-"):
        hint = suggest(word.partition("=")[0], re.findall(r"--[a-z-]+", usage)) or hint
    elif "=" in word and command in _VALUES:
        hint = f"write {_VALUES[command]} {word}"
    return Failure(f"kaas {command} does not know {word!r}", hint=hint, status=USAGE)


def _version() -> str:
    try:
        return metadata.version("kaas")
    except metadata.PackageNotFoundError:
        return "(not installed)"
