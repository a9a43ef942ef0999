// Exported functions: the nodes of graphs, and what they do.
#include <cstring>

#include "api.h"
#include "api_graph.h"

using namespace kaas;

namespace kaas {
namespace {

Context& context_of(Context* handle) { return Handles<Context>::get(handle, invalid_value); }

}  // namespace

NodeWork kernel_work(const KernelParameters& given) {
    require(!given.library_kernel || given.function, not_supported);
    Function& function = Handles<Function>::get(given.function, invalid_value);
    return {kernel_operation(function, given.grid, given.block, given.dynamic_shared_bytes, given.parameters,
                             given.extra),
            function.context};
}

NodeWork copy_work(const Copy3D& given, Context* context) {
    CopyOperation copy;
    require(copy_operation(context_of(context), given, copy));
    return {std::move(copy), context};
}

NodeWork set_work(const MemorySet& given, Context* context) {
    SetOperation set;
    require(set_operation(context_of(context), given, set));
    return {set, context};
}

NodeWork host_work(const HostParameters& given) {
    require(given.function);
    return {HostOperation{given.function, given.argument}};
}

NodeWork record_work(Event* event) { return {RecordOperation{&Handles<Event>::get(event, invalid_value)}}; }
NodeWork wait_work(Event* event) { return {WaitOperation{&Handles<Event>::get(event, invalid_value)}}; }

NodeWork any_work(const NodeParameters& given) {
    switch (static_cast<NodeKind>(given.kind)) {
        case NodeKind::kernel: return kernel_work(given.kernel);
        case NodeKind::copy:
            require(!given.copy.flags && !given.copy.reserved);
            return copy_work(given.copy.copy, given.copy.context);
        case NodeKind::set: return set_work(given.set.set, given.set.context);
        case NodeKind::host: return host_work(given.host);
        case NodeKind::empty: return {};
        case NodeKind::wait_event: return wait_work(given.event);
        case NodeKind::record_event: return record_work(given.event);
        default: throw Error(not_supported);
    }
}

KernelParameters first_version(const void* given) {
    require(given);
    KernelParameters parameters{};
    std::memcpy(static_cast<void*>(&parameters), given, offsetof(KernelParameters, library_kernel));
    return parameters;
}

KernelParameters second_version(const void* given) {
    require(given);
    return *static_cast<const KernelParameters*>(given);
}

}  // namespace kaas

namespace {

template <class MakeWork>
int add(GraphNode** result, Graph* handle, GraphNode* const* dependencies, std::size_t count, MakeWork&& make_work) {
    return guarded([&] {
        devices();
        require(result);
        Graph& graph = graph_of(handle);
        const std::vector<GraphNode*> before = nodes_of(dependencies, count);
        for (std::size_t index = 0; index < count; ++index) {
            require(before[index]->graph == &graph);
            for (std::size_t other = 0; other < index; ++other) require(before[index] != before[other]);
        }
        NodeWork work = make_work();
        *result = graph.add(std::move(work.operation), work.context, before);
    });
}

int add_child(GraphNode** result, Graph* handle, GraphNode* const* dependencies, std::size_t count, Graph* child) {
    return guarded([&] {
        devices();
        require(result);
        Graph& graph = graph_of(handle);
        const std::vector<GraphNode*> before = nodes_of(dependencies, count);
        for (const GraphNode* node : before) require(node->graph == &graph);
        *result = graph.add({}, nullptr, before, graph_of(child).clone());
    });
}

// Gives a node something else of the same kind to do.
template <class MakeWork>
int replace(GraphNode* handle, NodeKind kind, MakeWork&& make_work) {
    return guarded([&] {
        devices();
        GraphNode& node = node_of(handle);
        require(node.kind() == kind);
        NodeWork work = make_work();
        node.operation = std::move(work.operation);
        node.context = work.context;
    });
}

template <class Wanted>
Wanted& operation_of(GraphNode& node) {
    auto* wanted = std::get_if<Wanted>(&node.operation);
    require(wanted && !node.child);
    return *wanted;
}

// The arguments stay the node's own.
KernelParameters describe_kernel(GraphNode& node) {
    KernelOperation& kernel = operation_of<KernelOperation>(node);
    node.argument_pointers.clear();
    for (std::uint32_t index = 0; index < kernel.kernel->parameter_count; ++index)
        node.argument_pointers.push_back(kernel.arguments.data() + kernel.kernel->parameters[index].offset);
    return {kernel.function, kernel.grid, kernel.block, kernel.dynamic_shared_bytes, node.argument_pointers.data(),
            nullptr,         nullptr,     node.context};
}

}  // namespace

