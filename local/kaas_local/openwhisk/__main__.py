"""`python -m kaas_local.openwhisk`: the API alone; `kaas up` starts it with the rest."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from kaas_local.openwhisk.server import ApiConfig, run

#: What the action proxies are told of this process's environment.
_PROXY_VARIABLES = ("KAAS_POOL_URL", "KAAS_TOKEN")


def main() -> int:
    """Serve until SIGTERM; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m kaas_local.openwhisk",
        description="Serve OpenWhisk's API to one developer's machine: actions run as this user's own processes, with "
        "no wall between them. KAAS_POOL_URL names the pool that runs kernel actions; with KAAS_TOKEN they all use "
        "that token, else the key of whoever invokes them, where their annotation provide-api-key says so.",
    )
    parser.add_argument("--listen", type=_address, default=("127.0.0.1", 3233), metavar="HOST:PORT")
    parser.add_argument(
        "--state-dir", type=Path, required=True, help="a directory of this process's own, made if need be"
    )
    parser.add_argument(
        "--keys", type=Path, required=True, help='JSON: {"namespace": "SHA-256 of its uuid:key, in hex"}'
    )
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    host, port = given.listen
    proxies = {name: os.environ[name] for name in _PROXY_VARIABLES if os.environ.get(name)}
    return run(ApiConfig(host, port, given.state_dir.absolute(), given.keys, proxies))


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not host:port")
    return host, int(port)


if __name__ == "__main__":
    sys.exit(main())
