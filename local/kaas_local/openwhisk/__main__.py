"""`python -m kaas_local.openwhisk`: the API alone; `kaas up` starts it with the rest."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from pathlib import Path

from kaas_local.openwhisk.server import BACKLOG, ApiConfig, run

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
    parser.add_argument(
        "--listen",
        type=_listen,
        default="127.0.0.1:3233",
        help="host:port, or fd://N for a listening socket that was handed down (default: %(default)s)",
    )
    parser.add_argument(
        "--state-dir", type=Path, required=True, help="a directory of this process's own, made if need be"
    )
    parser.add_argument(
        "--keys", type=Path, required=True, help='JSON: {"namespace": "SHA-256 of its uuid:key, in hex"}'
    )
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    proxies = {name: os.environ[name] for name in _PROXY_VARIABLES if os.environ.get(name)}
    return run(ApiConfig(given.listen, given.state_dir.absolute(), given.keys, proxies))


def _listen(text: str) -> socket.socket:
    descriptor = text.removeprefix("fd://")
    host, _, port = text.rpartition(":")
    try:
        if descriptor != text:
            return socket.socket(fileno=int(descriptor))
        return socket.create_server((host, int(port)), backlog=BACKLOG)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is neither host:port nor fd://N") from None
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot listen on {text}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
