"""Make a folder with a kernel action to start from: an elementwise kernel, its manifest, a README and a test.

kaas new halve
"""

from __future__ import annotations

import argparse
import re
from importlib.resources import files
from pathlib import Path

from kaas_cli.output import USAGE, Failure

#: Names of actions that are names of folders, files and OpenWhisk actions too.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

#: Template file -> file of the action; NAME and KERNEL are replaced in both.
_FILES = {
    "kaas.yaml": "kaas.yaml",
    "kernel.cu": "KERNEL.cu",
    "README.md": "README.md",
    "test_action.py": "test_KERNEL.py",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("folder", type=Path, metavar="NAME", help="the folder to make; its name is the action's")


def run(given: argparse.Namespace) -> int:
    """Write the files, into a folder that is new or empty."""
    folder: Path = given.folder
    name = folder.resolve().name
    if not _NAME.fullmatch(name):
        raise Failure(
            f"{name!r} cannot name an action",
            hint="letters, digits and . _ -, at most 64, beginning with a letter or a digit",
            status=USAGE,
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Failure(f"{folder} exists already", hint="choose another name, or an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    kernel = re.sub(r"[^A-Za-z0-9_]", "_", name)
    kernel = f"k_{kernel}" if kernel[0].isdigit() else kernel
    for template, target in _FILES.items():
        text = (files("kaas_cli") / "template" / template).read_text("utf-8")
        path = folder / target.replace("KERNEL", kernel)
        path.write_text(text.replace("KERNEL", kernel).replace("NAME", name), "utf-8")
        print(path)
    return 0
