"""Compiling a bundle from a plain program, by the same confined children that the pool uses."""

from __future__ import annotations

import os
import select
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kaas.archive import write_archive
from kaas.bundle import Bundle
from kaas.errors import KaasError
from kaas_pool.compiler import messages, start
from kaas_pool.compiler.answers import read_answer
from kaas_pool.compiler.images import ImageCache, image_key, included_files
from kaas_pool.compiler.messages import CompiledSource, Target, Unit
from kaas_pool.compiler.toolchains import Toolchain
from kaas_pool.frames import Frame, Link, LinkClosed
from kaas_pool.sandbox.policy import COMPILER_LIMITS, Limits
from kaas_pool.signature_check import check_compiled
from kaas_pool.spawn import kill_group, spawn

#: How long a child that has closed its link may take to end by itself, so that its exit status tells why.
_LAST_STEPS_SECONDS = 5.0


def compile_bundle(
    bundle: Bundle,
    target: Target,
    *,
    images: Path | None = None,
    allow_unsandboxed: bool = False,
    limits: Limits = COMPILER_LIMITS,
) -> list[CompiledSource]:
    """The compiled sources of a bundle, in the order written, one after the other.

    `images` is a directory to keep images in and to take them from; several processes may share one. Raises KaasError:
    `compile_error`, `kernel_not_found`, `compile_limit`, `sandbox_unavailable`, `toolchain_missing` or `internal`; when
    all compile, `signature_mismatch`.
    """
    compiled: list[CompiledSource] = []
    for _, done in compile_units(bundle, target, images=images, allow_unsandboxed=allow_unsandboxed, limits=limits):
        if isinstance(done, KaasError):
            raise done
        compiled.append(done)
    check_compiled(bundle.manifest, compiled)
    return compiled


def compile_units(
    bundle: Bundle,
    target: Target,
    *,
    images: Path | None = None,
    allow_unsandboxed: bool = False,
    limits: Limits = COMPILER_LIMITS,
    units: Sequence[Unit] | None = None,
) -> Iterator[tuple[Unit, CompiledSource | KaasError]]:
    """Each of `units` (all of a bundle's, if None) and what became of it, as it becomes known; for the rest as
    `compile_bundle`. Cubins that the bundle lacks are passed over where there is a source. Only `toolchain_missing`
    that concerns all of them is raised.
    """
    cache = ImageCache(images) if images is not None else None
    files = included_files(bundle)
    toolchain = Toolchain.present(target)
    archive: bytes | None = None
    for unit in Unit.all_of(bundle.manifest) if units is None else units:
        there = _without_missing(unit, bundle)
        key = image_key(files, there, target, toolchain.fingerprint)
        done = cache.find(key, there) if cache is not None else None
        if done is None:
            archive = archive or write_archive(bundle.files)
            try:
                done = _compile(there, target, archive, allow_unsandboxed, limits)
            except KaasError as error:
                yield unit, error
                continue
            if cache is not None and toolchain.is_unchanged:
                cache.keep(key, done)
        yield unit, replace(done, unit=unit)


def _without_missing(unit: Unit, bundle: Bundle) -> Unit:
    """The unit without those of its cubins that have still to be made."""
    source = unit.source
    if source.compiled_only or all(path in bundle.files for _, path in source.cubins):
        return unit
    cubins = tuple((architecture, path) for architecture, path in source.cubins if path in bundle.files)
    return replace(unit, source=replace(source, cubins=cubins))


def _compile(unit: Unit, target: Target, archive: bytes, allow_unsandboxed: bool, limits: Limits) -> CompiledSource:
    try:
        return _run_child(unit, target, archive, allow_unsandboxed, limits)
    except messages.ChildDied as death:
        raise messages.died(unit, death.exit_code) from None


def _run_child(unit: Unit, target: Target, archive: bytes, allow_unsandboxed: bool, limits: Limits) -> CompiledSource:
    with tempfile.TemporaryDirectory(prefix="kaas-compile-") as work:
        ours, theirs = Link.pair()
        try:
            command = start.command(target.device, Path(work), allow_unsandboxed=allow_unsandboxed, limits=limits)
            pid = spawn(command, theirs.fileno())
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        patience = 0.0
        try:
            answer = _ask(ours, unit.to_frame(target), archive)
        except LinkClosed:
            answer, patience = None, _LAST_STEPS_SECONDS
        finally:
            ours.close()
            status = _end(pid, patience)
        if answer is not None:
            return read_answer(unit, *answer)
        if not patience:
            raise messages.too_slow(unit)
        raise messages.ChildDied(status)


def _end(pid: int, patience: float) -> int:
    """Reap a child and kill what it has started, and itself too if it has not ended within `patience` seconds."""
    watch = os.pidfd_open(pid)
    try:
        select.select([watch], [], [], patience)
    finally:
        os.close(watch)
        kill_group(pid)
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _ask(link: Link, request: Frame, archive: bytes) -> tuple[Frame, list[int]] | None:
    """Send a request and wait for the answer; None after `WALL_SECONDS`. Raises LinkClosed."""
    bundle = messages.sealed_file("kaas-bundle", archive)
    try:
        link.send(request, [bundle])
    finally:
        os.close(bundle)
    arrived, _, _ = select.select([link], [], [], messages.WALL_SECONDS)
    return link.receive() if arrived else None
