"""Run kernel actions, and a sequence of kernel and CPU actions, once for real; check the results.

Starts a stack of its own in a temporary directory: an object store, a GPU pool and an OpenWhisk API, to which it speaks
plain HTTP and prints the lines of `wsk` that do the same. It creates and invokes saxpy, jacobi and sgemm from S3 to S3,
compares with NumPy, and invokes each again to show that its inputs were still on the device. Then it has a sequence
count the cells on a photo, of which Python does the beginning and the end and two kernels do the middle; and stops.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import boto3
import numpy as np
import numpy.typing as npt

from kaas_cli import composition
from kaas_cli.commands.up import start
from kaas_cli.devices import add_device_argument, add_unsandboxed_argument, describe
from kaas_cli.examples import Example, load_example
from kaas_cli.openwhisk import Activation, OpenWhisk
from kaas_cli.output import PLATFORM, Failure, size, table
from kaas_local.credentials import Credentials
from kaas_local.stack import Kind, choose_device, environment, stop
from kaas_local.state import StateDirectory

_EXAMPLES = ("saxpy", "jacobi", "sgemm")


@dataclass(frozen=True)
class _Row:
    """What one example came to; times in milliseconds, as its caller sees them."""

    example: Example
    first_ms: float
    again_ms: float
    device_hits: int
    is_equal: bool

    @property
    def cells(self) -> list[str]:
        """The row of the table."""
        return [
            self.example.name,
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
    examples = [load_example(name) for name in _EXAMPLES]
    photo = composition.draw()
    with contextlib.ExitStack() as running:
        variables = running.enter_context(_stack(device, allow_unsandboxed=given.allow_unsandboxed))
        s3 = running.enter_context(_s3(variables))
        openwhisk = running.enter_context(contextlib.closing(OpenWhisk(variables, _tell)))
        _say("\nKernel actions, created and invoked by plain HTTP; the lines of wsk below do the same.")
        rows = [_run_twice(example, s3, openwhisk) for example in examples]
        _print_rows(rows)
        _say("A sequence: Python reads a photo, two kernels blur it and find what is bright, Python counts.")
        _tell(f"kaas cp cells.png {composition.PHOTO}")
        _put(s3, composition.PHOTO, photo.content)
        composition.create(openwhisk, variables)
        report = composition.run(openwhisk, photo, lambda reference: _get(s3, reference))
        _print_report(report)
        if device == "emulated":
            _say("These are times of an emulated device: they say nothing about a GPU.")
    _say("To do it yourself: kaas up, and examples/cells/README.md")
    _say(f"stopped; {time.monotonic() - started:.1f} s in all")
    _check(rows, report)
    return 0


@contextlib.contextmanager
def _stack(device: Kind, *, allow_unsandboxed: bool) -> Iterator[dict[str, str]]:
    """A stack in a directory of its own; gives the variables by which to find it."""
    directory = Path(tempfile.mkdtemp(prefix="kaas-demo-"))
    state = StateDirectory(directory)
    try:
        _say(f"starting an object store, a GPU pool and an OpenWhisk API\ndevice {describe(device)}")
        stack = start(state, device, allow_unsandboxed=allow_unsandboxed, dies_with_parent=True)
        credentials = Credentials.load(state)
        assert credentials is not None
        yield environment(stack, credentials)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        stop(state)
        shutil.rmtree(directory)


def _run_twice(example: Example, s3: Any, openwhisk: OpenWhisk) -> _Row:
    _say(f"\n{example.name}: {size(sum(array.nbytes for array in example.inputs.values()))} in")
    for name, array in example.inputs.items():
        body = io.BytesIO()
        np.save(body, array)
        _put(s3, f"s3://data/{example.name}/{name}.npy", body.getvalue())
    composition.create_kernel(openwhisk, example.name, example.content, {})
    inputs = {name: f"s3://data/{example.name}/{name}.npy" for name in example.inputs}
    times, equal, hits = [], [], 0
    for attempt in ("first", "again"):
        outputs = {name: f"s3://out/{example.name}/{attempt}/{name}.npy" for name in example.expected}
        begin = time.perf_counter()
        activation = openwhisk.invoke(example.name, {**inputs, **outputs, **example.params})
        times.append((time.perf_counter() - begin) * 1000)
        hits = activation.stats["device_hits"]
        equal.append(example.is_equal({name: _get(s3, activation.result[name]) for name in outputs}))
    return _Row(example, times[0], times[1], hits, all(equal))


def _put(s3: Any, reference: str, content: bytes) -> None:
    bucket, _, key = reference.removeprefix("s3://").partition("/")
    s3.put_object(Bucket=bucket, Key=key, Body=content)


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


def _print_rows(rows: list[_Row]) -> None:
    head = ["action", "first", "again", "found on the device", "equal to NumPy"]
    _say(f"\n{table([head, *(row.cells for row in rows)])}\n")
    _say("first: the action is uploaded and compiled, its inputs come from the object store; again: neither.\n")


def _print_report(report: composition.Report) -> None:
    head = ["step", "kind", "first", "its input", "again", "its input"]
    rows = [
        [
            step.name,
            step.kind,
            *(cell for run in (step.first, step.again) for cell in (f"{run.milliseconds} ms", _origin(step, run))),
        ]
        for step in report.steps
    ]
    _say(f"\n{table([head, *rows])}\n")
    _say(f"{report.result['cells']} cells found, {report.drawn} drawn; a picture of them: {report.result['picture']}")


def _origin(step: composition.Step, run: Activation) -> str:
    if not step.is_kernel:
        return ""
    return f"{run.stats['device_hits']} on the device, {run.stats['misses']} loaded"


def _check(rows: list[_Row], report: composition.Report) -> None:
    wrong = [row.example.name for row in rows if not row.is_equal]
    if not report.is_equal:
        wrong.append(composition.SEQUENCE)
    if wrong:
        raise Failure(f"not equal to NumPy: {', '.join(wrong)}", status=PLATFORM)
    if report.misses_between_kernels:
        raise Failure("a kernel did not find on the device what the one before it wrote", status=PLATFORM)


def _tell(line: str) -> None:
    _say(f"  {line}")


def _say(text: str) -> None:
    print(text, flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
