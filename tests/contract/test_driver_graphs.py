"""Explicit graphs, as the pool builds them: PyCUDA's context and memory, NVIDIA's bindings for the graph."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from contract_device import Gate, Module
from graph_device import (
    DEVICE,
    EXEC_UPDATE_FAILURE,
    HOST,
    INVALID_VALUE,
    Graph,
    Library,
    Log,
    bindings,
    call,
    code_of,
    control,
    copy_parameters,
    graph,
    integer,
    kernel_parameters,
    launch,
    log,
    pointer,
    refusal,
    set_parameters,
)

__all__ = ["control", "graph", "log"]


# ***** order *****


def test_edges_decide_the_order(graph: Graph, control: Library, log: Log) -> None:
    """Added from last to first, so that the order of adding cannot be what decides."""
    nodes = [graph.kernel(control["append"], *log.arguments(value)) for value in range(20)]
    for before, after in zip(nodes[1:], nodes, strict=False):
        graph.connect(before, after)
    graph.run()
    assert log.read() == list(range(19, -1, -1))


def test_a_diamond_joins(cuda: Any, graph: Graph, control: Library) -> None:
    values = cuda.to_device(np.zeros(4, np.int32))
    top = graph.fill(int(values), 1, 1)
    sides = [graph.copy((DEVICE, int(values) + 4 * i), (DEVICE, int(values)), 4, after=[top]) for i in (1, 2)]
    meeting = graph.empty(after=sides)
    graph.copy((DEVICE, int(values) + 12), (DEVICE, int(values) + 8), 4, after=[meeting])
    graph.run()
    assert list(cuda.from_device(values, 4, np.int32)) == [1, 1, 1, 1]


def test_nodes_without_a_path_between_them_do_not_wait(cuda: Any, graph: Graph, control: Library, gate: Gate) -> None:
    """The second branch goes on while the first one waits for the host."""
    value = cuda.pagelocked_zeros(1, np.int32, mem_flags=cuda.host_alloc_flags.DEVICEMAP)
    address = value.base.get_device_pointer()
    graph.kernel(control["wait_for"], (gate.address, ctypes.c_void_p))
    first = graph.fill(address, 3, 1)
    graph.kernel(control["set"], (address, ctypes.c_void_p), integer(4), after=[first])
    executable, stream = graph.instantiate(), cuda.Stream(1)
    launch(executable, stream)
    while value[0] != 4:
        assert not stream.is_done()
    gate.open()
    stream.synchronize()
    call("cuGraphExecDestroy", executable)


# ***** launches *****


def test_a_graph_is_launched_again_with_the_same_addresses(cuda: Any, graph: Graph, control: Library, log: Log) -> None:
    """A slot's life: copy in, compute, copy out, again and again; only what the buffers hold changes."""
    source = cuda.pagelocked_empty(1000, np.float32)
    result = cuda.pagelocked_empty(1000, np.float32)
    x, z = cuda.mem_alloc(source.nbytes), cuda.mem_alloc(source.nbytes)
    saxpy = Library("elementwise")["saxpy"]
    into = graph.copy((DEVICE, int(x)), (HOST, source.ctypes.data), source.nbytes)
    arguments = ((2.0, ctypes.c_float), pointer(x), pointer(x), pointer(z), integer(1000))
    compute = graph.kernel(saxpy, *arguments, after=[into], grid=8, block=128)
    graph.copy((HOST, result.ctypes.data), (DEVICE, int(z)), result.nbytes, after=[compute])
    executable, stream = graph.instantiate(), cuda.Stream(1)
    call("cuGraphUpload", executable, stream.handle)
    for turn in range(5):
        source[:] = np.arange(1000) + turn
        launch(executable, stream)
        stream.synchronize()
        assert np.array_equal(result, 3 * source)
    call("cuGraphExecDestroy", executable)


def test_a_launch_is_ordered_in_its_stream(cuda: Any, graph: Graph, control: Library, log: Log, gate: Gate) -> None:
    graph.kernel(control["append"], *log.arguments(2))
    executable, stream = graph.instantiate(), cuda.Stream(1)
    append = Module("control")["append"]

    def append_value(value: int) -> None:
        append(log.values, log.length, np.int32(value), block=(1, 1, 1), stream=stream)

    Module("control")["wait_for"](np.uintp(gate.address), block=(1, 1, 1), stream=stream)
    append_value(1)
    launch(executable, stream)
    append_value(3)
    done = cuda.Event()
    done.record(stream)
    assert not done.query()
    gate.open()
    done.synchronize()
    assert log.read() == [1, 2, 3]
    call("cuGraphExecDestroy", executable)


