"""Pack a kernel action into a zip, from which an OpenWhisk action is created.

Equal files give equal bytes, on any machine and at any time, and so the same digest in the pool.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kaas.client import digest_of
from kaas_cli.output import USAGE, Failure, size
from kaas_cli.sources import read_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("action", type=Path, nargs="?", default=Path(), metavar="DIR", help="the action (here)")
    parser.add_argument("-o", dest="output", type=Path, metavar="FILE", help="default: DIR.zip, here or beside DIR")


def run(given: argparse.Namespace) -> int:
    """Write the zip and print its digest."""
    path: Path = given.action
    if not path.is_dir():
        raise Failure(f"{path} is not a folder", hint="name the folder that has the kaas.yaml", status=USAGE)
    data = read_bundle(path)
    folder = path.resolve()
    output: Path = given.output or Path(f"{folder.name}.zip")
    if output.resolve().is_relative_to(folder):
        # The next build would pack it too.
        if given.output is not None:
            raise Failure(
                f"{output} is inside the folder that it packs", hint=f"for example -o ../{output.name}", status=USAGE
            )
        output = folder.parent / output.name
    output.write_bytes(data)
    print(f"{output}  {size(len(data))}  {digest_of(data)}")
    return 0
