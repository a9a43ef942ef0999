"""Everything that can be told about a kernel action without a server: what `kaas check` does before it prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from kaas.archive import is_archive, read_archive, read_directory
from kaas.binding import Binding
from kaas.bundle import INCLUDABLE, ZIP, Bundle
from kaas.errors import AuthorError, CallerError, KaasError
from kaas.graph import Source
from kaas.manifest import FILE_NAME, Manifest
from kaas.suggest import suggest
from kaas_cli.cubins import target_of
from kaas_cli.devices import images, target
from kaas_cli.sizes import bind_sizes, unset_sizes
from kaas_cli.sources import folder_of, open_bundle, place, unbuilt
from kaas_local.stack import Kind
from kaas_pool.compiler import CompiledSource, Target, Unit, nvrtc
from kaas_pool.compiler.local import compile_units
from kaas_pool.findings import Finding, Outcome, Subject, find
from kaas_pool.findings.estimate import Estimate, estimate
from kaas_pool.findings.finding import error, from_error, note
from kaas_pool.limits import Limits
from kaas_pool.signature_check import signatures_of

#: What NVRTC compiles for where there is no device: the features of the newest data-centre GPU of its line.
DEFAULT_ARCHITECTURE = "sm_90"

#: The most shared memory that a block can have on any device so far (compute capability 9.0 and 10.0, with opt-in).
_MOST_SHARED_BYTES = 227 << 10

#: What can be told of the parts of an action whose manifest is not whole.
_OF_PARTS = ("compile", "signature-mismatch")


@dataclass(frozen=True)
class Options:
    """What the command line asks for. `architecture` is None where NVRTC is used only if it is there."""

    device: Kind
    architecture: str | None
    sizes: Mapping[str, Any]
    allow_unsandboxed: bool


@dataclass(frozen=True)
class Report:
    """What was found, with files by the names by which the caller knows them.

    `manifest` is None if it cannot be read; `compilers` are those that compiled, `kernels` what all of them could;
    `unset` are the names that sizes wait for.
    """

    findings: Sequence[Finding]
    manifest: Manifest | None = None
    compilers: Sequence[str] = ()
    kernels: int = 0
    estimate: Estimate | None = None
    unset: Sequence[str] = ()

    def count(self, severity: str) -> int:
        """How many findings are of a severity."""
        return sum(finding.severity == severity for finding in self.findings)


def check(path: Path, options: Options) -> Report:
    """Check the action at `path`; raises PlatformError and Failure, whatever is no finding."""
    opened = _open(path)
    bundle, found = opened.bundle, opened.findings
    if bundle is None:
        return Report(_located(path, found))
    binding: Binding | None = None
    try:
        binding = bind_sizes(bundle, options.sizes) if options.sizes and opened.is_whole else None
    except CallerError as failure:
        found.append(from_error(failure))
    targets = _targets(options)
    outcomes = [outcome for name, one in targets.items() for outcome in _compile(bundle, one, name, options)]
    outcomes += _look_into_cubins(bundle, options)
    compiled = [one.result for one in outcomes if isinstance(one.result, CompiledSource)]
    subject = Subject(
        bundle.manifest,
        signatures_of(compiled),
        outcomes,
        {name: data.decode("utf-8", "replace") for name, data in bundle.files.items() if _is_text(name)},
        _limits(options.device),
        binding,
    )
    found += find(subject, only=None if opened.is_whole else _OF_PARTS)
    if folder_of(path) is not None:
        found += _unbuilt(bundle)
    return Report(
        _located(path, sorted(found, key=lambda finding: finding.order)),
        bundle.manifest,
        tuple(targets),
        sum(not source.compiled_only for source, _ in subject.signatures),
        estimate(subject) if binding is not None else None,
        unset_sizes(bundle, options.sizes) if opened.is_whole else (),
    )


@dataclass(frozen=True)
class _Opened:
    """As much of a bundle as can be read, and what is wrong with it; `is_whole` if that is all of the manifest."""

    bundle: Bundle | None
    findings: list[Finding]
    is_whole: bool


def _open(path: Path) -> _Opened:
    try:
        return _Opened(open_bundle(path, is_located=False, is_built=False), [], is_whole=True)
    except AuthorError as failure:
        files = _files(path)
        if FILE_NAME not in files:
            return _Opened(None, [from_error(failure)], is_whole=False)
        manifest, errors = Manifest.parse_all(files[FILE_NAME])
        found = [from_error(error) for error in errors]
        if manifest is None:
            return _Opened(None, found, is_whole=False)
        bundle = Bundle(manifest, files, "", ZIP, {})
        # What is wrong with neither the manifest nor its sources is the one thing that the bundle was refused for.
        found += list(_missing(bundle)) or ([] if errors else [from_error(failure)])
        return _Opened(bundle, found, is_whole=not errors)


def _files(path: Path) -> Mapping[str, bytes]:
    """The files of a bundle that cannot be opened, as far as they can be read."""
    folder = folder_of(path)
    try:
        if folder is not None:
            return read_directory(folder, lambda name: name == FILE_NAME or _is_text(name) or name.endswith(".cubin"))
        data = path.read_bytes()
        return read_archive(data) if is_archive(data) else {FILE_NAME: data}
    except AuthorError:
        return {}


def _missing(bundle: Bundle) -> Iterator[Finding]:
    for source in bundle.manifest.kernels:
        if source.text is None and not source.compiled_only and source.path not in bundle.files:
            known = ", ".join(sorted(name for name in bundle.files if name != FILE_NAME)[:10])
            found = error(
                bundle.manifest.place_of(source),
                f"there is no file {source.path!r}",
                "the kernel has nothing to be compiled from",
                suggest(source.path, bundle.files) or (f"the folder has {known}" if known else "the folder has none"),
            )
            yield replace(found, rule="source-missing")


def _unbuilt(bundle: Bundle) -> Iterator[Finding]:
    for one in unbuilt(bundle):
        found = note(
            one.where,
            f"there is no file {one.path!r} yet",
            "a bundle without it goes to no pool",
            f"`kaas build --arch {one.architecture}` makes it from the source and puts it into the zip",
        )
        yield replace(found, rule="cubin-missing")


def _is_text(name: str) -> bool:
    return PurePosixPath(name).suffix in INCLUDABLE


def _targets(options: Options) -> dict[str, Target]:
    """What to compile for: the device that is there, and beside an emulated one CUDA's own compiler."""
    if options.device == "cuda":
        return {"cuda": target("cuda")}
    found = {"emulated": Target("emulated")}
    try:
        nvrtc.load()
    except KaasError:
        if options.architecture is not None:
            raise
        return found
    architecture = options.architecture or DEFAULT_ARCHITECTURE
    found[architecture] = target_of(architecture)
    return found


