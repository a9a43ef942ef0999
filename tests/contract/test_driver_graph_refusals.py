"""What graphs refuse, and what becomes of those whose parts went away."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
from contract_device import KIND
from graph_device import (
    DEVICE,
    ILLEGAL_ADDRESS,
    INVALID_VALUE,
    Graph,
    Library,
    Log,
    call,
    code_of,
    control,
    graph,
    kernel_parameters,
    launch,
    log,
    pointer,
    refusal,
)

__all__ = ["control", "graph", "log"]

emulated_only = pytest.mark.skipif(KIND != "emulated", reason="a real driver does not look, or may crash")


def test_a_cycle_cannot_be_instantiated(graph: Graph) -> None:
    first = graph.empty()
    second = graph.empty(after=[first])
    graph.connect(second, first)
    assert refusal(graph.instantiate) == INVALID_VALUE


def test_nodes_of_other_graphs_are_refused(graph: Graph, control: Library, log: Log) -> None:
    foreign = Graph().empty()
    assert refusal(lambda: graph.empty(after=[foreign])) == INVALID_VALUE
    assert refusal(lambda: graph.connect(foreign, graph.empty())) == INVALID_VALUE
    executable = graph.instantiate()
    node = Graph().kernel(control["append"], *log.arguments(1))
    given = kernel_parameters(control["append"], log.arguments(2))
    assert code_of("cuGraphExecKernelNodeSetParams", executable, node, given) == INVALID_VALUE


def test_an_edge_is_added_once(graph: Graph) -> None:
    first = graph.empty()
    second = graph.empty(after=[first])
    assert refusal(lambda: graph.connect(first, second)) == INVALID_VALUE
    call("cuGraphRemoveDependencies", graph.handle, [first], [second], 1)
    assert code_of("cuGraphRemoveDependencies", graph.handle, [first], [second], 1) == INVALID_VALUE


def test_a_node_of_another_kind_is_refused(cuda: Any, graph: Graph, control: Library, log: Log) -> None:
    empty, fill = graph.empty(), graph.fill(int(log.values), 0, 1)
    executable = graph.instantiate()
    given = kernel_parameters(control["append"], log.arguments(1))
    for node in (empty, fill):
        assert code_of("cuGraphKernelNodeSetParams", node, given) == INVALID_VALUE
        assert code_of("cuGraphExecKernelNodeSetParams", executable, node, given) == INVALID_VALUE
    assert code_of("cuGraphChildGraphNodeGetGraph", empty) == INVALID_VALUE


@pytest.mark.parametrize(
    ("grid", "block"), [(0, 1), (1, 0), (1, 1025), (2**31, 1)], ids=["no grid", "no block", "block", "grid"]
)
def test_kernels_over_the_limits_are_refused(graph: Graph, control: Library, log: Log, grid: int, block: int) -> None:
    given = kernel_parameters(control["append"], log.arguments(1), grid=grid, block=block)
    assert code_of("cuGraphAddKernelNode", graph.handle, [], 0, given) == INVALID_VALUE
    assert graph.nodes() == []


def test_copies_and_sets_out_of_range_are_refused(cuda: Any, graph: Graph) -> None:
    memory = cuda.mem_alloc(1024)
    beyond = int(memory) + 1020
    assert refusal(lambda: graph.copy((DEVICE, beyond), (DEVICE, int(memory)), 8)) == INVALID_VALUE
    assert refusal(lambda: graph.fill(int(memory), 0, 4, element=3)) == INVALID_VALUE
    assert refusal(lambda: graph.fill(int(memory) + 2, 0, 4)) == INVALID_VALUE
    assert refusal(lambda: graph.fill(int(memory), 0, 16, height=4, pitch=32)) == INVALID_VALUE


def test_unknown_flags_are_refused(graph: Graph) -> None:
    assert code_of("cuGraphCreate", 1) == INVALID_VALUE
    assert refusal(lambda: graph.instantiate(1 << 20)) == INVALID_VALUE


@emulated_only
def test_what_was_destroyed_is_refused(cuda: Any, graph: Graph, control: Library, log: Log) -> None:
    node = graph.kernel(control["append"], *log.arguments(1))
    executable = graph.instantiate()
    graph.destroy()
    given = kernel_parameters(control["append"], log.arguments(2))
    assert refusal(graph.destroy) == INVALID_VALUE
    assert refusal(graph.empty) == INVALID_VALUE
    assert code_of("cuGraphKernelNodeSetParams", node, given) == INVALID_VALUE
    assert code_of("cuGraphExecKernelNodeSetParams", executable, node, given) == INVALID_VALUE
    call("cuGraphExecDestroy", executable)
    assert refusal(lambda: launch(executable)) == INVALID_VALUE
    assert code_of("cuGraphExecDestroy", executable) == INVALID_VALUE


@emulated_only
def test_a_graph_whose_module_is_unloaded_cannot_be_launched(
    graph: Graph, control: Library, log: Log, capfd: pytest.CaptureFixture[str]
) -> None:
    graph.kernel(control["append"], *log.arguments(1))
    executable = graph.instantiate()
    call("cuModuleUnload", control.module)
    assert refusal(lambda: launch(executable)) == INVALID_VALUE
    assert "the module of its kernel append is unloaded" in capfd.readouterr().err


@emulated_only
def test_functions_of_another_context_stay_there(cuda: Any, graph: Graph, control: Library, log: Log) -> None:
    node = graph.kernel(control["append"], *log.arguments(1))
    executable = graph.instantiate()
    other = cuda.Device(0).make_context()
    try:
        stranger = Library("control")
        given = kernel_parameters(stranger["append"], log.arguments(2))
        assert code_of("cuGraphExecKernelNodeSetParams", executable, node, given) == INVALID_VALUE
        orphan = Graph()
        orphan.kernel(stranger["append"], *log.arguments(1))
    finally:
        other.pop()
        other.detach()
    assert refusal(orphan.instantiate) == 709  # CUDA_ERROR_CONTEXT_IS_DESTROYED
    launch(executable)
    call("cuStreamSynchronize", 0)
    assert log.read() == [1]


@emulated_only
def test_a_fault_in_a_graph_breaks_the_context(cuda: Any) -> None:
    context = cuda.Device(0).make_context()
    try:
        graph, memory = Graph(), cuda.mem_alloc(64)
        graph.kernel(Library("control")["write_at"], pointer(memory), (1 << 40, ctypes.c_longlong))
        executable = graph.instantiate()
        launch(executable)
        assert code_of("cuStreamSynchronize", 0) == ILLEGAL_ADDRESS
        assert refusal(lambda: launch(executable)) == ILLEGAL_ADDRESS
        del memory
    finally:
        context.pop()
        context.detach()
