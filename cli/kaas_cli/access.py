"""Where the pool and the store are: from the environment, else from the stack that runs on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from kaas.client import RECONNECT_SECONDS, PoolClient, bearer
from kaas_cli.output import Failure
from kaas_local.credentials import GUEST, Credentials
from kaas_local.stack import environment
from kaas_local.state import StateDirectory, default_directory

_LOCAL = ("127.0.0.1", "::1", "localhost")

_HINT = '`kaas up` starts one on this machine; `eval "$(kaas env)"` makes it known to other programs'


def state_directory() -> StateDirectory:
    """The state directory of this user's stack."""
    return StateDirectory(default_directory(os.environ))


def local_environment(namespace: str = GUEST) -> dict[str, str] | None:
    """The variables of the stack that runs on this machine, with a namespace's keys, or None if none runs."""
    state = state_directory()
    stack = state.running()
    credentials = Credentials.load(state)
    if stack is None or credentials is None:
        return None
    if namespace not in credentials.namespaces:
        raise unknown_namespace(namespace, credentials)
    return environment(stack, credentials, namespace)


def unknown_namespace(namespace: str, credentials: Credentials) -> Failure:
    """What to say of a namespace that the stack has not got."""
    return Failure(
        f"the stack that runs has no namespace {namespace!r}, only {', '.join(credentials.namespaces)}",
        hint="`kaas down`, then `kaas up --namespace NAME` adds one; what is there stays",
    )


def wsk_line(variables: Mapping[str, str]) -> str:
    """The command that makes OpenWhisk's command line use the stack of these variables for good."""
    return f"wsk property set --apihost {variables['WHISK_APIHOST']} --auth {variables['WHISK_AUTH']}"


def stale_address() -> str | None:
    """What to do if KAAS_POOL_URL says this machine, and no stack of this user is there; else None."""
    url = os.environ.get("KAAS_POOL_URL", "")
    stack = state_directory().running()
    # A stack of this machine has no certificate: https is a pool elsewhere, through a forwarded port.
    if (
        not url.startswith("http://")
        or urlsplit(url).hostname not in _LOCAL
        or (stack is not None and stack.pool_url == url)
    ):
        return None
    begin = "" if stack is not None else "`kaas up`, then "
    return (
        f"KAAS_POOL_URL is set, and none of your stacks is there: {begin}"
        '`eval "$(kaas env)"` again; or `unset KAAS_POOL_URL`'
    )


def pool_client(*, reconnect_s: float = RECONNECT_SECONDS) -> PoolClient:
    """The pool of `KAAS_POOL_URL` and `KAAS_TOKEN`, else of this machine's stack."""
    url, token = os.environ.get("KAAS_POOL_URL"), os.environ.get("KAAS_TOKEN")
    if not url:
        local = local_environment()
        if local is None:
            raise Failure("no pool is known: KAAS_POOL_URL is not set, and none runs here", hint=_HINT)
        url, token = local["KAAS_POOL_URL"], token or local["KAAS_TOKEN"]
    return PoolClient(url, bearer(token) if token else None, reconnect_s=reconnect_s)


@dataclass(frozen=True)
class StoreAccess:
    """What boto3 has to be told; None is for it to find out."""

    endpoint: str | None = None
    access_key: str | None = None
    secret_key: str | None = None
    region: str | None = None


def store_access() -> StoreAccess:
    """The store that boto3 is set up for, else that of this machine's stack."""
    set_up = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_PROFILE")
    if any(os.environ.get(name) for name in set_up):
        return StoreAccess()
    local = local_environment()
    if local is None:
        raise Failure("no object store is known: the AWS variables are not set, and none runs here", hint=_HINT)
    return StoreAccess(
        local["AWS_ENDPOINT_URL_S3"],
        local["AWS_ACCESS_KEY_ID"],
        local["AWS_SECRET_ACCESS_KEY"],
        local["AWS_DEFAULT_REGION"],
    )