// ***** kernels *****

KAAS_EXPORT cuGraphAddKernelNode_v2(GraphNode** result, Graph* graph, GraphNode* const* dependencies, std::size_t count,
                                    const void* given) {
    return add(result, graph, dependencies, count, [&] { return kernel_work(second_version(given)); });
}
KAAS_EXPORT cuGraphAddKernelNode(GraphNode** result, Graph* graph, GraphNode* const* dependencies, std::size_t count,
                                 const void* given) {
    return add(result, graph, dependencies, count, [&] { return kernel_work(first_version(given)); });
}

KAAS_EXPORT cuGraphKernelNodeGetParams_v2(GraphNode* handle, KernelParameters* result) {
    return guarded([&] {
        require(result);
        *result = describe_kernel(node_of(handle));
    });
}
KAAS_EXPORT cuGraphKernelNodeGetParams(GraphNode* handle, void* result) {
    return guarded([&] {
        require(result);
        const KernelParameters described = describe_kernel(node_of(handle));
        std::memcpy(result, static_cast<const void*>(&described), offsetof(KernelParameters, library_kernel));
    });
}

KAAS_EXPORT cuGraphKernelNodeSetParams_v2(GraphNode* node, const void* given) {
    return replace(node, NodeKind::kernel, [&] { return kernel_work(second_version(given)); });
}
KAAS_EXPORT cuGraphKernelNodeSetParams(GraphNode* node, const void* given) {
    return replace(node, NodeKind::kernel, [&] { return kernel_work(first_version(given)); });
}

// ***** copies and sets *****

KAAS_EXPORT cuGraphAddMemcpyNode(GraphNode** result, Graph* graph, GraphNode* const* dependencies, std::size_t count,
                                 const Copy3D* given, Context* context) {
    return add(result, graph, dependencies, count, [&] {
        require(given);
        return copy_work(*given, context);
    });
}

KAAS_EXPORT cuGraphMemcpyNodeGetParams(GraphNode* handle, Copy3D* result) {
    return guarded([&] {
        require(result);
        *result = operation_of<CopyOperation>(node_of(handle)).given;
    });
}

KAAS_EXPORT cuGraphMemcpyNodeSetParams(GraphNode* handle, const Copy3D* given) {
    return replace(handle, NodeKind::copy, [&] {
        require(given);
        return copy_work(*given, node_of(handle).context);
    });
}

KAAS_EXPORT cuGraphAddMemsetNode(GraphNode** result, Graph* graph, GraphNode* const* dependencies, std::size_t count,
                                 const MemorySet* given, Context* context) {
    return add(result, graph, dependencies, count, [&] {
        require(given);
        return set_work(*given, context);
    });
}

KAAS_EXPORT cuGraphMemsetNodeGetParams(GraphNode* handle, MemorySet* result) {
    return guarded([&] {
        require(result);
        *result = operation_of<SetOperation>(node_of(handle)).given;
    });
}

KAAS_EXPORT cuGraphMemsetNodeSetParams(GraphNode* handle, const MemorySet* given) {
    return replace(handle, NodeKind::set, [&] {
        require(given);
        return set_work(*given, node_of(handle).context);
    });
}

// ***** host functions *****