def test_a_graph_does_not_run_beside_itself(cuda: Any, graph: Graph, control: Library, log: Log, gate: Gate) -> None:
    """Launched in two streams: the second launch waits for the first."""
    held = graph.kernel(control["wait_for"], (gate.address, ctypes.c_void_p))
    graph.kernel(control["append"], *log.arguments(1), after=[held])
    executable, streams = graph.instantiate(), [cuda.Stream(1), cuda.Stream(1)]
    for stream in streams:
        launch(executable, stream)
    assert not streams[1].is_done()
    gate.open()
    for stream in streams:
        stream.synchronize()
    assert log.read() == [1, 1]
    call("cuGraphExecDestroy", executable)


def test_what_it_was_made_from_may_go(cuda: Any, graph: Graph, control: Library, log: Log, gate: Gate) -> None:
    held = graph.kernel(control["wait_for"], (gate.address, ctypes.c_void_p))
    graph.kernel(control["append"], *log.arguments(7), after=[held])
    executable, stream = graph.instantiate(), cuda.Stream(1)
    graph.destroy()
    launch(executable, stream)
    call("cuGraphExecDestroy", executable)
    gate.open()
    stream.synchronize()
    assert log.read() == [7]


def test_a_graph_of_nothing_can_be_launched(cuda: Any, graph: Graph) -> None:
    graph.run()


def test_many_nodes(cuda: Any, graph: Graph, control: Library, log: Log) -> None:
    before: list[Any] = []
    for value in range(500):
        before = [graph.kernel(control["append"], *log.arguments(value), after=before)]
    graph.run()
    assert log.read() == list(range(500))


def test_host_functions_and_events_in_a_graph(cuda: Any, graph: Graph, control: Library, log: Log) -> None:
    seen: list[int] = []
    host_function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: seen.append(3))
    start, end = call("cuEventCreate", 0), call("cuEventCreate", 0)
    first = call("cuGraphAddEventRecordNode", graph.handle, [], 0, start)
    given = bindings().CUDA_HOST_NODE_PARAMS()
    given.fn = bindings().CUhostFn(_ptr=ctypes.addressof(host_function))
    host = call("cuGraphAddHostNode", graph.handle, [first], 1, given)
    append = graph.kernel(control["append"], *log.arguments(1), after=[host])
    call("cuGraphAddEventRecordNode", graph.handle, [append], 1, end)
    graph.run()
    assert seen == [3]
    assert log.read() == [1]
    call("cuEventSynchronize", end)
    assert call("cuEventElapsedTime", start, end) >= 0


def test_a_graph_waits_for_an_event(cuda: Any, graph: Graph, control: Library, log: Log, gate: Gate) -> None:
    event, held, free = call("cuEventCreate", 0), cuda.Stream(1), cuda.Stream(1)
    wait = call("cuGraphAddEventWaitNode", graph.handle, [], 0, event)
    graph.kernel(control["append"], *log.arguments(1), after=[wait])
    executable = graph.instantiate()
    Module("control")["wait_for"](np.uintp(gate.address), block=(1, 1, 1), stream=held)
    call("cuEventRecord", event, held.handle)
    launch(executable, free)
    assert not free.is_done()
    gate.open()
    free.synchronize()
    assert log.read() == [1]


# ***** children *****


def test_a_child_graph_is_the_body_of_a_loop(cuda: Any, control: Library) -> None:
    """Jacobi's shape: 10 rounds of one body, and a read-out behind them; the buffers take turns."""
    n = 256
    x, y = cuda.to_device(np.arange(n, dtype=np.float32)), cuda.to_device(np.zeros(n, np.float32))
    saxpy = Library("elementwise")["saxpy"]
    body = Graph()

    def step(source: Any, target: Any, after: list[Any]) -> Any:
        arguments = ((1.0, ctypes.c_float), pointer(source), pointer(source), pointer(target), integer(n))
        return body.kernel(saxpy, *arguments, after=after, grid=2, block=128)

    step(y, x, [step(x, y, [])])
    loop = Graph()
    before: list[Any] = []
    for _ in range(10):
        before = [loop.child(body, after=before)]
    result = np.zeros(n, np.float32)
    loop.copy((HOST, result.ctypes.data), (DEVICE, int(x)), result.nbytes, after=before)
    body.destroy()  # it was copied into each node
    loop.run()
    assert np.array_equal(result, np.arange(n, dtype=np.float32) * 2**20)