def _compile(bundle: Bundle, one: Target, name: str, options: Options) -> Iterator[Outcome]:
    """Each unit's outcome; where a source lacks one kernel, each of its kernels' own."""
    waiting = [unit for unit in Unit.all_of(bundle.manifest) if _is_there(unit.source, bundle)]
    while waiting:
        again: list[Unit] = []
        results = compile_units(
            bundle, one, images=images(), allow_unsandboxed=options.allow_unsandboxed, units=waiting
        )
        for unit, result in results:
            if isinstance(result, KaasError) and result.row.blame == "platform":
                raise result
            if isinstance(result, KaasError) and result.code == "kernel_not_found" and len(unit.kernels) > 1:
                again += [replace(unit, kernels=(kernel,), places=()) for kernel in unit.kernels]
            else:
                yield Outcome(unit, name, result)
        waiting = again


def _is_there(source: Source, bundle: Bundle) -> bool:
    """Whether there is something to compile; cubins alone are for `_look_into_cubins`."""
    return not source.compiled_only and (source.text is not None or source.path in bundle.files)


def _look_into_cubins(bundle: Bundle, options: Options) -> Iterator[Outcome]:
    """Cubins alone, where there is no GPU: each for the architecture of its first, which it surely fits."""
    for unit in Unit.all_of(bundle.manifest):
        if unit.source.compiled_only and all(path in bundle.files for _, path in unit.source.cubins):
            architecture = unit.source.cubins[0][0]
            for _, result in compile_units(
                bundle, target_of(architecture), allow_unsandboxed=options.allow_unsandboxed, units=[unit]
            ):
                yield Outcome(unit, architecture, result)


def _limits(device: Kind) -> Limits:
    if device == "emulated":
        return Limits(shared_bytes=_MOST_SHARED_BYTES)
    from kaas_pool.executor.device import Device

    opened = Device("cuda", 0)
    try:
        return opened.limits
    finally:
        opened.close()


def _located(path: Path, findings: Sequence[Finding]) -> list[Finding]:
    """Files by the names by which the caller knows them."""

    def located(file: str) -> str:
        is_text = folder_of(path) is None and file == FILE_NAME and path.suffix in (".yaml", ".yml")
        return str(path) if not file or is_text else place(path, file) or file

    return [replace(finding, file=located(finding.file)) for finding in findings]
