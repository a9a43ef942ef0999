"""NVIDIA's cuda-bindings on PyCUDA's context: what the tests of graphs and of captures share."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from contract_device import compile_file, driver

INVALID_VALUE = 1
ILLEGAL_STATE = 401
ILLEGAL_ADDRESS = 700
NOT_SUPPORTED = 801
CAPTURE_UNSUPPORTED = 900
CAPTURE_INVALIDATED = 901
CAPTURE_MERGE = 902
CAPTURE_UNMATCHED = 903
CAPTURE_UNJOINED = 904
CAPTURE_ISOLATION = 905
CAPTURE_IMPLICIT = 906
CAPTURED_EVENT = 907
CAPTURE_WRONG_THREAD = 908
EXEC_UPDATE_FAILURE = 910

DEVICE = 2  # CU_MEMORYTYPE_DEVICE
HOST = 1  # CU_MEMORYTYPE_HOST

#: An argument of a kernel with its C type.
Argument = tuple[int | float, Any]


class Refused(Exception):
    """A call that the driver answered with an error."""

    def __init__(self, code: int, name: str) -> None:
        super().__init__(f"{code} {name}")
        self.code = code


def bindings() -> Any:
    """`cuda.bindings.driver` on the driver that PyCUDA uses."""
    driver()
    return importlib.import_module("cuda.bindings.driver")


def call(name: str, *arguments: Any) -> Any:
    """What a function of the driver answers: nothing, one value or several. Raises Refused."""
    status, *results = getattr(bindings(), name)(*arguments)
    if int(status):
        raise Refused(int(status), status.name)
    return results[0] if len(results) == 1 else tuple(results) or None


def code_of(name: str, *arguments: Any) -> int:
    """The code that a function of the driver answers."""
    return int(getattr(bindings(), name)(*arguments)[0])


def refusal(action: Callable[[], object]) -> int:
    """The code of the error that the action meets, from either library; 0 where it meets none."""
    cuda = driver()
    try:
        action()
    except Refused as error:
        return error.code
    except cuda.Error as error:
        text = str(error).rpartition("failed: ")[2].partition(" - ")[0]
        codes = [int(code) for code in bindings().CUresult if bindings().cuGetErrorString(code)[1] == text.encode()]
        assert len(codes) == 1, str(error)
        return codes[0]
    return 0


def pointer(memory: Any) -> Argument:
    """A kernel's argument that points to device memory."""
    return int(memory), ctypes.c_void_p


def integer(value: int) -> Argument:
    """A kernel's argument of type int."""
    return value, ctypes.c_int


class Library:
    """Kernels of one file, loaded through the bindings: PyCUDA does not show the handles of its functions."""

    def __init__(self, name: str) -> None:
        compiled = compile_file(name)
        self.module = call("cuModuleLoadData", compiled.image)
        self._symbols = compiled.symbols

    def __getitem__(self, kernel: str) -> Any:
        return call("cuModuleGetFunction", self.module, self._symbols[kernel].encode())


def kernel_parameters(function: Any, arguments: Sequence[Argument], *, grid: int = 1, block: int = 1) -> Any:
    """What a kernel node does."""
    given = bindings().CUDA_KERNEL_NODE_PARAMS()
    given.func = function
    given.gridDimX, given.gridDimY, given.gridDimZ = grid, 1, 1
    given.blockDimX, given.blockDimY, given.blockDimZ = block, 1, 1
    given.sharedMemBytes = 0
    given.kernelParams = (tuple(value for value, _ in arguments), tuple(kind for _, kind in arguments))
    return given


def copy_parameters(target: tuple[int, int], source: tuple[int, int], size: int) -> Any:
    """A copy of consecutive bytes; a side is a kind of memory and an address."""
    given = bindings().CUDA_MEMCPY3D()
    given.dstMemoryType = bindings().CUmemorytype(target[0])
    given.srcMemoryType = bindings().CUmemorytype(source[0])
    if target[0] == HOST:
        given.dstHost = target[1]
    else:
        given.dstDevice = target[1]
    if source[0] == HOST:
        given.srcHost = source[1]
    else:
        given.srcDevice = source[1]
    given.srcPitch = given.dstPitch = given.WidthInBytes = size
    given.Height = given.Depth = given.srcHeight = given.dstHeight = 1
    return given