KAAS_EXPORT cuGraphAddHostNode(GraphNode** result, Graph* graph, GraphNode* const* dependencies, std::size_t count,
                               const HostParameters* given) {
    return add(result, graph, dependencies, count, [&] {
        require(given);
        return host_work(*given);
    });
}

KAAS_EXPORT cuGraphHostNodeGetParams(GraphNode* handle, HostParameters* result) {
    return guarded([&] {
        require(result);
        const HostOperation& host = operation_of<HostOperation>(node_of(handle));
        *result = {host.function, host.argument};
    });
}

KAAS_EXPORT cuGraphHostNodeSetParams(GraphNode* handle, const HostParameters* given) {
    return replace(handle, NodeKind::host, [&] {
        require(given);
        return host_work(*given);
    });
}

// ***** events *****

KAAS_EXPORT cuGraphAddEventRecordNode(GraphNode** result, Graph* graph, GraphNode* const* dependencies,
                                      std::size_t count, Event* event) {
    return add(result, graph, dependencies, count, [&] { return record_work(event); });
}
KAAS_EXPORT cuGraphEventRecordNodeGetEvent(GraphNode* handle, Event** result) {
    return guarded([&] {
        require(result);
        *result = operation_of<RecordOperation>(node_of(handle)).event;
    });
}
KAAS_EXPORT cuGraphEventRecordNodeSetEvent(GraphNode* handle, Event* event) {
    return replace(handle, NodeKind::record_event, [&] { return record_work(event); });
}
KAAS_EXPORT cuGraphAddEventWaitNode(GraphNode** result, Graph* graph, GraphNode* const* dependencies, std::size_t count,
                                    Event* event) {
    return add(result, graph, dependencies, count, [&] { return wait_work(event); });
}
KAAS_EXPORT cuGraphEventWaitNodeGetEvent(GraphNode* handle, Event** result) {
    return guarded([&] {
        require(result);
        *result = operation_of<WaitOperation>(node_of(handle)).event;
    });
}
KAAS_EXPORT cuGraphEventWaitNodeSetEvent(GraphNode* handle, Event* event) {
    return replace(handle, NodeKind::wait_event, [&] { return wait_work(event); });
}

// ***** graphs inside graphs, and nodes that do nothing *****

KAAS_EXPORT cuGraphAddChildGraphNode(GraphNode** result, Graph* graph, GraphNode* const* dependencies,
                                     std::size_t count, Graph* child) {
    return add_child(result, graph, dependencies, count, child);
}

KAAS_EXPORT cuGraphChildGraphNodeGetGraph(GraphNode* handle, Graph** result) {
    return guarded([&] {
        const GraphNode& node = node_of(handle);
        require(result && node.child);
        *result = node.child;
    });
}

KAAS_EXPORT cuGraphAddEmptyNode(GraphNode** result, Graph* graph, GraphNode* const* dependencies, std::size_t count) {
    return add(result, graph, dependencies, count, [] { return NodeWork{}; });
}

// ***** any kind *****

KAAS_EXPORT cuGraphAddNode_v2(GraphNode** result, Graph* graph, GraphNode* const* dependencies, const EdgeData* edges,
                              std::size_t count, const NodeParameters* given) {
    if (!given) return invalid_value;
    if (!are_plain(edges, count)) return not_supported;
    if (given->kind == static_cast<int>(NodeKind::graph))
        return add_child(result, graph, dependencies, count, given->graph.graph);
    return add(result, graph, dependencies, count, [&] { return any_work(*given); });
}

KAAS_EXPORT cuGraphAddNode(GraphNode** result, Graph* graph, GraphNode* const* dependencies, std::size_t count,
                           const NodeParameters* given) {
    return cuGraphAddNode_v2(result, graph, dependencies, nullptr, count, given);
}

KAAS_EXPORT cuGraphNodeSetParams(GraphNode* handle, const NodeParameters* given) {
    if (!given) return invalid_value;
    return replace(handle, static_cast<NodeKind>(given->kind), [&] { return any_work(*given); });
}
