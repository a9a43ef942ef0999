"""`python -m kaas_proxy`, the `kaas-proxy` of an action's container."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping

from kaas.client import GRACE_SECONDS
from kaas.dtypes import shorten
from kaas.errors import CallerError, KaasError
from kaas_proxy.action import PoolAccess
from kaas_proxy.app import create_app
from kaas_proxy.server import ProxyServer

#: Threads beside those that calls may take: for probes, and for refusals, which wait up to 5 s for the rest of a body.
_SPARE_THREADS = 64


def port(environment: Mapping[str, str]) -> int:
    """The port to listen on; raises `argument_invalid`."""
    text = environment.get("PORT", "").strip() or "8080"
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 1 << 16):
        raise CallerError(
            "argument_invalid", f"{shorten(text)} is no port", where="PORT", hint="a number from 1 to 65535, or nothing"
        )
    return int(text)


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
        help="host:port, or fd://N for a listening socket that was handed down (default: 0.0.0.0 and $PORT or 8080)",
    )
    try:
        bind = parser.parse_args().bind or f"0.0.0.0:{port(os.environ)}"
        # Where Knative serves, an action that nobody names would be waited for in vain.
        if "KAAS_ACTION" in os.environ or os.environ.get("K_SERVICE"):
            _service(bind).run()
            return
    except KaasError as error:
        sys.exit(f"kaas-proxy: error: {error}")
    access = PoolAccess(os.environ.get("KAAS_POOL_URL") or None, os.environ.get("KAAS_TOKEN") or None)
    ProxyServer(bind, lambda: create_app(access)).run()


def _service(bind: str) -> ProxyServer:
    """The server of a Knative Service; raises KaasError for what is wrong with its settings or its bundle."""
    from kaas_proxy.service import MAX_CALLS
    from kaas_proxy.service_app import create_service_app
    from kaas_proxy.settings import Settings

    settings = Settings.read(os.environ)
    settings.connect().close()
    stop_seconds = settings.budget_ms / 1000 + 2 * GRACE_SECONDS
    return ProxyServer(
        bind,
        lambda: create_service_app(settings),
        threads=MAX_CALLS + _SPARE_THREADS,
        stop_seconds=stop_seconds,
    )


if __name__ == "__main__":
    main()