def set_parameters(target: int, value: int, width: int, *, element: int = 4, height: int = 1, pitch: int = 0) -> Any:
    """A set of `height` rows of `width` elements."""
    given = bindings().CUDA_MEMSET_NODE_PARAMS()
    given.dst, given.value, given.elementSize = target, value, element
    given.width, given.height, given.pitch = width, height, pitch
    return given


class Graph:
    """A graph that is being built, in the current context."""

    def __init__(self, handle: Any = None) -> None:
        self.handle = call("cuGraphCreate", 0) if handle is None else handle

    def _add(self, function: str, after: Sequence[Any], *rest: Any) -> Any:
        return call(function, self.handle, list(after), len(after), *rest)

    def kernel(
        self, function: Any, *arguments: Argument, after: Sequence[Any] = (), grid: int = 1, block: int = 1
    ) -> Any:
        given = kernel_parameters(function, arguments, grid=grid, block=block)
        return self._add("cuGraphAddKernelNode", after, given)

    def copy(self, target: tuple[int, int], source: tuple[int, int], size: int, after: Sequence[Any] = ()) -> Any:
        given = copy_parameters(target, source, size)
        return self._add("cuGraphAddMemcpyNode", after, given, call("cuCtxGetCurrent"))

    def fill(self, target: int, value: int, width: int, after: Sequence[Any] = (), **shape: int) -> Any:
        given = set_parameters(target, value, width, **shape)
        return self._add("cuGraphAddMemsetNode", after, given, call("cuCtxGetCurrent"))

    def child(self, graph: Graph, after: Sequence[Any] = ()) -> Any:
        return self._add("cuGraphAddChildGraphNode", after, graph.handle)

    def empty(self, after: Sequence[Any] = ()) -> Any:
        return self._add("cuGraphAddEmptyNode", after)

    def connect(self, before: Any, after: Any) -> None:
        call("cuGraphAddDependencies", self.handle, [before], [after], 1)

    def nodes(self) -> list[int]:
        return _list("cuGraphGetNodes", self.handle)

    def roots(self) -> list[int]:
        return _list("cuGraphGetRootNodes", self.handle)

    def edges(self) -> set[tuple[int, int]]:
        count = call("cuGraphGetEdges", self.handle)[2]
        before, after, _ = call("cuGraphGetEdges", self.handle, count)
        return {(int(one), int(other)) for one, other in zip(before, after, strict=True)}

    def instantiate(self, flags: int = 0) -> Any:
        return call("cuGraphInstantiate", self.handle, flags)

    def run(self) -> None:
        """Instantiates it, runs it once and waits for it."""
        executable = self.instantiate()
        call("cuGraphLaunch", executable, 0)
        call("cuStreamSynchronize", 0)
        call("cuGraphExecDestroy", executable)

    def destroy(self) -> None:
        call("cuGraphDestroy", self.handle)


def _list(function: str, handle: Any) -> list[int]:
    count = call(function, handle)[1]
    return [int(node) for node in call(function, handle, count)[0]]


def launch(executable: Any, stream: Any = None) -> None:
    """Launches an executable graph in one of PyCUDA's streams, or in the default stream."""
    call("cuGraphLaunch", executable, stream.handle if stream else 0)


class Log:
    """What kernels `append` to, in order."""

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self.values, self.length = (cuda.to_device(np.zeros(count, np.int32)) for count in (1000, 1))

    def arguments(self, value: int) -> tuple[Any, ...]:
        return pointer(self.values), pointer(self.length), integer(value)

    def read(self) -> list[int]:
        count = int(self._cuda.from_device(self.length, 1, np.int32)[0])
        return [int(value) for value in self._cuda.from_device(self.values, 1000, np.int32)[:count]]


@pytest.fixture
def control(context: Any) -> Library:
    """The kernels of control.cu."""
    return Library("control")


@pytest.fixture
def graph(context: Any) -> Graph:
    """An empty graph."""
    return Graph()


@pytest.fixture
def log(cuda: Any, context: Any) -> Log:
    """Where kernels write who ran when."""
    return Log(cuda)
