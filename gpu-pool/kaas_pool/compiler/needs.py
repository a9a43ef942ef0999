"""What kernels take of a block: static shared memory and a bound on its threads, as their image tells. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kaas_emulator import resources
from kaas_pool.compiler.cubin import read_cubin, section
from kaas_pool.compiler.signatures import KernelSignature
from kaas_pool.sandbox import DeviceKind


def with_needs(
    image: bytes, device: DeviceKind, signatures: Mapping[str, KernelSignature]
) -> dict[str, KernelSignature]:
    """The signatures of the kernels of an image, completed. Raises ValueError for what is no image of the device."""
    symbols = list(dict.fromkeys(one.symbol for one in signatures.values()))
    if device == "emulated":
        # Its table has the kernels in the order in which they were asked for.
        records = resources.from_section(section(image, resources.SECTION))
        shared, threads = {}, {}
        for symbol, one in zip(symbols, records, strict=True):
            shared[symbol], threads[symbol] = one.static_shared, one.threads
    else:
        cubin = read_cubin(image)
        shared, threads = dict(cubin.static_shared), dict(cubin.most_threads)
    return {
        name: replace(one, static_shared=shared.get(one.symbol, 0), most_threads=threads.get(one.symbol))
        for name, one in signatures.items()
    }