def test_a_body_launched_again_is_a_loop_too(cuda: Any, graph: Graph, control: Library, log: Log) -> None:
    first = graph.kernel(control["append"], *log.arguments(1))
    graph.kernel(control["append"], *log.arguments(2), after=[first])
    executable, stream = graph.instantiate(), cuda.Stream(1)
    for _ in range(50):
        launch(executable, stream)
    stream.synchronize()
    assert log.read() == [1, 2] * 50
    call("cuGraphExecDestroy", executable)


def test_a_child_can_be_changed_in_place(graph: Graph, control: Library, log: Log) -> None:
    child = Graph()
    child.kernel(control["append"], *log.arguments(1))
    node = graph.child(child)
    inside = Graph(call("cuGraphChildGraphNodeGetGraph", node))
    assert len(inside.nodes()) == 1
    inside.kernel(control["append"], *log.arguments(2), after=[bindings().CUgraphNode(inside.nodes()[0])])
    graph.run()
    assert log.read() == [1, 2]
    assert len(child.nodes()) == 1
    assert refusal(inside.destroy) == INVALID_VALUE


def test_a_child_of_an_executable_graph_is_replaced(cuda: Any, graph: Graph, control: Library, log: Log) -> None:
    def body(*values: int) -> Graph:
        made = Graph()
        before: list[Any] = []
        for value in values:
            before = [made.kernel(control["append"], *log.arguments(value), after=before)]
        return made

    first = graph.child(body(1, 2))
    graph.child(body(8, 9), after=[first])
    executable = graph.instantiate()
    call("cuGraphExecChildGraphNodeSetParams", executable, first, body(3, 4).handle)
    launch(executable)
    call("cuStreamSynchronize", 0)
    assert log.read() == [3, 4, 8, 9]
    other_shape = body(1, 2, 3).handle
    assert code_of("cuGraphExecChildGraphNodeSetParams", executable, first, other_shape) == INVALID_VALUE


# ***** changes *****


def test_one_kernel_of_an_executable_graph_is_changed(cuda: Any, graph: Graph, control: Library, log: Log) -> None:
    """Launches already in the stream keep what they were launched with; the graph itself stays as it was."""
    node = graph.kernel(control["append"], *log.arguments(1))
    graph.kernel(control["append"], *log.arguments(9), after=[node])
    executable, stream = graph.instantiate(), cuda.Stream(1)
    launch(executable, stream)
    changed = kernel_parameters(control["append"], log.arguments(2))
    call("cuGraphExecKernelNodeSetParams", executable, node, changed)
    launch(executable, stream)
    other = cuda.to_device(np.zeros(1, np.int32))
    function = kernel_parameters(control["set"], [pointer(other), integer(5)])
    call("cuGraphExecKernelNodeSetParams", executable, node, function)
    launch(executable, stream)
    stream.synchronize()
    assert log.read() == [1, 9, 2, 9, 9]
    assert cuda.from_device(other, 1, np.int32)[0] == 5
    graph.run()
    assert log.read()[-2:] == [1, 9]


def test_arguments_are_taken_when_the_node_is_added(cuda: Any, graph: Graph, control: Library) -> None:
    """Given by addresses that are used again at once, and as one packed buffer."""
    values = cuda.to_device(np.zeros(2, np.int32))
    target, number = ctypes.c_void_p(int(values)), ctypes.c_int(3)
    addresses = (ctypes.c_void_p * 2)(ctypes.addressof(target), ctypes.addressof(number))
    given = kernel_parameters(control["set"], [])
    given.kernelParams = ctypes.addressof(addresses)
    call("cuGraphAddKernelNode", graph.handle, [], 0, given)
    target.value, number.value = 0, 0

    packed = ctypes.create_string_buffer(np.uint64(int(values) + 4).tobytes() + np.int32(4).tobytes(), 12)
    size = ctypes.c_size_t(12)
    extra = (ctypes.c_void_p * 5)(1, ctypes.addressof(packed), 2, ctypes.addressof(size), 0)
    given.kernelParams = 0
    given.extra = ctypes.addressof(extra)
    call("cuGraphAddKernelNode", graph.handle, [], 0, given)
    ctypes.memset(packed, 0, 12)
    graph.run()
    assert list(cuda.from_device(values, 2, np.int32)) == [3, 4]


