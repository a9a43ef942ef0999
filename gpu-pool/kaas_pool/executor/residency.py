"""What lies in one executor's device memory and why: cached objects, workspaces, finished outputs.

Pure bookkeeping: no CUDA, no clock. A block is a number (its handle); the caller holds the memory behind it.

    input   an object of the cache, known by its content key: first loading, then resident; pinned by invocations
    work    private memory of one running invocation: outputs, temporaries, private copies
    kept    an output whose invocation has ended, waiting to be adopted under a content key or dropped

Inputs that nobody pins and kept outputs may be evicted at any time; nothing else ever is. An invocation pins all it
needs as one set or nothing, so two invocations can never wait for each other's memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from kaas_pool.executor.eviction import EvictionPolicy, LeastRecentlyUsed

Kind = Literal["input", "work", "kept"]


@dataclass
class Block:
    """One piece of device memory of `size` bytes, as it is charged to the budget."""

    size: int
    kind: Kind
    #: Content key of an input, name of a work or kept buffer.
    name: str
    #: Invocations that need it. One for work, none for kept.
    pins: set[str] = field(default_factory=set)
    #: Inputs: whether the contents are there.
    resident: bool = True
    #: Inputs that are not resident: the invocation whose supply will fill it; None once the copy has begun.
    loader: str | None = None
    #: Inputs: the content key before this one, which finds it too.
    former: str | None = None
    #: Whether its size is part of `Residency.pinned`.
    counted: bool = False

    @property
    def evictable(self) -> bool:
        """Whether the block may go now."""
        return not self.pins and self.resident


@dataclass(frozen=True)
class Pinned:
    """All an invocation needs is there or reserved. Handles by content key and by workspace name."""

    inputs: Mapping[str, int]
    work: Mapping[str, int]
    #: Keys that were resident, that this invocation must ask for, and that another one has asked for already.
    hits: tuple[str, ...]
    loads: tuple[str, ...]
    joins: tuple[str, ...]


@dataclass(frozen=True)
class Busy:
    """The set fits the budget, but not before other invocations end; `short` bytes are missing."""

    short: int


@dataclass(frozen=True)
class TooLarge:
    """The set alone is over the budget and never fits."""

    needed: int
    budget: int


@dataclass
class Changes:
    """What happened since the last look: handles whose memory is to be freed, keys that left and keys that came."""

    freed: list[int] = field(default_factory=list)
    #: What became of each key last: its bytes if it is there, None if it has left.
    keys: dict[str, int | None] = field(default_factory=dict)

    @property
    def evicted(self) -> list[str]:
        """Keys that left, and did not come back."""
        return [key for key, size in self.keys.items() if size is None]

    @property
    def added(self) -> list[tuple[str, int]]:
        """Keys that came and stayed, with their sizes in bytes."""
        return [(key, size) for key, size in self.keys.items() if size is not None]

    def extend(self, later: Changes) -> None:
        """Add what happened after this."""
        self.freed += later.freed
        self.keys |= later.keys


class Residency:
    """The device cache and every workspace of one executor, under one budget in bytes."""

    def __init__(self, budget: int, policy: EvictionPolicy | None = None) -> None:
        self.budget = budget
        #: Sum of all blocks' sizes. Over the budget only while pinned blocks alone are, after a `shrink`.
        self.used = 0
        #: Bytes that cannot be evicted now.
        self.pinned = 0
        self._policy: EvictionPolicy = policy if policy is not None else LeastRecentlyUsed()
        self._blocks: dict[int, Block] = {}
        self._inputs: dict[str, int] = {}
        #: Former content keys of inputs.
        self._former: dict[str, int] = {}
        #: Handles each invocation pins; it has an entry from `pin_set` to `release`.
        self._pins: dict[str, set[int]] = {}
        #: Kept outputs: invocation -> name -> handle. Evicted ones leave.
        self._kept: dict[str, dict[str, int]] = {}
        self._kept_by: dict[int, str] = {}
        self._handles = count(1)
        self._changes = Changes()

    def resident(self) -> list[tuple[str, int]]:
        """Content keys on the device with their sizes in bytes."""
        found = []
        for key, handle in self._inputs.items():
            block = self._blocks[handle]
            if block.resident:
                found.append((key, block.size))
        return found

    def take_changes(self) -> Changes:
        """Hand over what changed since the last call; the caller frees the memory of `freed`."""
        changes, self._changes = self._changes, Changes()
        return changes

    def pin_set(self, inv: str, inputs: Mapping[str, int], work: Mapping[str, int]) -> Pinned | Busy | TooLarge:
        """Pin `inputs` (key -> bytes) and make `work` (name -> bytes), evicting what must go; or change nothing."""
        if inv in self._pins:
            raise ValueError(f"{inv} has pinned its set already")
        needed = sum(inputs.values()) + sum(work.values())
        if needed > self.budget:
            return TooLarge(needed, self.budget)
        pins = {handle for key in inputs if (handle := self._find(key)) is not None}
        present = [self._blocks[handle] for handle in pins]
        new = needed - sum(block.size for block in present)
        unpinned = sum(block.size for block in present if block.evictable)
        if self.pinned + unpinned + new > self.budget:
            return Busy(self.pinned + unpinned + new - self.budget)
        self._pins[inv] = pins
        for block in present:
            block.pins.add(inv)
            self._recount(block)
        self._make_room(new)
        return self._pinned(inv, inputs, work, pins)

    def _pinned(self, inv: str, inputs: Mapping[str, int], work: Mapping[str, int], pins: set[int]) -> Pinned:
        hits, loads, joins = [], [], []
        handles = {}
        for key, size in inputs.items():
            handle = self._find(key)
            if handle is None:
                loads.append(key)
                handle = self._inputs[key] = self._add(Block(size, "input", key, {inv}, resident=False, loader=inv))
            elif self._blocks[handle].resident:
                hits.append(key)
            else:
                joins.append(key)
            handles[key] = handle
            pins.add(handle)
            self._policy.used(handle, self._blocks[handle].size)
        spaces = {name: self._add(Block(size, "work", name, {inv})) for name, size in work.items()}
        pins.update(spaces.values())
        return Pinned(handles, spaces, tuple(hits), tuple(loads), tuple(joins))

    def loading(self, key: str, inv: str) -> tuple[int, int] | None:
        """The supply of `key` for `inv` is here: (handle, bytes) of the block to copy it to; None if none waits."""
        handle = self._inputs.get(key)
        if handle is None or self._blocks[handle].loader != inv:
            return None
        self._blocks[handle].loader = None
        return handle, self._blocks[handle].size

    def loaded(self, key: str) -> frozenset[str]:
        """The contents of `key` are there; returns the invocations that pin it."""
        handle = self._inputs[key]
        block = self._blocks[handle]
        block.resident = True
        self._recount(block)
        self._changes.keys[key] = block.size
        self._make_room(0)
        return frozenset(block.pins)

    def not_loaded(self, key: str) -> frozenset[str]:
        """The contents of `key` will not come: the block is gone; returns the invocations that pinned it."""
        handle = self._inputs[key]
        victims = frozenset(self._blocks[handle].pins)
        for inv in victims:
            self._pins[inv].discard(handle)
        self._remove(handle)
        return victims

    def release(self, inv: str, keep: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
        """End `inv`: unpin its inputs, free its workspaces except those of `keep`, which wait for `adopt` or `drop`.

        `keep` maps a workspace's name to the name of the output in it. Returns loads that were asked for in the
        invocation's name and are still wanted, as (key, other invocation).
        """
        handed: list[tuple[str, str]] = []
        kept = keep or {}
        for handle in sorted(self._pins.pop(inv)):
            block = self._blocks[handle]
            block.pins.discard(inv)
            if block.kind == "work":
                if block.name in kept:
                    block.kind, block.name = "kept", kept[block.name]
                    self._kept.setdefault(inv, {})[block.name] = handle
                    self._kept_by[handle] = inv
                    self._recount(block)
                else:
                    self._remove(handle)
            elif block.loader == inv:
                if block.pins:
                    block.loader = min(block.pins)
                    handed.append((block.name, block.loader))
                else:
                    self._remove(handle)
            else:
                self._recount(block)
        self._make_room(0)
        return handed

    def adopt(self, inv: str, keys: Mapping[str, str]) -> None:
        """Give kept outputs (name -> content key) to the cache and free the invocation's others.

        What was evicted meanwhile stays away; a key that is already there stays as it is.
        """
        for name, handle in self._kept.pop(inv, {}).items():
            del self._kept_by[handle]
            key = keys.get(name)
            if key is None or key in self._inputs:
                self._remove(handle)
                continue
            block = self._blocks[handle]
            block.kind, block.name = "input", key
            self._inputs[key] = handle
            self._changes.keys[key] = block.size

    def rename(self, old: str, new: str) -> None:
        """Give what is resident as `old` the content key `new`; it is found under both.

        What is not there, or there as `new`, stays as it is.
        """
        handle = self._inputs.get(old)
        if handle is None or new in self._inputs or not self._blocks[handle].resident:
            return
        block = self._blocks[handle]
        self._forget_key(block)
        if (other := self._former.get(old)) is not None:
            self._blocks[other].former = None
        block.name, block.former = new, old
        self._inputs[new] = self._former[old] = handle
        self._changes.keys[old] = None
        self._changes.keys[new] = block.size

    def _find(self, key: str) -> int | None:
        handle = self._inputs.get(key)
        return self._former.get(key) if handle is None else handle

    def _forget_key(self, block: Block) -> None:
        del self._inputs[block.name]
        if block.former is not None:
            del self._former[block.former]

    def drop(self, inv: str) -> None:
        """Free the kept outputs of `inv`."""
        self.adopt(inv, {})

    def evict_idle(self, size: int) -> int:
        """Evict at least `size` bytes of what nobody pins, or all of it; returns the bytes."""
        before = self.used
        self._make_room(size + self.budget - self.used)
        return before - self.used

    def shrink(self, budget: int) -> None:
        """Set the budget and evict down to it; what is pinned follows when it is released."""
        self.budget = budget
        self._make_room(0)

    def _make_room(self, size: int) -> None:
        excess = self.used + size - self.budget
        if excess <= 0:
            return
        victims = []
        for handle in self._policy.victims():
            if excess <= 0:
                break
            if self._blocks[handle].evictable:
                victims.append(handle)
                excess -= self._blocks[handle].size
        for handle in victims:
            self._remove(handle)

    def _add(self, block: Block) -> int:
        handle = next(self._handles)
        self._blocks[handle] = block
        self.used += block.size
        self._recount(block)
        self._policy.used(handle, block.size)
        return handle

    def _remove(self, handle: int) -> None:
        block = self._blocks.pop(handle)
        self.used -= block.size
        if block.counted:
            self.pinned -= block.size
        self._policy.gone(handle)
        self._changes.freed.append(handle)
        if block.kind == "input":
            self._forget_key(block)
            if block.resident:
                self._changes.keys[block.name] = None
        elif block.kind == "kept" and handle in self._kept_by:
            inv = self._kept_by.pop(handle)
            kept = self._kept[inv]
            del kept[block.name]
            if not kept:
                del self._kept[inv]

    def _recount(self, block: Block) -> None:
        if block.counted == block.evictable:
            block.counted = not block.counted
            self.pinned += block.size if block.counted else -block.size

    def check(self) -> None:
        """Assert every invariant; for tests."""
        blocks = self._blocks
        assert self.used == sum(block.size for block in blocks.values())
        assert self.pinned == sum(block.size for block in blocks.values() if not block.evictable)
        assert self.used <= self.budget or not any(block.evictable for block in blocks.values())
        assert {name: handle for handle, block in blocks.items() if block.kind == "input" for name in [block.name]} == (
            self._inputs
        )
        assert {block.former: handle for handle, block in blocks.items() if block.former is not None} == self._former
        for handle, block in blocks.items():
            assert block.pins == {inv for inv, pins in self._pins.items() if handle in pins}
            if block.kind == "input":
                assert block.loader is None or (not block.resident and block.loader in block.pins)
            else:
                assert block.resident
                assert block.loader is None
                assert len(block.pins) == (1 if block.kind == "work" else 0)
        kept = {handle: inv for inv, names in self._kept.items() for handle in names.values()}
        assert kept == self._kept_by
        assert set(kept) == {handle for handle, block in blocks.items() if block.kind == "kept"}
        assert all(self._kept.values())
        assert set(self._policy.victims()) == set(blocks)
