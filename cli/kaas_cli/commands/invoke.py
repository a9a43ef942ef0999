"""Run a kernel action in the pool, from S3 to S3, and print its result as JSON.

  kaas invoke . -p x=s3://data/x.npy -p z=s3://out/z.npy -p a=2
  kaas invoke saxpy.zip -p x=[1,2,3] -p y=[4,5,6] -p z=inline -p a=2

The pool is that of KAAS_POOL_URL and KAAS_TOKEN, else the one `kaas up` started. The action is uploaded if the pool
does not know it. A small file can stand for its contents (`-p x=@x.npy`), read as `kaas run` does. What the kernels
print goes to standard error. Interrupting cancels the invocation.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kaas.bundle import Bundle
from kaas.errors import KaasError
from kaas.manifest import Manifest
from kaas.messages import DEFAULT_BUDGET_MS
from kaas.references import MAX_INLINE_BYTES, split_tensor
from kaas.suggest import suggest
from kaas_cli.access import pool_client
from kaas_cli.output import PLATFORM, Failure, log_lines, note, patience
from kaas_cli.sources import located, read_bundle
from kaas_cli.values import parse_values

#: Arguments of a call that are neither a buffer nor a parameter (docs/manifest.md, "A call").
RESERVED = ("outputs", "rename", "freshness", "ack", "store")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("action", type=Path, nargs="?", default=Path(), metavar="DIR", help="folder or zip (here)")
    parser.add_argument("-p", dest="values", action="append", default=[], metavar="NAME=VALUE", help="an argument")
    parser.add_argument(
        "--budget",
        type=_milliseconds,
        default=DEFAULT_BUDGET_MS,
        metavar="SECONDS",
        help=f"time for the whole invocation ({DEFAULT_BUDGET_MS // 1000})",
    )
    parser.add_argument("--id", help="idempotency key: the same id gives the same invocation")


def run(given: argparse.Namespace) -> int:
    """Invoke; the result goes to stdout, the log to stderr."""
    path: Path = given.action
    content = read_bundle(path)
    values = parse_values(given.values)
    with located(path):
        manifest = Bundle.open(content).manifest
        _check_names(manifest, values)
    arguments = {name: _argument(name, value) for name, value in values.items()}
    with pool_client() as client, located(path), _advising(manifest, values):
        with patience("waiting for the pool"):
            invocation = client.invoke(content, arguments, id=given.id, budget_ms=given.budget)
        for line in log_lines(invocation.logs):
            note(line)
        if invocation.error is not None:
            raise invocation.error
    if invocation.result is None:
        raise Failure(f"the invocation {invocation.id} is {invocation.state}, without a result", status=PLATFORM)
    print(json.dumps(invocation.result, indent=2, ensure_ascii=False))
    return 0


def _check_names(manifest: Manifest, values: Mapping[str, Any]) -> None:
    """A call may carry what the action does not know, since sequences do; on a command line it is a slip."""
    known = [*(buffer.name for buffer in (*manifest.inputs, *manifest.outputs)), *manifest.params]
    if "rename" in values:
        return  # It says itself what it means by which name.
    for name in values:
        if name not in known and name not in manifest.rename and name not in RESERVED:
            raise Failure(
                f"{manifest.name} has no input, output or parameter {name!r}",
                where=f"-p {name}",
                hint=suggest(name, known) or f"it has {', '.join(dict.fromkeys(known)) or 'none'}",
            )


@contextlib.contextmanager
def _advising(manifest: Manifest, values: Mapping[str, Any]) -> Iterator[None]:
    """What a call lacks is told as the option that gives it; with a `rename`, the pool's own advice says more."""
    try:
        yield
    except KaasError as error:
        name = (error.where or "").removeprefix("arguments.")
        if error.code == "input_missing" and "rename" not in values:
            error.hint = f"for example -p {name}=2" if name in manifest.params else f"-p {name}=s3://data/{name}.npy"
        raise


def _argument(name: str, value: Any) -> Any:
    if not isinstance(value, Path):
        return value
    from kaas_cli.arrays import load  # NumPy is only needed for files.

    loaded = load(name, value)
    count = len(loaded) if isinstance(loaded, bytes) else loaded.nbytes
    if count > MAX_INLINE_BYTES:
        file, tensor = split_tensor(str(value))
        stored = f"s3://data/{Path(file).name}"
        raise Failure(
            f"{value} holds {count} bytes; a call carries at most {MAX_INLINE_BYTES} per value",
            where=f"-p {name}",
            hint=f"`kaas cp {file} {stored}` and -p {name}={stored}{'' if tensor is None else f'#{tensor}'}",
        )
    if isinstance(loaded, bytes):
        return {"base64": base64.b64encode(loaded).decode()}
    data = base64.b64encode(loaded.astype(loaded.dtype.newbyteorder("<")).tobytes()).decode()
    return {"base64": data, "dtype": loaded.dtype.name, "shape": list(loaded.shape)}


def _milliseconds(text: str) -> int:
    try:
        return round(float(text) * 1000)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
