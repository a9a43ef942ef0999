"""Make a folder with a kernel action to start from: its manifest, its kernels, a README and a test.

  kaas new halve
  kaas new sums --template reduction
  kaas new --list

Each is complete: `kaas check` finds nothing, and its test passes without a server and without a GPU.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from kaas.suggest import suggest
from kaas_cli.output import USAGE, Failure, table
from kaas_cli.template import DEFAULT, NAMES, templates, write

#: Names of actions that are names of folders, files and OpenWhisk actions too.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "folder", type=Path, nargs="?", metavar="NAME", help="the folder to make; its name is the action's"
    )
    parser.add_argument(
        "--template", default=DEFAULT, metavar="TEMPLATE", help=f"what to start from: {', '.join(NAMES)} ({DEFAULT})"
    )
    parser.add_argument("--list", action="store_true", help="say what each template is, and make nothing")


def run(given: argparse.Namespace) -> int:
    """Write the files, into a folder that is new or empty."""
    known = templates()
    if given.list:
        print(table([["template", "what it does"], *([one.name, one.description] for one in known.values())]))
        return 0
    if given.folder is None:
        raise Failure("new needs a name", hint="for example kaas new halve; kaas new --list", status=USAGE)
    if given.template not in known:
        raise Failure(
            f"there is no template {given.template!r}",
            hint=suggest(given.template, known) or f"there are {', '.join(known)}",
            status=USAGE,
        )
    folder: Path = given.folder
    name = folder.resolve().name
    if not _NAME.fullmatch(name):
        raise Failure(
            f"{name!r} cannot name an action",
            hint="letters, digits and . _ -, at most 64, beginning with a letter or a digit",
            status=USAGE,
        )
    if folder.exists() and not folder.is_dir():
        raise Failure(f"{folder} exists already, and is a file", hint="choose another name")
    if folder.is_dir() and any(folder.iterdir()):
        raise Failure(f"{folder} exists already, and is not empty", hint="choose another name, or empty it")
    for path in write(known[given.template], folder, name):
        print(path)
    return 0
