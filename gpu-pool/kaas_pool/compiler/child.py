"""The compiler child: one source, once, inside walls that it puts up itself before it reads the bundle."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

from kaas.errors import AuthorError, KaasError, PlatformError
from kaas_emulator import CompileFailed, EmulatorError, toolchain
from kaas_pool.compiler import cubins, kernels, nvrtc, toolchains
from kaas_pool.compiler.cubins import check_cubins
from kaas_pool.compiler.diagnostics import Diagnostics, first_error, from_first_error
from kaas_pool.compiler.messages import Request, over_limit, sealed_file
from kaas_pool.compiler.needs import with_needs
from kaas_pool.compiler.shared_memory import HINT as SHARED_HINT
from kaas_pool.compiler.shared_memory import shared_excess
from kaas_pool.compiler.signatures import KernelSignature, read_signatures
from kaas_pool.compiler.workspace import Workspace, unpack
from kaas_pool.frames import Frame, Link, LinkClosed
from kaas_pool.sandbox import confine_compiler
from kaas_pool.sandbox.policy import Limits
from kaas_pool.spawn import LINK, die_with_parent
from kaas_pool.storage import FULL_SIGNS, is_full, storage_full

#: What a compiler prints when it meets one of its limits: the C library's names of the signals, and its own words.
_LIMIT_SIGNS = {
    "CPU time limit exceeded": "compiling took more processor time than it may use",
    "File size limit exceeded": "compiling wrote a larger file than it may",
    "File too large": "compiling wrote a larger file than it may",
    "out of memory": "compiling took more memory than it may use",
    "OUT_OF_MEMORY": "compiling took more memory than it may use",
    "virtual memory exhausted": "compiling took more memory than it may use",
    "std::bad_alloc": "compiling took more memory than it may use",
    "Cannot allocate memory": "compiling took more memory than it may use",
    "Killed signal": "compiling was killed, most likely for its memory",
}

_INCLUDE_SIGNS = ("No such file or directory", "Permission denied", "not open source file", "file not found")

_SEMICOLON = re.compile(r"expected [^a-z]*(?:(?:or|a) [^a-z]*)?;")

#: What others import only when they need it, which is when these can no longer be read: zipfile's names, suggestions.
_LATE_IMPORTS = ("encodings.cp437", "difflib")

_log = logging.getLogger("kaas_pool.compiler")


@dataclass(frozen=True)
class _Place:
    """Where a compile happens and within which limits."""

    work: Path
    limits: Limits
    allow_unsandboxed: bool


@dataclass(frozen=True)
class Compiled:
    """An image, the kernels' signatures by the manifest's names, and the compiler's warnings."""

    image: bytes
    signatures: dict[str, KernelSignature]
    log: str


def main() -> int:
    """Answer one `compile` frame; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m kaas_pool.compiler", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="an empty folder, this process's alone")
    parser.add_argument("--allow-unsandboxed", action="store_true", help="compile unconfined where walls cannot be had")
    parser.add_argument("--cpu-seconds", type=int, required=True, help="limit on each process's processor time")
    parser.add_argument("--memory-bytes", type=int, required=True, help="limit on each process's address space")
    parser.add_argument("--output-bytes", type=int, required=True, help="limit on each file written")
    given = parser.parse_args()
    limits = Limits(given.cpu_seconds, given.memory_bytes, given.output_bytes)
    logging.basicConfig(level=logging.INFO, format="compiler: %(message)s", stream=sys.stderr)
    link = Link.from_descriptor(LINK)
    try:
        frame, descriptors = link.receive()
    except LinkClosed:
        return 0
    with contextlib.suppress(LinkClosed):
        answer, image = _answer(frame, descriptors, _Place(given.work, limits, given.allow_unsandboxed))
        link.send(answer, image)
    return 0


def _answer(frame: Frame, descriptors: list[int], place: _Place) -> tuple[Frame, list[int]]:
    begun = time.monotonic()
    try:
        request = Request.from_frame(frame)
        compiled = _compile(request, descriptors[0], place)
    except KaasError as error:
        return {"type": "error", "error": error.to_json()}, []
    except OSError as error:
        if not is_full(error):
            return _defect(), []
        return {"type": "error", "error": storage_full("the source cannot be compiled").to_json()}, []
    except MemoryError:
        return {"type": "error", "error": over_limit(_LIMIT_SIGNS["out of memory"], frame.get("source")).to_json()}, []
    except Exception:
        return _defect(), []
    seconds = round(time.monotonic() - begun, 3)
    signatures = {name: signature.to_json() for name, signature in compiled.signatures.items()}
    body = {"type": "compiled", "signatures": signatures, "log": compiled.log, "seconds": seconds}
    return body, [sealed_file("kaas-image", compiled.image)]


def _defect() -> Frame:
    """The answer to an exception that nobody expects. The author gets no trace: it would name this machine's files."""
    _log.error("a defect of the compiler: %s", traceback.format_exc())
    failure = PlatformError("internal", "the compiler child failed; the pool's log has the details")
    return {"type": "error", "error": failure.to_json()}


