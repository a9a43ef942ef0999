"""Run a kernel action in this process, on local files, without any server.

  kaas run . -p x=@x.npy -p y=[1,2,3] -p a=2 -o z=z.npy

Inputs are .npy files (`@`) or JSON values, parameters are JSON values. Outputs without an `-o` are shown,
and below them what the kernels print.
`--profile` tells where the time went, by step; its bytes are the sizes of the buffers that a step reads and of
those that it writes, and GB/s is these by the time of its launches, each between two events around it.
`--trace` writes every launch, up to 100,000, for viewers such as https://ui.perfetto.dev.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from kaas.bundle import Bundle
from kaas.errors import KaasError
from kaas.messages import LogLine
from kaas.suggest import suggest
from kaas_cli.devices import add_device_argument, add_unsandboxed_argument, describe, images, target
from kaas_cli.output import Failure, note, patience, size
from kaas_cli.profile import phases_of, profile_text
from kaas_cli.sources import located, open_bundle
from kaas_cli.trace import MOST_SPANS, trace
from kaas_cli.values import parse_files, parse_values
from kaas_local.stack import Kind, choose_device
from kaas_pool.compiler import CompiledSource, compile_bundle
from kaas_pool.executor.profile import Profile
from kaas_pool.executor.solo import Outcome, Solo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("action", type=Path, nargs="?", default=Path(), metavar="DIR", help="folder or zip (here)")
    parser.add_argument("-p", dest="values", action="append", default=[], metavar="NAME=VALUE", help="an argument")
    parser.add_argument("-o", dest="files", action="append", default=[], metavar="NAME=FILE", help="save an output")
    parser.add_argument("--profile", action="store_true", help="show the time of each step and phase")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write a trace of all launches, as JSON")
    add_device_argument(parser)
    add_unsandboxed_argument(parser)


def run(given: argparse.Namespace) -> int:
    """Run, and save or show the outputs."""
    path: Path = given.action
    kind = choose_device(given.device)
    files = parse_files(given.files)
    bundle = open_bundle(path)
    _check_outputs(bundle, files)
    values = parse_values(given.values)
    _check_inputs(bundle, values)
    arguments = {name: _argument(name, value) for name, value in values.items()}
    profile = Profile(MOST_SPANS if given.trace else 0) if given.profile or given.trace else None
    with located(path), patience(f"compiling and running on the {kind} device"):
        wanted = target(kind)
        begun = time.monotonic()
        compiled = compile_bundle(bundle, wanted, images=images(), allow_unsandboxed=given.allow_unsandboxed)
        compiled_at = time.monotonic()
        outcome, printed = _run(kind, bundle, compiled, arguments, profile)
    for name, array in outcome.outputs.items():
        saved = f"  -> {files[name]}" if name in files else ""
        print(f"{name}  {array.dtype}{list(array.shape)}  {size(array.nbytes)}{saved}")
        if name in files:
            _write(files[name], partial(np.save, arr=array), "-o")
        else:
            print(textwrap.indent(np.array2string(array, threshold=20, edgeitems=4), "  "))
    _show_printed(printed)
    if profile is not None:
        phases = phases_of(begun, compiled_at, profile, outcome.stats)
        if given.profile:
            print(f"\n{profile_text(profile, phases, compiled, kind)}")
        if given.trace:
            text = json.dumps(trace(bundle.manifest.name, profile, phases, kind), separators=(",", ":"))
            _write(given.trace, lambda file: file.write(text.encode()), "--trace")
            if profile.left_out:
                note(f"{given.trace} has the first {MOST_SPANS} operations; {profile.left_out} more are left out")
    note(f"on {describe(kind)}")
    return 0


def _run(
    kind: Kind,
    bundle: Bundle,
    compiled: Sequence[CompiledSource],
    arguments: Mapping[str, Any],
    profile: Profile | None,
) -> tuple[Outcome, Sequence[LogLine]]:
    """The outcome and what the kernels printed, which is shown also if there is no outcome."""
    with contextlib.closing(Solo(kind)) as solo:
        try:
            return solo.run(bundle, compiled, arguments, profile), solo.printed
        except KaasError:
            _show_printed(solo.printed)
            raise


def _show_printed(printed: Sequence[LogLine]) -> None:
    if printed:
        print("printed by the kernels:")
    for line in printed:
        print(f"  | {line.line}" if line.stream == "stdout" else f"  {line.line}")


def _check_outputs(bundle: Bundle, files: Mapping[str, Path]) -> None:
    outputs = [buffer.name for buffer in bundle.manifest.outputs]
    for name in files:
        if name not in outputs:
            raise Failure(
                f"{bundle.manifest.name} has no output {name!r}",
                where=f"-o {name}={files[name]}",
                hint=f"its outputs: {', '.join(outputs) or 'none'}",
            )


def _check_inputs(bundle: Bundle, values: Mapping[str, Any]) -> None:
    """A call may carry what the action does not know, since sequences do; on a command line it is a slip."""
    manifest = bundle.manifest
    inputs = [buffer.name for buffer in manifest.inputs]
    known = [*inputs, *manifest.params]
    for name in values:
        if name in known:
            continue
        if any(name == output.name for output in manifest.outputs):
            raise Failure(f"{name} is an output", where=f"-p {name}", hint=f"-o {name}={name}.npy saves it")
        raise Failure(
            f"{manifest.name} has no input or parameter {name!r}",
            where=f"-p {name}",
            hint=suggest(name, known) or f"it has {', '.join(known) or 'none'}",
        )
    for name in inputs:
        if name not in values:
            raise Failure(
                f"the input {name!r} is missing",
                where=f"-p {name}",
                hint=f"-p {name}=@{name}.npy, or -p {name}=[1,2,3]",
            )


def _argument(name: str, value: Any) -> Any:
    if isinstance(value, str) and Path(value).is_file():
        raise Failure(f"{value} is a file", where=f"-p {name}", hint=f"-p {name}=@{value} gives its contents")
    if isinstance(value, Path):
        return load_array(name, value)
    if isinstance(value, str) and "://" in value:
        raise Failure(
            f"{value} is in an object store, and `kaas run` has none",
            where=f"-p {name}",
            hint=f"`kaas cp {value} x.npy` and -p {name}=@x.npy, or `kaas invoke`",
        )
    return value


def load_array(name: str, path: Path) -> npt.NDArray[Any]:
    """The array in a .npy file."""
    if not path.is_file():
        raise Failure(f"there is no file {path}", where=f"-p {name}")
    try:
        array = np.load(path, allow_pickle=False)
        if isinstance(array, np.ndarray):
            return array
    except (ValueError, EOFError):
        pass
    raise Failure(
        f"{path} is not a .npy file of numbers", where=f"-p {name}", hint="write it with numpy.save(path, array)"
    )


def _write(path: Path, write: Callable[[IO[bytes]], object], where: str) -> None:
    """Whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            write(file)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise Failure(f"cannot write {path}: {(error.strerror or '').lower()}", where=where) from error
