"""Check a kernel action, from the manifest to compiled kernels, without a server.

  kaas check .
  kaas check . --set n=1048576 --set iters=100     and what one invocation of that size takes
  kaas check . --format github --strict            in a workflow

Every source is compiled for the device that this machine has; where that is the emulated one, also by CUDA's own
compiler (NVRTC), if it is installed. Findings are printed as `file:line: error: what, why, what to do [rule]`;
docs/check.md lists the rules. The exit status is 1 if there is an error, with --strict also if there is a warning.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kaas_cli.devices import add_device_argument, add_unsandboxed_argument
from kaas_cli.output import CALLER, USAGE, Failure, patience
from kaas_cli.values import parse_values
from kaas_local.stack import choose_device


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("action", type=Path, nargs="?", default=Path(), metavar="DIR", help="folder or zip (here)")
    parser.add_argument(
        "--set",
        dest="sizes",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a symbol or parameter: with all of them, sizes are checked and an invocation's cost is told",
    )
    parser.add_argument("--format", choices=("text", "json", "github"), default="text", help="how to print (text)")
    parser.add_argument("--strict", action="store_true", help="warnings fail too")
    add_device_argument(parser)
    parser.add_argument("--arch", metavar="sm_NN", help="what NVRTC compiles for beside the emulated device (sm_90)")
    add_unsandboxed_argument(parser)


def run(given: argparse.Namespace) -> int:
    """Check, print, and return the exit status."""
    from kaas_cli.checking import Options, check
    from kaas_cli.reports import FORMATS

    device = choose_device(given.device)
    if device == "cuda" and given.arch is not None:
        raise Failure("--arch is for machines without a GPU", hint="leave it out, or --device emulated", status=USAGE)
    sizes = parse_values(given.sizes, option="--set", example="n=1048576")
    with patience("compiling"):
        report = check(given.action, Options(device, given.arch, sizes, given.allow_unsandboxed))
    print(FORMATS[given.format](report, sizes))
    failed = report.count("error") or (given.strict and report.count("warning"))
    return CALLER if failed else 0
