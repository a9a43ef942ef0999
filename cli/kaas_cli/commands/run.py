"""Run a kernel action in this process, on local files, without any server.

  kaas run . -p x=@x.npy -p y=[1,2,3] -p a=2 -o z=z.npy

Inputs are files (`@`) or JSON values, parameters are JSON values. Outputs without an `-o` are shown, and below them
how many rounds each loop with an `until` took, and what the kernels print. The ending of a file says how it is read
and written: .npy as NumPy's format, any other as raw data of the buffer's type;
-p w=@weights.safetensors#dense.w is one tensor.
`--profile` tells where the time went, by step; its bytes are the sizes of the buffers that a step reads and of
those that it writes, and GB/s is these by the time of its launches, each between two events around it.
`--trace` writes every launch, up to 100,000, for viewers such as https://ui.perfetto.dev.
`--checked` is what compute-sanitizer is on a GPU, and slow: the first access of a kernel outside of the buffers ends
the run and is told with its line, thread and distance. Memory that nothing was written to holds NaN.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from kaas.bundle import Bundle
from kaas.call import own_names
from kaas.errors import KaasError
from kaas.formats import format_of, npz
from kaas.manifest import Manifest
from kaas.messages import LogLine
from kaas.references import Reference
from kaas.suggest import suggest
from kaas_cli.arrays import is_npy, is_safetensors, load, save
from kaas_cli.devices import (
    add_checked_argument,
    add_device_argument,
    add_unsandboxed_argument,
    describe,
    images,
    target,
    turn_checks_on,
)
from kaas_cli.output import Failure, as_failure, log_lines, note, patience, size
from kaas_cli.places import check_place, file_at, write_file
from kaas_cli.profile import phases_of, profile_text
from kaas_cli.sizes import all_by_caller
from kaas_cli.sources import located, open_bundle, unbuilt
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
    add_checked_argument(parser)
    add_unsandboxed_argument(parser)


def run(given: argparse.Namespace) -> int:
    """Run, and save or show the outputs."""
    path: Path = given.action
    kind = choose_device(given.device)
    if given.checked:
        turn_checks_on(kind)
    files = parse_files(given.files)
    # The emulated device runs sources only, so that cubins beside them are not missed.
    bundle = open_bundle(path, is_built=kind != "emulated")
    _check_outputs(bundle, files)
    _check_places({**{f"-o {name}={file}": file for name, file in files.items()}, "--trace": given.trace})
    values = parse_values(given.values)
    _check_inputs(bundle.manifest, own_names(bundle.manifest, values))
    arguments = own_names(bundle.manifest, {name: _argument(name, value) for name, value in values.items()})
    bundle = replace(bundle, manifest=all_by_caller(bundle.manifest))
    profile = Profile(MOST_SPANS if given.trace else 0) if given.profile or given.trace else None
    with located(path), patience(f"compiling and running on the {kind} device"):
        wanted = target(kind)
        begun = time.monotonic()
        compiled = compile_bundle(bundle, wanted, images=images(), allow_unsandboxed=given.allow_unsandboxed)
        compiled_at = time.monotonic()
        outcome, printed = _run(kind, bundle, compiled, arguments, profile)
    for one in unbuilt(bundle):
        note(f"{one.path} has still to be made: `kaas build --arch {one.architecture}` does")
    unwritten: list[Failure] = []
    for name, array in outcome.outputs.items():
        saved, file = "", files.get(name)
        if file is not None and _write(file, partial(save, path=file, array=array), f"-o {name}={file}", unwritten):
            saved = f"  -> {file}{'' if is_npy(file) else ' (raw)'}"
        print(f"{name}  {array.dtype}{list(array.shape)}  {size(array.nbytes)}{saved}")
        if file is None:
            print(textwrap.indent(np.array2string(array, threshold=20, edgeitems=4), "  "))
    if rounds := outcome.stats.get("rounds"):
        print(f"rounds {', '.join(map(str, rounds))}")
    _show_printed(printed)
    if profile is not None:
        phases = phases_of(begun, compiled_at, profile, outcome.stats)
        if given.profile:
            print(f"\n{profile_text(profile, phases, compiled, kind)}")
        if given.trace:
            text = json.dumps(trace(bundle.manifest.name, profile, phases, kind), separators=(",", ":"))
            written = _write(given.trace, lambda file: file.write(text.encode()), "--trace", unwritten)
            if written and profile.left_out:
                note(f"{given.trace} has the first {MOST_SPANS} operations; {profile.left_out} more are left out")
    note(f"on {describe(kind)}")
    if unwritten:
        raise unwritten[0]
    return 0


def _run(
    kind: Kind,
    bundle: Bundle,
    compiled: Sequence[CompiledSource],
    arguments: Mapping[str, Any],
    profile: Profile | None,
) -> tuple[Outcome, Sequence[LogLine]]:
    """The outcome and what the kernels printed, which is shown also if there is no outcome."""
    solo = Solo(kind)
    try:
        return solo.run(bundle, compiled, arguments, profile), solo.printed
    except KaasError as error:
        _show_printed(solo.printed)
        if solo.lost:
            atexit.register(_leave, solo, as_failure(error).status)
        raise
    finally:
        if not solo.lost:
            solo.close()


def _leave(solo: Solo, status: int) -> None:
    """End the process while all of `solo` lives: its destructors would call into the lost context, and PyCUDA warns."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _write(path: Path, write: Callable[[IO[bytes]], object], where: str, unwritten: list[Failure]) -> bool:
    """Whether it could be written: one bad file must not cost the others, which the run was for as well."""
    try:
        write_file(path, write, where)
    except Failure as failure:
        unwritten.append(failure)
        return False
    return True


