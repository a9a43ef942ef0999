"""Show what runs: the stack of this machine, or the pool of KAAS_POOL_URL, its devices and its cache.

The exit status is 1 if nothing runs.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from kaas.client import PoolClient, bearer
from kaas.errors import KaasError
from kaas_cli.access import pool_client, stale_address, state_directory
from kaas_cli.devices import describe
from kaas_cli.output import CALLER, size, table
from kaas_local.credentials import Credentials
from kaas_local.state import Stack, StateDirectory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no options."""


def run(given: argparse.Namespace) -> int:
    """Print the stack and the pool's own views."""
    state = state_directory()
    stack = state.running()
    remote = os.environ.get("KAAS_POOL_URL")
    if stack is not None:
        _print_stack(state, stack)
    elif state.holder() is not None:
        print(f"a stack is starting or stopping in {state.path}")
    else:
        print(f"nothing runs in {state.path}")
    if stack is not None and remote in (None, "", stack.pool_url):
        credentials = Credentials.load(state)
        token = bearer(credentials.admin_token) if credentials is not None else None
        client = PoolClient(stack.pool_url, token, reconnect_s=0)
    elif remote:
        client = pool_client(reconnect_s=0)
    else:
        return CALLER
    with client:
        print()
        return 0 if _print_pool(client) else CALLER


def _print_stack(state: StateDirectory, stack: Stack) -> None:
    where = {"daemon": str(state.path), "openwhisk": stack.api_url, "pool": stack.pool_url, "store": stack.store_url}
    rows = [["part", "process", "", "where"]]
    for part, process in stack.processes.items():
        rows.append([part, str(process.pid), "runs" if process.is_alive else "died", where.get(part, "")])
    print(table(rows))
    print(f"device {describe(stack.device)}")


def _print_pool(client: PoolClient) -> bool:
    """Print what the pool says; whether it answered."""
    try:
        client.ready()
        print(f"pool {client.url}: ready")
    except KaasError as error:
        print(f"pool {client.url}: not ready: {error.message}")
        if error.code == "pool_unreachable":
            if hint := stale_address():
                print(hint)
            return False
    rows = [["device", "name", "memory", "slots", "busy", "executors", "held", "cached"]]
    cached = _cached_bytes(client.status("cache"))
    for device in client.status("devices")["devices"]:
        executors = device["executors"]
        rows.append(
            [
                str(device["device"]),
                device["name"] if device["serves"] else f"not serving: {device['problem']}",
                size(device["memory_bytes"]) if "memory_bytes" in device else "",
                str(device["slots"]),
                str(device["busy"]),
                str(len(executors)),
                size(sum(executor["held_bytes"] for executor in executors)),
                size(cached.get(str(device["device"]), 0)),
            ]
        )
    print(table(rows))
    return True


def _cached_bytes(view: dict[str, Any]) -> dict[str, int]:
    held: dict[str, int] = {}
    for entry in view["device"]:
        held[str(entry["device"])] = held.get(str(entry["device"]), 0) + entry["bytes"]
    return held
