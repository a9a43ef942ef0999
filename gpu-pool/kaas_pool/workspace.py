"""An invocation's own memory on a device: which buffers get a block, and where temporaries lie in a common one. Pure.

Temporaries share one block, the workspace. One is live from the first of the manifest's outermost steps that names it
to the last, so a loop counts as a whole; those that are not live at the same time may lie at the same place. What a
`swap` exchanges is live together, and a temporary that is exchanged with a result or an input gets a block of its
own: its storage may be the result in the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from kaas.binding import ALIGNMENT_BYTES
from kaas.graph import BufferArg, CopyStep, FillStep, KernelStep, RepeatStep, walk
from kaas.manifest import Manifest

#: The workspace's name among an invocation's blocks; no buffer's name is empty.
WORKSPACE = ""

#: Temporaries of no more than so many bytes in all lie side by side. Sharing would save nothing, because the device's
#: memory is dealt out in chunks of this size, and would put in order what could run at the same time.
APART_BYTES = 1 << 20

#: Manifests whose spans are remembered.
_MANIFESTS = 256

#: First and last of the outermost steps, counted from 0.
Span = tuple[int, int]


@dataclass(frozen=True)
class Workspace:
    """Where each temporary lies in the common block, and the block's bytes: the peak of what is live at once."""

    offsets: Mapping[str, int]
    bytes: int


@dataclass(frozen=True)
class Memory:
    """An invocation's own memory in bytes by block: a buffer's name, or `WORKSPACE`, whose inside `workspace` tells."""

    blocks: Mapping[str, int]
    workspace: Workspace

    @property
    def charged(self) -> int:
        """Bytes of a device that the blocks take."""
        return sum(map(charge, self.blocks.values()))


def charge(size: int) -> int:
    """What a buffer of `size` bytes takes of a device, in bytes."""
    return max(-(-size // ALIGNMENT_BYTES), 1) * ALIGNMENT_BYTES


def arrange(manifest: Manifest, sizes: Mapping[str, int]) -> Workspace:
    """Place the temporaries of a manifest; `sizes` are bytes by buffer."""
    taken = {name: charge(sizes[name]) for name in spans(manifest)}
    if sum(taken.values()) <= APART_BYTES:
        offsets, end = {}, 0
        for name, size in taken.items():
            offsets[name] = end
            end += size
        return Workspace(offsets, end)
    return place(spans(manifest), taken)


def place(live: Mapping[str, Span], sizes: Mapping[str, int]) -> Workspace:
    """The largest first, each at the lowest place that is free as long as it lives; sizes are multiples of 256."""
    offsets: dict[str, int] = {}
    end = 0
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        first, last = live[name]
        beside = sorted(
            (offset, offset + sizes[other])
            for other, offset in offsets.items()
            if live[other][0] <= last and first <= live[other][1]
        )
        offset = 0
        for begin, after in beside:
            if offset + sizes[name] <= begin:
                break
            offset = max(offset, after)
        offsets[name] = offset
        end = max(end, offset + sizes[name])
    return Workspace(offsets, end)


def neighbours(manifest: Manifest, sizes: Mapping[str, int], workspace: Workspace) -> Mapping[str, frozenset[str]]:
    """For each temporary the others, but those it is swapped with, that may lie at the same place as it."""
    offsets, group = workspace.offsets, swapped(manifest)
    found: dict[str, set[str]] = {}
    ordered = sorted(offsets, key=lambda name: offsets[name])
    for at, first in enumerate(ordered):
        end = offsets[first] + charge(sizes[first])
        for second in ordered[at + 1 :]:
            if offsets[second] >= end:
                break
            for one in group[first]:
                found.setdefault(one, set()).update(group[second])
            for one in group[second]:
                found.setdefault(one, set()).update(group[first])
    return {name: frozenset(others - group[name]) for name, others in found.items()}


def own_memory(manifest: Manifest, sizes: Mapping[str, int], private: frozenset[str], *, apart: bool = False) -> Memory:
    """The blocks of one invocation: results, `private` copies of inputs, temporaries apart, the workspace.

    `apart`: no workspace, each temporary has a block of its own.
    """
    together, used = {} if apart else spans(manifest), _used(manifest)
    blocks = {
        name: sizes[name]
        for name, buffer in manifest.buffers.items()
        if name not in together and (name in private if buffer.is_read else buffer.io != "temp" or name in used)
    }
    workspace = Workspace({}, 0) if apart else arrange(manifest, sizes)
    if workspace.bytes:
        blocks[WORKSPACE] = workspace.bytes
    return Memory(blocks, workspace)


def device_bytes(manifest: Manifest, sizes: Mapping[str, int], private: frozenset[str], *, apart: bool = False) -> int:
    """Device memory that an invocation needs at once, in bytes: each input's object, and `own_memory`."""
    inputs = sum(charge(sizes[name]) for name, buffer in manifest.buffers.items() if buffer.is_read)
    return inputs + own_memory(manifest, sizes, private, apart=apart).charged


@lru_cache(_MANIFESTS)
def spans(manifest: Manifest) -> Mapping[str, Span]:
    """When each temporary of the workspace is live; those that no step names are not in it, nor in any block."""
    found, group = _used(manifest), swapped(manifest)
    live: dict[str, Span] = {}
    for name in found:
        members = group[name]
        if all(manifest.buffers[member].io == "temp" for member in members):
            live[name] = min(found[member][0] for member in members), max(found[member][1] for member in members)
    return live


@lru_cache(_MANIFESTS)
def swapped(manifest: Manifest) -> Mapping[str, frozenset[str]]:
    """For each buffer those whose storage its name may denote, itself included."""
    group = {name: {name} for name in manifest.buffers}
    for step in walk(manifest.steps):
        if isinstance(step, RepeatStep) and step.swap is not None:
            first, second = step.swap
            merged = group[first] | group[second]
            group.update(dict.fromkeys(merged, merged))
    return {name: frozenset(members) for name, members in group.items()}


@lru_cache(_MANIFESTS)
def _used(manifest: Manifest) -> Mapping[str, Span]:
    """The outermost steps between which each buffer is named."""
    found: dict[str, Span] = {}
    for at, outermost in enumerate(manifest.steps):
        for step in walk((outermost,)):
            for name in _named(step):
                found[name] = (found[name][0] if name in found else at, at)
    return {name: found[name] for name in manifest.buffers if name in found}


def _named(step: object) -> list[str]:
    if isinstance(step, KernelStep):
        return [arg.buffer for arg in step.args if isinstance(arg, BufferArg)]
    if isinstance(step, FillStep):
        return [step.buffer]
    if isinstance(step, CopyStep):
        return [step.source, step.target]
    assert isinstance(step, RepeatStep)
    until = [step.until.buffer] if step.until is not None else []
    return [*(step.swap or ()), *until]
