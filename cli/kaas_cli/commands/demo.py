"""Run the examples once for real, and check their results.

Starts a stack of its own in a temporary directory, uploads arrays, runs saxpy, blur and jacobi each through an action
proxy of its own (/init and /run, as OpenWhisk does) and sgemm through the pool's client, compares everything with
NumPy, runs each again to show that its inputs were still on the device, and stops.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import boto3
import numpy as np
import numpy.typing as npt

from kaas.client import PoolClient, bearer
from kaas_cli.commands.up import start
from kaas_cli.devices import add_device_argument, add_unsandboxed_argument, describe
from kaas_cli.examples import Example, load_example
from kaas_cli.output import PLATFORM, Failure, size, table
from kaas_cli.proxy import running_proxy
from kaas_local.credentials import Credentials
from kaas_local.stack import Kind, choose_device, environment, stop
from kaas_local.state import StateDirectory

_THROUGH_PROXY = ("saxpy", "blur", "jacobi")
_THROUGH_CLIENT = ("sgemm",)

#: Runs an example once and gives its result.
Invoke = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class _Row:
    """What one example came to; times in milliseconds, as its caller sees them."""

    example: Example
    through: str
    first_ms: float
    again_ms: float
    device_hits: int
    is_equal: bool

    @property
    def cells(self) -> list[str]:
        """The row of the table."""
        return [
            self.example.name,
            self.through,
            f"{self.first_ms:.0f} ms",
            f"{self.again_ms:.0f} ms",
            f"{self.device_hits} of {len(self.example.inputs)} inputs",
            "yes" if self.is_equal else "NO",
        ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_device_argument(parser)
    add_unsandboxed_argument(parser)


def run(given: argparse.Namespace) -> int:
    """Everything, and a clean end whatever happens."""
    started = time.monotonic()
    signal.signal(signal.SIGTERM, _interrupt)
    device = choose_device(given.device)
    examples = [load_example(name) for name in (*_THROUGH_PROXY, *_THROUGH_CLIENT)]
    with _stack(device, allow_unsandboxed=given.allow_unsandboxed) as (directory, variables):
        rows = _run_examples(examples, directory, variables)
        _print(rows, device)
    _say(f"stopped; {time.monotonic() - started:.1f} s in all")
    wrong = [row.example.name for row in rows if not row.is_equal]
    if wrong:
        raise Failure(f"not equal to NumPy: {', '.join(wrong)}", status=PLATFORM)
    return 0


@contextlib.contextmanager
def _stack(device: Kind, *, allow_unsandboxed: bool) -> Iterator[tuple[Path, dict[str, str]]]:
    """A stack in a directory of its own, and the variables by which to find it."""
    directory = Path(tempfile.mkdtemp(prefix="kaas-demo-"))
    state = StateDirectory(directory)
    try:
        _say(f"starting an object store and a GPU pool\ndevice {describe(device)}")
        stack = start(state, device, allow_unsandboxed=allow_unsandboxed, dies_with_parent=True)
        credentials = Credentials.load(state)
        assert credentials is not None
        yield directory, environment(stack, credentials)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        stop(state)
        shutil.rmtree(directory)


def _run_examples(examples: list[Example], directory: Path, variables: Mapping[str, str]) -> list[_Row]:
    rows = []
    with contextlib.ExitStack() as running:
        s3 = running.enter_context(_s3(variables))
        client = running.enter_context(PoolClient(variables["KAAS_POOL_URL"], bearer(variables["KAAS_TOKEN"])))
        proxies = {
            name: running.enter_context(running_proxy(variables, directory / f"proxy-{name}.log"))
            for name in _THROUGH_PROXY
        }
        for example in examples:
            proxy = proxies.get(example.name)
            if proxy is not None:
                proxy.init(example.name, example.content)
                invoke: Invoke = partial(proxy.run, example.name)
            else:
                invoke = partial(_invoke, client, example.content)
            rows.append(_run_twice(example, s3, "action proxy" if proxy is not None else "pool client", invoke))
    return rows


def _run_twice(example: Example, s3: Any, through: str, invoke: Invoke) -> _Row:
    _say(f"{example.name}: {size(sum(array.nbytes for array in example.inputs.values()))} in, through the {through}")
    for name, array in example.inputs.items():
        _put(s3, f"{example.name}/{name}.npy", array)
    inputs = {name: f"s3://data/{example.name}/{name}.npy" for name in example.inputs}
    times, equal, hits = [], [], 0
    for attempt in ("first", "again"):
        outputs = {name: f"s3://out/{example.name}/{attempt}/{name}.npy" for name in example.expected}
        begin = time.perf_counter()
        result = invoke({**example.params, **inputs, **outputs})
        times.append((time.perf_counter() - begin) * 1000)
        hits = result["kaas"]["stats"]["device_hits"]
        equal.append(example.is_equal({name: _get(s3, result[name]) for name in outputs}))
    return _Row(example, through, times[0], times[1], hits, all(equal))


def _invoke(client: PoolClient, content: bytes, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    invocation = client.invoke(content, arguments)
    if invocation.error is not None:
        raise invocation.error
    return invocation.result or {}


def _put(s3: Any, key: str, array: npt.NDArray[Any]) -> None:
    body = io.BytesIO()
    np.save(body, array)
    s3.put_object(Bucket="data", Key=key, Body=body.getvalue())


def _get(s3: Any, reference: str) -> npt.NDArray[Any]:
    bucket, _, key = reference.removeprefix("s3://").partition("/")
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    array: npt.NDArray[Any] = np.load(io.BytesIO(body), allow_pickle=False)
    return array


@contextlib.contextmanager
def _s3(variables: Mapping[str, str]) -> Iterator[Any]:
    client = boto3.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=variables["AWS_DEFAULT_REGION"],
    )
    try:
        yield client
    finally:
        client.close()


def _print(rows: list[_Row], device: Kind) -> None:
    head = ["action", "through", "first", "again", "found on the device", "equal to NumPy"]
    print(f"\n{table([head, *(row.cells for row in rows)])}\n")
    print("first: the action is uploaded and compiled, its inputs come from the object store; again: neither.")
    if device == "emulated":
        print("These are times of an emulated device: they say nothing about a GPU.")
    print(flush=True)


def _say(text: str) -> None:
    print(text, flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
