"""Let go of the versions to which constants and other pinned references are bound.

  kaas cache refresh                              all of them
  kaas cache refresh --bundle .                   those of the action in this folder
  kaas cache refresh --reference s3://data/w.npy

A pinned reference keeps the version that was found by its first call; the error `object_changed` says that the object
has another one since. The next call after a refresh binds to the present version. Only your own pins go, in the pool of
KAAS_POOL_URL and KAAS_TOKEN, else in the one that `kaas up` started.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kaas.client import digest_of
from kaas_cli.access import pool_client
from kaas_cli.sources import read_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("what", choices=["refresh"], help="refresh: forget pinned versions")
    parser.add_argument("--bundle", metavar="DIGEST|DIR", help="only those of this action: its digest, folder or zip")
    parser.add_argument("--buffer", metavar="NAME", help="only those of this buffer")
    parser.add_argument("--reference", metavar="REF", help="only those of this object, or of this part of it")


def run(given: argparse.Namespace) -> int:
    """Forget them and say how many there were."""
    bundle: str | None = given.bundle
    if bundle is not None and not bundle.startswith("sha256:"):
        bundle = digest_of(read_bundle(Path(bundle)))
    with pool_client() as client:
        count = client.refresh(bundle=bundle, buffer=given.buffer, reference=given.reference)
    print(f"{count} pinned version{'' if count == 1 else 's'} forgotten")
    return 0
