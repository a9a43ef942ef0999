"""What a device has to do for one action and one set of sizes: operations, and the memory they need.

Pure: no CUDA, no I/O, no clock. A plan depends on the bundle, the symbols and the parameters, not on the data and not
on addresses, so it is built once per shape and kept.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kaas.binding import Binding
from kaas.dtypes import Number
from kaas.manifest import Manifest
from kaas_pool.access import kernel_access
from kaas_pool.limits import Limits
from kaas_pool.operations import Operation
from kaas_pool.signature_check import Kernel, Signatures
from kaas_pool.workspace import Memory, charge


@dataclass(frozen=True)
class Plan:
    """The operations of one shape class. Buffers are numbered in the manifest's order, `kernels` in order of use.

    `names` are the values of symbols and parameters, for operations that depend on a loop's index.
    """

    buffers: tuple[str, ...]
    #: Bytes of each buffer.
    sizes: tuple[int, ...]
    #: Read before they are written: their contents come from the cache.
    inputs: frozenset[str]
    #: Inputs that a step may write or that are results, and which are therefore copies of the cached object.
    private: frozenset[str]
    #: Cleared before the first operation. Temporaries whose place is used by others before them are cleared later, by
    #: operations.
    zeroed: frozenset[str]
    #: Results, temporaries and private copies.
    memory: Memory
    kernels: tuple[Kernel, ...]
    operations: tuple[Operation, ...]
    names: Mapping[str, Number]
    #: Streams that the operations are on.
    lanes: int
    #: Loops that a value on the device may end.
    untils: int

    @staticmethod
    def build(manifest: Manifest, binding: Binding, signatures: Signatures, limits: Limits) -> Plan:
        """Evaluate and check every step that does not depend on a loop's index; the others are checked as they run.

        Raises AuthorError `signature_mismatch`, CallerError `launch_invalid` or `expression_range`, each with the
        place in the manifest.
        """
        from kaas_pool.plan_builder import Builder  # It makes plans.

        return Builder(manifest, binding, signatures, limits).plan()

    @cached_property
    def device_bytes(self) -> int:
        """Device memory for everything at once: each input's object, and the invocation's own memory."""
        sizes = dict(zip(self.buffers, self.sizes, strict=True))
        return sum(charge(sizes[name]) for name in self.inputs) + self.memory.charged

    def size_of(self, buffer: str) -> int:
        """Bytes of a buffer."""
        return self.sizes[self.buffers.index(buffer)]


def private_copies(manifest: Manifest, signatures: Signatures | None) -> frozenset[str]:
    """The inputs that need a copy of their own: what some step may write, what is swapped, and every `inout`.

    Without signatures, those of which the manifest alone tells.
    """
    written = {*manifest.written, *(name for name, buffer in manifest.buffers.items() if buffer.is_stored)}
    for step in manifest.kernel_steps:
        if signatures is not None:
            written |= kernel_access(step, signatures[step.source, step.kernel]).writes
        else:
            written |= step.writes or frozenset()
    return frozenset(name for name in written if manifest.buffers[name].is_read)


class PlanCache:
    """Plans by bundle and shape class, the most recently used `bound` of them."""

    def __init__(self, bound: int = 256) -> None:
        self._bound = bound
        self._plans: OrderedDict[tuple[str, str], Plan] = OrderedDict()

    def get(
        self, digest: str, manifest: Manifest, binding: Mapping[str, Any], signatures: Signatures, limits: Limits
    ) -> Plan:
        """The plan for a binding in its JSON form, which is decoded only for a plan that is not there yet.

        Raises as `Plan.build`; what cannot be planned is not remembered.
        """
        key = (digest, json.dumps([binding["params"], binding["symbols"]], sort_keys=True))
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = Plan.build(manifest, Binding.from_json(binding), signatures, limits)
            if len(self._plans) > self._bound:
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(key)
        return plan

    def __len__(self) -> int:
        return len(self._plans)
