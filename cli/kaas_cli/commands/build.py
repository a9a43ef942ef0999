"""Pack a kernel action into a zip, from which an OpenWhisk action is created.

Equal files give equal bytes, on any machine and at any time, and so the same digest in the pool.

With --arch the cubins that kaas.yaml declares for an architecture are compiled from the sources, by NVRTC and without
a GPU, and put into the zip.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kaas.bundle import Bundle
from kaas.client import digest_of
from kaas_cli.cubins import make_cubins
from kaas_cli.devices import add_unsandboxed_argument, images
from kaas_cli.output import USAGE, Failure, patience, size
from kaas_cli.sources import located, read_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("action", type=Path, nargs="?", default=Path(), metavar="DIR", help="the action (here)")
    parser.add_argument("-o", dest="output", type=Path, metavar="FILE", help="default: DIR.zip, here or beside DIR")
    parser.add_argument(
        "--arch", action="append", default=[], metavar="sm_NN", help="compile the cubins for it; may be repeated"
    )
    add_unsandboxed_argument(parser)


def run(given: argparse.Namespace) -> int:
    """Write the zip and print its digest."""
    path: Path = given.action
    if not path.is_dir():
        raise Failure(f"{path} is not a folder", hint="name the folder that has the kaas.yaml", status=USAGE)
    data = _packed(path, given.arch, given.allow_unsandboxed) if given.arch else read_bundle(path)
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


def _packed(folder: Path, architectures: list[str], allow_unsandboxed: bool) -> bytes:
    with located(folder), patience(f"compiling for {', '.join(architectures)}"):
        made = make_cubins(folder, architectures, images=images(), allow_unsandboxed=allow_unsandboxed)
        return Bundle.pack(folder, made)