def test_parameters_can_be_asked_for_and_given_back(cuda: Any, graph: Graph, control: Library) -> None:
    values = cuda.to_device(np.zeros(2, np.int32))
    node = graph.kernel(control["set"], pointer(values), integer(3))
    asked = call("cuGraphKernelNodeGetParams", node)
    assert (asked.gridDimX, asked.blockDimX, asked.sharedMemBytes) == (1, 1, 0)
    addresses = (ctypes.c_void_p * 2).from_address(int(asked.kernelParams))
    assert ctypes.c_int.from_address(addresses[1] or 0).value == 3
    other = call("cuGraphAddKernelNode", graph.handle, [], 0, asked)
    changed = kernel_parameters(control["set"], [pointer(int(values) + 4), integer(6)])
    call("cuGraphKernelNodeSetParams", other, changed)
    graph.run()
    assert list(cuda.from_device(values, 2, np.int32)) == [3, 6]


def test_copies_and_sets_are_changed(cuda: Any, graph: Graph) -> None:
    values = cuda.to_device(np.arange(8, dtype=np.int32))
    target = int(values)
    copy = graph.copy((DEVICE, target), (DEVICE, target + 4), 4)
    fill = graph.fill(target + 8, 7, 1, after=[copy])
    asked = call("cuGraphMemcpyNodeGetParams", copy)
    assert (int(asked.dstDevice), int(asked.srcDevice), asked.WidthInBytes) == (target, target + 4, 4)
    assert call("cuGraphMemsetNodeGetParams", fill).value == 7
    executable, current = graph.instantiate(), call("cuCtxGetCurrent")
    copied = copy_parameters((DEVICE, target), (DEVICE, target + 28), 4)
    call("cuGraphExecMemcpyNodeSetParams", executable, copy, copied, current)
    filled = set_parameters(target + 12, 9, 1)
    call("cuGraphExecMemsetNodeSetParams", executable, fill, filled, current)
    launch(executable)
    call("cuStreamSynchronize", 0)
    assert list(cuda.from_device(values, 8, np.int32)) == [7, 1, 2, 9, 4, 5, 6, 7]
    call("cuGraphMemcpyNodeSetParams", copy, copied)
    call("cuGraphMemsetNodeSetParams", fill, filled)
    cuda.memcpy_htod(values, np.arange(8, dtype=np.int32))
    graph.run()
    assert list(cuda.from_device(values, 8, np.int32)) == [7, 1, 2, 9, 4, 5, 6, 7]


def test_a_set_keeps_its_rows(cuda: Any, graph: Graph) -> None:
    values = cuda.mem_alloc(4096)
    node = graph.fill(int(values), 7, 16, height=4, pitch=256)
    executable, current = graph.instantiate(), call("cuCtxGetCurrent")

    def change(given: Any) -> int:
        return code_of("cuGraphExecMemsetNodeSetParams", executable, node, given, current)

    assert change(set_parameters(int(values), 8, 16, height=4, pitch=256)) == 0
    assert change(set_parameters(int(values), 8, 16, height=2, pitch=256)) == INVALID_VALUE
    assert change(set_parameters(int(values), 8, 8, height=4, pitch=256)) == INVALID_VALUE


def test_a_whole_graph_is_updated(cuda: Any, control: Library, log: Log) -> None:
    def build(*values: int) -> Graph:
        made = Graph()
        before: list[Any] = []
        for value in values:
            before = [made.kernel(control["append"], *log.arguments(value), after=before)]
        return made

    executable = build(1, 2).instantiate()
    info = call("cuGraphExecUpdate", executable, build(3, 4).handle)
    assert info.result == bindings().CUgraphExecUpdateResult.CU_GRAPH_EXEC_UPDATE_SUCCESS
    launch(executable)
    call("cuStreamSynchronize", 0)
    assert log.read() == [3, 4]
    longer, apart, filled = build(1, 2, 3), build(1), Graph()
    apart.kernel(control["append"], *log.arguments(2))
    filled.fill(int(log.values), 0, 1, after=[filled.fill(int(log.values), 0, 1)])
    for other in (longer, apart, filled):
        assert code_of("cuGraphExecUpdate", executable, other.handle) == EXEC_UPDATE_FAILURE
    launch(executable)
    call("cuStreamSynchronize", 0)
    assert log.read() == [3, 4, 3, 4]


