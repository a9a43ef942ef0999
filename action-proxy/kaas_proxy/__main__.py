"""`python -m kaas_proxy`, the `kaas-proxy` of an action's container."""

from __future__ import annotations

import argparse
import os
import sys

from kaas.client import GRACE_SECONDS
from kaas.errors import KaasError
from kaas_proxy.action import PoolAccess
from kaas_proxy.app import create_app
from kaas_proxy.server import ProxyServer

#: Threads beside those that calls may take: for probes, and for refusals, which wait up to 5 s for the rest of a body.
_SPARE_THREADS = 64


def main() -> None:
    """Serve one action until SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="kaas-proxy",
        description="Serve one kernel action: by OpenWhisk's /init and /run, or, where KAAS_ACTION names one, as a "
        "Knative Service. KAAS_POOL_URL names the pool. With KAAS_TOKEN every call uses that token, else each "
        "activation's own API key.",
    )
    parser.add_argument(
        "--bind",
        default=f"0.0.0.0:{os.environ.get('PORT') or 8080}",
        help="host:port, or fd://N for a listening socket that was handed down (default: 0.0.0.0 and $PORT or 8080)",
    )
    arguments = parser.parse_args()
    if os.environ.get("KAAS_ACTION"):
        _service(arguments.bind).run()
        return
    access = PoolAccess(os.environ.get("KAAS_POOL_URL") or None, os.environ.get("KAAS_TOKEN") or None)
    ProxyServer(arguments.bind, lambda: create_app(access)).run()


def _service(bind: str) -> ProxyServer:
    """The server of a Knative Service; what is wrong with its settings or its bundle ends it before it listens."""
    from kaas_proxy.service import MAX_CALLS
    from kaas_proxy.service_app import create_service_app
    from kaas_proxy.settings import Settings

    try:
        settings = Settings.read(os.environ)
        settings.connect().close()
    except KaasError as error:
        sys.exit(f"kaas-proxy: error: {error}")
    stop_seconds = settings.budget_ms / 1000 + 2 * GRACE_SECONDS
    return ProxyServer(
        bind,
        lambda: create_service_app(settings),
        threads=MAX_CALLS + _SPARE_THREADS,
        stop_seconds=stop_seconds,
    )


if __name__ == "__main__":
    main()
