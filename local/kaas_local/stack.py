"""Starting, finding and stopping the stack of one state directory."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from kaas_local.credentials import GUEST, REGION, Credentials
from kaas_local.lifeline import tied
from kaas_local.state import Stack, StackError, StateDirectory

Kind = Literal["cuda", "emulated"]

#: The kernel module's own report: there exactly where an NVIDIA driver is loaded.
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")

#: The daemon gives the OpenWhisk API and the store 10 s each, the pool 20 s.
_STOP_SECONDS = 50.0

_LOG_LINES = 15


def choose_device(wanted: Literal["auto", "cuda", "emulated"]) -> Kind:
    """What `auto` means on this machine. Raises StackError for `cuda` without a driver."""
    has_driver = _NVIDIA_DRIVER.exists()
    if wanted == "auto":
        return "cuda" if has_driver else "emulated"
    if wanted == "cuda" and not has_driver:
        raise StackError(
            "there is no NVIDIA driver on this machine",
            "`--device emulated` runs kernels on the processor: right results, no GPU speed",
        )
    return wanted


def start(
    state: StateDirectory,
    device: Kind,
    *,
    devices: int = 1,
    allow_unsandboxed: bool = False,
    namespaces: Iterable[str] = (),
    dies_with_parent: bool = False,
    on_step: Callable[[str], None] = lambda step: None,
) -> Stack:
    """Start the stack and wait until it is ready; `on_step` is told what is waited for.

    It has the namespace `guest`, those it had before, and `namespaces`. It runs until `stop`, or, if it
    `dies_with_parent`, is killed when the calling thread ends.

    Raises StackError if it cannot be started, with the last lines of the log that says why.
    """
    state.make()
    command = [sys.executable, "-m", "kaas_local.daemon", "--state-dir", str(state.path), "--device", device]
    command += ["--devices", str(devices)]
    if allow_unsandboxed:
        command.append("--allow-unsandboxed")
    for name in namespaces:
        command += ["--namespace", name]
    mine, theirs = os.pipe()
    command += ["--report", str(theirs)]
    with open(mine, "rb") as report:  # noqa: PTH123
        descriptor = os.open(state.log("daemon"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        daemon = subprocess.Popen(
            tied(command) if dies_with_parent else command,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            pass_fds=[theirs],
            start_new_session=True,
            cwd="/",
        )
        os.close(descriptor)
        os.close(theirs)
        try:
            for line in report:
                message = json.loads(line)
                if "step" in message:
                    on_step(message["step"])
                elif "failed" in message:
                    daemon.wait()
                    raise _failure(state, message["failed"], message.get("part"), message.get("hint"))
            stack = state.running()
            if stack is None:
                raise _failure(state, "the stack's daemon has ended", "daemon")
        except BaseException:
            daemon.terminate()
            daemon.wait()
            raise
    daemon.returncode = 0  # It is not waited for: it outlives this process.
    return stack


def stop(state: StateDirectory) -> bool:
    """Stop the stack and wait for its end; False if none ran. Raises StackError if it does not end."""
    holder = state.holder()
    if holder is None:
        return False
    with contextlib.ExitStack() as descriptors:
        try:
            daemon = os.pidfd_open(holder.pid)
        except ProcessLookupError:
            return True
        descriptors.callback(os.close, daemon)
        if state.holder() != holder:
            return True
        signal.pidfd_send_signal(daemon, signal.SIGTERM)
        if not select.select([daemon], [], [], _STOP_SECONDS)[0]:
            # Its children go with it.
            signal.pidfd_send_signal(daemon, signal.SIGKILL)
            select.select([daemon], [], [])
            raise StackError(
                f"the stack did not stop within {_STOP_SECONDS:g} s and was killed", f"its logs are in {state.path}"
            )
    return True


def environment(stack: Stack, credentials: Credentials, namespace: str = GUEST) -> dict[str, str]:
    """The variables by which programs find the stack: client, boto3, AWS CLI, action proxy, `wsk`, npm `openwhisk`.

    They have the keys of one namespace, which has to be one of the stack's.
    """
    keys = credentials.namespaces[namespace]
    return {
        "KAAS_POOL_URL": stack.pool_url,
        "KAAS_TOKEN": keys.token,
        "AWS_ENDPOINT_URL_S3": stack.store_url,
        "AWS_ACCESS_KEY_ID": keys.store_key.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.store_key.secret_key,
        "AWS_DEFAULT_REGION": REGION,
        "WHISK_APIHOST": stack.api_url,
        "WHISK_AUTH": keys.api_key,
        "__OW_API_HOST": stack.api_url,
        "__OW_API_KEY": keys.api_key,
    }


def _failure(state: StateDirectory, message: str, part: str | None, hint: str | None = None) -> StackError:
    if part is None:
        return StackError(message, hint)
    log = state.log(part)
    try:
        lines = log.read_text("utf-8", "replace").splitlines()[-_LOG_LINES:]
    except OSError:
        lines = []
    tail = "".join(f"\n    {line}" for line in lines)
    return StackError(f"{message}\n  the end of {log}:{tail}" if tail else message, hint)
