"""What the tests of `kernels/gallery` share: arrays on the device, launches by number of threads, random shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from contract_device import Module, driver
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

#: Random shapes per test, besides the edges that it names.
_EXAMPLES = 6

#: After every array, and what it and fresh memory are filled with: as a float tiny, as an integer far off.
_MARGIN_BYTES = 64
_FILL = 0xA5

Test = Callable[..., None]


class Array:
    """An array in device memory. Kernels take it as it is; `get` notices whether one wrote past its end."""

    def __init__(self, shape: Any, dtype: Any) -> None:
        self._like = np.empty(shape, dtype)
        self._bytes = self._like.nbytes + _MARGIN_BYTES
        self.gpudata = driver().mem_alloc(self._bytes)
        driver().memset_d8(self.gpudata, _FILL, self._bytes)
        driver().Context.synchronize()  # Streams that do not wait for the default one may use it at once.

    def get(self) -> Any:
        """What is in it now, after all work of the default stream."""
        content = driver().from_device(self.gpudata, self._bytes, np.uint8)
        size = self._like.nbytes
        assert (content[size:] == _FILL).all(), "a kernel wrote past the end of an array"
        return content[:size].view(self._like.dtype).reshape(self._like.shape)

    def set(self, values: Any) -> None:
        """New content of the same size."""
        if self._like.nbytes:
            driver().memcpy_htod(self.gpudata, np.ascontiguousarray(values, self._like.dtype))

    def at(self, element: int) -> View:
        """The part that begins at one element, as a kernel's argument."""
        return View(self, int(self.gpudata) + element * self._like.itemsize)


@dataclass(frozen=True)
class View:
    """An address within an array, which lives as long."""

    whole: Array
    gpudata: int


NULL = np.uintp(0)


def put(values: Any) -> Array:
    """A copy of an array, or of a list of numbers, in device memory."""
    values = np.ascontiguousarray(values)
    made = Array(values.shape, values.dtype)
    made.set(values)
    return made


def zeros(shape: Any, dtype: Any) -> Array:
    """Cleared device memory; `Array` makes memory with arbitrary content."""
    return put(np.zeros(shape, dtype))


def kernels(name: str) -> Module:
    """The kernels of `kernels/gallery/<name>.cu`."""
    return Module(f"gallery/{name}")


def launch(
    kernel: Any, threads: int | tuple[int, ...], block: int | tuple[int, ...], *args: Any, **options: Any
) -> None:
    """Launches at least `threads` threads in whole blocks; none where there is nothing to do, as the pool does."""
    wanted = _three(threads)
    shape = _three(block)
    grid = tuple(-(-count // size) for count, size in zip(wanted, shape, strict=True))
    if 0 not in grid:
        kernel(*args, block=shape, grid=grid, **options)


def _three(extent: int | tuple[int, ...]) -> tuple[int, ...]:
    sizes = (extent,) if isinstance(extent, int) else extent
    return sizes + (1,) * (3 - len(sizes))


def shapes(*edges: tuple[int, ...], **most: int) -> Callable[[Test], Test]:
    """Runs a test with each of `edges`, then with random shapes; `most` names its dimensions and their limits."""

    def decorate(test: Test) -> Test:
        checked = given(**{name: st.integers(0, limit) for name, limit in most.items()})(test)
        for edge in edges:
            checked = example(**dict(zip(most, edge, strict=True)))(checked)
        quiet = [HealthCheck.function_scoped_fixture]  # One context serves all shapes of a test.
        return settings(max_examples=_EXAMPLES, derandomize=True, database=None, suppress_health_check=quiet)(checked)

    return decorate


def lengths(block: int, most: int = 2000) -> Callable[[Test], Test]:
    """`shapes` for a test with one dimension `n`: nothing, one, around one block, around several."""
    edges = (0, 1, block - 1, block, block + 1, 3 * block)
    return shapes(*((n,) for n in edges), n=most)


def rng(*seed: int) -> np.random.Generator:
    """Numbers that are the same in every run."""
    return np.random.default_rng(seed)