def _show_printed(printed: Sequence[LogLine]) -> None:
    for line in log_lines(printed):
        print(line)


def _check_outputs(bundle: Bundle, files: Mapping[str, Path]) -> None:
    outputs = [buffer.name for buffer in bundle.manifest.outputs]
    for name, file in files.items():
        where = f"-o {name}={file}"
        if name not in outputs:
            raise Failure(
                f"{bundle.manifest.name} has no output {name!r}",
                where=where,
                hint=f"its outputs: {', '.join(outputs) or 'none'}",
            )
        if is_safetensors(file):
            raise Failure(
                "safetensors files are read only", where=where, hint="the ending .npy, or another one for raw data"
            )
        if format_of(file.name).NAME == npz.NAME:
            raise Failure("an output is one array, and .npz an archive of them", where=where, hint="the ending .npy")


def _check_places(places: Mapping[str, Path | None]) -> None:
    """What cannot be written after the run is said before it. Places are by the option that names them."""
    taken: dict[Path, str] = {}
    for where, path in places.items():
        if path is None:
            continue
        check_place(path, where)
        file = file_at(path)
        if file is not None and taken.setdefault(file, where) != where:
            raise Failure(f"{path} is also the file of {taken[file]}", where=where)


def _check_inputs(manifest: Manifest, values: Mapping[str, Any]) -> None:
    """A call may carry what the action does not know, since sequences do; on a command line it is a slip."""
    inputs = all_by_caller(manifest).inputs
    known = [*(buffer.name for buffer in inputs), *manifest.params]
    for name, value in values.items():
        if name in manifest.params and isinstance(value, Path):
            raise Failure(f"{name} is a parameter, no buffer", where=f"-p {name}", hint=f"for example -p {name}=2")
        if name in known:
            continue
        if any(name == output.name for output in manifest.outputs):
            raise Failure(f"{name} is an output", where=f"-p {name}", hint=f"-o {name}={name}.npy saves it")
        named = [*known, *manifest.rename]
        raise Failure(
            f"{manifest.name} has no input or parameter {name!r}",
            where=f"-p {name}",
            hint=suggest(name, named) or f"it has {', '.join(named) or 'none'}",
        )
    for buffer in inputs:
        if buffer.name in values:
            continue
        reference = manifest.buffers[buffer.name].reference
        if reference is not None:
            raise _needs_store(buffer.name, reference)
        raise Failure(
            f"the input {buffer.name!r} is missing",
            where=f"-p {buffer.name}",
            hint=f"-p {buffer.name}=@{buffer.name}.npy, or -p {buffer.name}=[1,2,3]",
        )


def _argument(name: str, value: Any) -> Any:
    if isinstance(value, str) and _names_file(value):
        raise Failure(f"{value} is a file", where=f"-p {name}", hint=f"-p {name}=@{value} gives its contents")
    if isinstance(value, Path):
        return load(name, value)
    if isinstance(value, str) and "://" in value:
        raise _needs_store(name, Reference.parse(value, f"-p {name}"))
    return value


def _names_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # Too long for a name.
        return False


def _needs_store(name: str, reference: Reference) -> Failure:
    file = reference.key.rpartition("/")[2] if reference.scheme == "s3" else reference.key
    tensor = "" if reference.tensor is None else f"#{reference.tensor}"
    hint = f"-p {name}=@{file}{tensor}"
    if reference.scheme == "s3":
        hint = f"`kaas cp {reference.whole()} {file}` and {hint}, or `kaas up` and `kaas invoke`"
    if reference.version is not None or reference.offset is not None:
        hint = "`kaas up` and `kaas invoke` run it with a store"
    return Failure(
        f"{name} is {reference}, which is in an object store, and `kaas run` has none", where=f"-p {name}", hint=hint
    )