def _compile(request: Request, descriptor: int, place: _Place) -> Compiled:
    device = request.target.device
    # All that is imported, loaded or looked up late has to be known before the walls are there.
    for module in _LATE_IMPORTS:
        importlib.import_module(module)
    if device == "cuda" and not request.compiled_only and _chosen(request) is None:
        nvrtc.load()
    readable = toolchains.readable(device)
    work = place.work
    os.chdir(work)
    toolchains.Toolchain.present(request.target)
    tempfile.tempdir = str(work)
    if device == "emulated":
        _take_the_host_compiler_along()
    confine_compiler(work, readable=readable, limits=place.limits, allow_unsandboxed=place.allow_unsandboxed)
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        workspace = unpack(request, file.read(), work)
    diagnostics = Diagnostics(str(workspace.root), workspace.files)
    try:
        built = _build(request, workspace, diagnostics)
    except (CompileFailed, nvrtc.Refused) as refused:
        raise _refusal(str(refused), diagnostics, request) from None
    except EmulatorError as missing:
        raise PlatformError("toolchain_missing", diagnostics.scrub(str(missing))) from missing
    return replace(built, signatures=with_needs(built.image, device, built.signatures))


def _take_the_host_compiler_along() -> None:
    """When the parent ends, end the host compiler with this process: its death signal reaches this process alone."""
    die_with_parent(os.getppid(), signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))


def _build(request: Request, workspace: Workspace, diagnostics: Diagnostics) -> Compiled:
    where = next(iter(request.places), request.source)
    files = check_cubins(request.cubins, workspace.files, request.kernels, where)
    path = _chosen(request)
    if request.compiled_only:
        if path is None:
            raise _nothing_to_run(request, where)
        return Compiled(workspace.files[path], cubins.signatures_of(path, files[path], request.kernels), "")
    defines = dict(request.defines)
    text = toolchain.preprocess(workspace.source, includes=workspace.includes, defines=defines, workdir=workspace.root)
    wanted = kernels.resolve(request.kernels, read_signatures(text), request.source, request.asked, text)
    if path is not None:
        return Compiled(workspace.files[path], cubins.check_source(path, files[path], wanted, where), "")
    names = list(dict.fromkeys(signature.symbol for signature in wanted.values()))
    if request.target.device == "emulated":
        image = toolchain.compile_image(
            workspace.source, names, includes=workspace.includes, defines=defines, workdir=workspace.root
        )
        return Compiled(image, wanted, "")
    cubin = nvrtc.compile_cubin(
        workspace.source.read_text("utf-8", "replace"),
        str(workspace.source.relative_to(workspace.root)),
        compute_capability=request.target.compute_capability,
        include=[*workspace.includes, *nvrtc.include_directories()],
        defines=request.defines,
        expressions=names,
    )
    signatures = {name: replace(one, symbol=cubin.symbols[one.symbol]) for name, one in wanted.items()}
    return Compiled(cubin.image, signatures, "\n".join(diagnostics.lines(cubin.log)))


def _chosen(request: Request) -> str | None:
    """The cubin to take in place of a compile."""
    if request.target.device == "emulated":
        return None
    return cubins.choose(request.cubins, request.target.compute_capability)


def _nothing_to_run(request: Request, where: str) -> KaasError:
    if request.target.device == "emulated":
        return AuthorError(
            "not_supported",
            f"{request.kernels[0]} has cubins alone, and the emulated device runs sources only",
            where=where,
            hint="add source",
        )
    major, minor = request.target.compute_capability
    given = ", ".join(architecture for architecture, _ in request.cubins)
    return AuthorError(
        "not_supported",
        f"{request.kernels[0]} has cubins for {given}; none of them runs on this device, which is sm_{major}{minor}",
        where=where,
        hint=f"add source, or a cubin for sm_{major}{minor}: one for the same major version and no later minor runs",
    )


def _refusal(log: str, diagnostics: Diagnostics, request: Request) -> KaasError:
    if any(sign in log for sign in FULL_SIGNS):
        return storage_full("the source cannot be compiled")
    for sign, told in _LIMIT_SIGNS.items():
        if sign in log:
            return over_limit(told, request.source)
    lines = diagnostics.lines(log)
    where, what = first_error(lines)
    if where is None and (excess := shared_excess(log, diagnostics.files, request.source)) is not None:
        return AuthorError("compile_error", excess.message, where=excess.where or request.source, hint=SHARED_HINT)
    hint = None
    if any(sign in what for sign in _INCLUDE_SIGNS):
        hint = diagnostics.include_hint(what)
    elif _SEMICOLON.match(what):
        hint = "the end of the line before may lack it"
    return AuthorError("compile_error", "\n".join(from_first_error(lines)), where=where or request.source, hint=hint)