def test_nodes_are_switched_off(cuda: Any, graph: Graph, control: Library, log: Log) -> None:
    first = graph.kernel(control["append"], *log.arguments(1))
    second = graph.kernel(control["append"], *log.arguments(2), after=[first])
    graph.kernel(control["append"], *log.arguments(3), after=[second])
    executable = graph.instantiate()
    assert call("cuGraphNodeGetEnabled", executable, second) == 1
    call("cuGraphNodeSetEnabled", executable, second, 0)
    launch(executable)
    call("cuGraphNodeSetEnabled", executable, second, 1)
    launch(executable)
    call("cuStreamSynchronize", 0)
    assert log.read() == [1, 3, 1, 2, 3]


# ***** what is in a graph *****


def test_a_graph_describes_itself(cuda: Any, graph: Graph, control: Library, log: Log) -> None:
    kernel = graph.kernel(control["append"], *log.arguments(1))
    copy = graph.copy((DEVICE, int(log.values)), (DEVICE, int(log.length)), 4, after=[kernel])
    fill = graph.fill(int(log.values), 0, 1, after=[kernel, copy])
    child, empty = graph.child(Graph()), graph.empty()
    nodes = [kernel, copy, fill, child, empty]
    kinds = bindings().CUgraphNodeType
    assert [call("cuGraphNodeGetType", node) for node in nodes] == [
        kinds.CU_GRAPH_NODE_TYPE_KERNEL,
        kinds.CU_GRAPH_NODE_TYPE_MEMCPY,
        kinds.CU_GRAPH_NODE_TYPE_MEMSET,
        kinds.CU_GRAPH_NODE_TYPE_GRAPH,
        kinds.CU_GRAPH_NODE_TYPE_EMPTY,
    ]
    assert set(graph.nodes()) == {int(node) for node in nodes}
    assert set(graph.roots()) == {int(kernel), int(child), int(empty)}
    edges = {(int(kernel), int(copy)), (int(kernel), int(fill)), (int(copy), int(fill))}
    assert graph.edges() == edges
    assert {int(node) for node in call("cuGraphNodeGetDependencies", fill, 2)[0]} == {int(kernel), int(copy)}
    assert {int(node) for node in call("cuGraphNodeGetDependentNodes", copy, 1)[0]} == {int(fill)}
    call("cuGraphRemoveDependencies", graph.handle, [kernel], [fill], 1)
    call("cuGraphDestroyNode", copy)
    assert graph.edges() == set()
    assert len(graph.nodes()) == 4


def test_a_clone_stands_alone(cuda: Any, graph: Graph, control: Library, log: Log) -> None:
    first = graph.kernel(control["append"], *log.arguments(1))
    graph.kernel(control["append"], *log.arguments(2), after=[first])
    clone = Graph(call("cuGraphClone", graph.handle))
    twin = call("cuGraphNodeFindInClone", first, clone.handle)
    assert int(twin) in clone.roots()
    call("cuGraphKernelNodeSetParams", twin, kernel_parameters(control["append"], log.arguments(5)))
    graph.run()
    graph.destroy()
    clone.run()
    assert log.read() == [1, 2, 5, 2]


def test_nodes_of_any_kind_by_one_function(cuda: Any, graph: Graph, control: Library, log: Log) -> None:
    driver = bindings()
    given = driver.CUgraphNodeParams()
    given.type = driver.CUgraphNodeType.CU_GRAPH_NODE_TYPE_KERNEL
    kernel = kernel_parameters(control["append"], log.arguments(1))
    for name in ("func", "gridDimX", "gridDimY", "gridDimZ", "blockDimX", "blockDimY", "blockDimZ"):
        setattr(given.kernel, name, getattr(kernel, name))
    given.kernel.kernelParams = kernel.kernelParams
    first = call("cuGraphAddNode", graph.handle, [], 0, given)
    given = driver.CUgraphNodeParams()
    given.type = driver.CUgraphNodeType.CU_GRAPH_NODE_TYPE_MEMSET
    fill = set_parameters(int(log.values), 8, 1)
    for name in ("dst", "value", "elementSize", "width", "height", "pitch"):
        setattr(given.memset, name, getattr(fill, name))
    given.memset.ctx = call("cuCtxGetCurrent")
    call("cuGraphAddNode_v2", graph.handle, [first], [driver.CUgraphEdgeData()], 1, given)
    graph.run()
    assert log.read() == [8]
