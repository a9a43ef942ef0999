"""`python -m kaas_proxy`, the `kaas-proxy` of an action's container."""

from __future__ import annotations

import argparse
import os

from kaas_proxy.action import PoolAccess
from kaas_proxy.server import ProxyServer


def main() -> None:
    """Serve one action until SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="kaas-proxy",
        description="Serve one kernel action by OpenWhisk's /init and /run. KAAS_POOL_URL names the pool. With "
        "KAAS_TOKEN every call uses that token, else each activation's own API key.",
    )
    parser.add_argument(
        "--bind",
        default=f"0.0.0.0:{os.environ.get('PORT') or 8080}",
        help="host:port, or fd://N for a listening socket that was handed down (default: 0.0.0.0 and $PORT or 8080)",
    )
    arguments = parser.parse_args()
    access = PoolAccess(os.environ.get("KAAS_POOL_URL") or None, os.environ.get("KAAS_TOKEN") or None)
    ProxyServer(arguments.bind, access).run()


if __name__ == "__main__":
    main()
