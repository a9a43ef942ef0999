// Exported functions: executable graphs.
#include <cstring>

#include "api.h"
#include "api_graph.h"
#include "capture.h"

using namespace kaas;

namespace {

enum InstantiateFlag : std::uint64_t {
    auto_free_on_launch = 1,  // of memory that graphs allocate, which they cannot here
    upload = 2,
    device_launch = 4,
    use_node_priority = 8,  // all priorities are the same here
};

// Numbers of CUgraphInstantiateResult.
enum InstantiateResult : int { instantiated = 0, instantiate_error = 1, invalid_structure = 2 };

// CUDA_GRAPH_INSTANTIATE_PARAMS.
struct InstantiateParameters {
    std::uint64_t flags;
    StreamHandle upload_stream;
    GraphNode* offender;
    int result;
};

// CUgraphExecUpdateResultInfo.
struct UpdateInfo {
    int result;
    GraphNode* node;
    GraphNode* from;
};

GraphExec& exec_of(GraphExec* handle) { return Handles<GraphExec>::get(handle, invalid_value); }

void instantiate(GraphExec** result, Graph* handle, std::uint64_t flags, GraphNode*& offender, int& reason) {
    offender = nullptr;
    reason = instantiate_error;
    require(result && !(flags & ~std::uint64_t{auto_free_on_launch | upload | device_launch | use_node_priority}));
    require(!(flags & device_launch), not_supported);
    Flattened flat = flatten(graph_of(handle));
    if ((offender = flat.cycle)) {
        reason = invalid_structure;
        throw Error(invalid_value);
    }
    Context* context = nullptr;
    for (const ExecNode& node : flat.nodes) {
        offender = node.source;
        const bool needs_context = node.kind == NodeKind::kernel || node.kind == NodeKind::copy || node.kind == NodeKind::set;
        if (!needs_context) continue;
        require(node.context, context_is_destroyed);
        if (!context) context = node.context;
        if (node.context == context) continue;
        report("a graph's nodes belong to different contexts, which the emulated device does not support");
        throw Error(not_supported);
    }
    offender = nullptr;
    if (!context) context = &Context::current();
    *result = Handles<GraphExec>::create(std::make_unique<GraphExec>(GraphExec{context, flags, std::move(flat), nullptr}));
    reason = instantiated;
}

void put_upload(StreamHandle handle) {
    Context& context = Context::current();
    enqueue(context, stream_of(context, handle), EmptyOperation{});
}

// Gives one node something else of the same kind to do, from the next launch on.
void replace(GraphExec* handle, GraphNode* node, NodeKind kind, NodeWork work) {
    GraphExec& exec = exec_of(handle);
    ExecNode& target = exec.flat.nodes[exec.place_of(node)];
    require(target.kind == kind);
    // One call changes a row to another row only; a whole update may change a box.
    if (const auto* copy = std::get_if<CopyOperation>(&work.operation))
        require(copy->is_flat() && std::get<CopyOperation>(target.operation).is_flat());
    require(can_replace(target, work.operation, work.context) == UpdateResult::success);
    target.operation = std::move(work.operation);
}

template <class MakeWork>
int replace_in(GraphExec* handle, GraphNode* node, NodeKind kind, MakeWork&& make_work) {
    return guarded([&] {
        devices();
        exec_of(handle);
        require(node_of(node).kind() == kind);
        replace(handle, &node_of(node), kind, make_work());
    });
}

UpdateResult update(GraphExec* handle, Graph* graph, GraphNode*& offender) {
    GraphExec& exec = exec_of(handle);
    const Flattened other = flatten(graph_of(graph));
    offender = other.cycle;
    if (other.cycle || other.nodes.size() != exec.flat.nodes.size()) return UpdateResult::topology_changed;
    return exec.update(other, 0, offender);
}

int update_child(GraphExec* handle, GraphNode* node, Graph* child) {
    return guarded([&] {
        devices();
        GraphExec& exec = exec_of(handle);
        const std::uint32_t place = exec.place_of(&node_of(node));
        require(exec.flat.nodes[place].kind == NodeKind::graph);
        const Flattened other = flatten(graph_of(child));
        GraphNode* offender = other.cycle;
        require(!offender && other.nodes.size() == exec.flat.nodes[place].inner);
        require(exec.update(other, place + 1, offender) == UpdateResult::success);
    });
}

bool can_be_disabled(NodeKind kind) {
    return kind == NodeKind::kernel || kind == NodeKind::copy || kind == NodeKind::set;
}

}  // namespace

KAAS_EXPORT cuGraphInstantiateWithFlags(GraphExec** result, Graph* graph, std::uint64_t flags) {
    return guarded([&] {
        devices();
        require(!(flags & upload));  // has a parameter of its own
        GraphNode* offender;
        int reason;
        instantiate(result, graph, flags, offender, reason);
    });
}

// As it was up to CUDA 11.
KAAS_EXPORT cuGraphInstantiate_v2(GraphExec** result, Graph* graph, GraphNode** offender, char* log, std::size_t size) {
    return guarded([&] {
        devices();
        GraphNode* node = nullptr;
        int reason = instantiate_error;
        if (log && size) *log = 0;
        try {
            instantiate(result, graph, 0, node, reason);
        } catch (...) {
            if (offender) *offender = node;
            throw;
        }
        if (offender) *offender = nullptr;
    });
}
KAAS_EXPORT cuGraphInstantiate(GraphExec** result, Graph* graph, GraphNode** offender, char* log, std::size_t size) {
    return cuGraphInstantiate_v2(result, graph, offender, log, size);
}

KAAS_EXPORT cuGraphInstantiateWithParams(GraphExec** result, Graph* graph, InstantiateParameters* given) {
    return guarded([&] {
        devices();
        require(given);
        instantiate(result, graph, given->flags, given->offender, given->result);
        if (given->flags & upload) put_upload(given->upload_stream);
    });
}

KAAS_EXPORT cuGraphExecGetFlags(GraphExec* handle, std::uint64_t* flags) {
    return guarded([&] {
        devices();
        require(flags);
        *flags = exec_of(handle).flags & ~std::uint64_t{upload};
    });
}

KAAS_EXPORT cuGraphExecDestroy(GraphExec* handle) {
    return guarded([&] {
        devices();
        Handles<GraphExec>::take(handle, invalid_value);
    });
}

KAAS_EXPORT cuGraphUpload(GraphExec* handle, StreamHandle stream) {
    return guarded([&] {
        exec_of(handle);
        put_upload(stream);
    });
}

KAAS_EXPORT cuGraphLaunch(GraphExec* handle, StreamHandle stream_handle) {
    return guarded([&] {
        Context& context = Context::current();
        GraphExec& exec = exec_of(handle);
        Stream& stream = stream_of(context, stream_handle);
        // A real driver takes a launch of a graph into the graph that is captured.
        refuse_uncapturable(stream);
        if (exec.context != &context) {
            report("a graph is launched in a stream of another context, which the emulated device does not support");
            throw Error(not_supported);
        }
        context.output.flush();
        exec.launch(stream);
    });
}

// ***** changes *****

KAAS_EXPORT cuGraphExecKernelNodeSetParams_v2(GraphExec* exec, GraphNode* node, const void* given) {
    return replace_in(exec, node, NodeKind::kernel, [&] { return kernel_work(second_version(given)); });
}
KAAS_EXPORT cuGraphExecKernelNodeSetParams(GraphExec* exec, GraphNode* node, const void* given) {
    return replace_in(exec, node, NodeKind::kernel, [&] { return kernel_work(first_version(given)); });
}
KAAS_EXPORT cuGraphExecMemcpyNodeSetParams(GraphExec* exec, GraphNode* node, const Copy3D* given, Context* context) {
    return replace_in(exec, node, NodeKind::copy, [&] {
        require(given);
        return copy_work(*given, context);
    });
}
KAAS_EXPORT cuGraphExecMemsetNodeSetParams(GraphExec* exec, GraphNode* node, const MemorySet* given, Context* context) {
    return replace_in(exec, node, NodeKind::set, [&] {
        require(given);
        return set_work(*given, context);
    });
}
KAAS_EXPORT cuGraphExecHostNodeSetParams(GraphExec* exec, GraphNode* node, const HostParameters* given) {
    return replace_in(exec, node, NodeKind::host, [&] {
        require(given);
        return host_work(*given);
    });
}
KAAS_EXPORT cuGraphExecEventRecordNodeSetEvent(GraphExec* exec, GraphNode* node, Event* event) {
    return replace_in(exec, node, NodeKind::record_event, [&] { return record_work(event); });
}
KAAS_EXPORT cuGraphExecEventWaitNodeSetEvent(GraphExec* exec, GraphNode* node, Event* event) {
    return replace_in(exec, node, NodeKind::wait_event, [&] { return wait_work(event); });
}
KAAS_EXPORT cuGraphExecChildGraphNodeSetParams(GraphExec* exec, GraphNode* node, Graph* child) {
    return update_child(exec, node, child);
}

KAAS_EXPORT cuGraphExecNodeSetParams(GraphExec* exec, GraphNode* node, const NodeParameters* given) {
    if (!given) return invalid_value;
    if (given->kind == static_cast<int>(NodeKind::graph)) return update_child(exec, node, given->graph.graph);
    return replace_in(exec, node, static_cast<NodeKind>(given->kind), [&] { return any_work(*given); });
}

KAAS_EXPORT cuGraphExecUpdate_v2(GraphExec* exec, Graph* graph, UpdateInfo* info) {
    return guarded([&] {
        devices();
        require(info);
        *info = {static_cast<int>(UpdateResult::error), nullptr, nullptr};
        const UpdateResult result = update(exec, graph, info->node);
        info->result = static_cast<int>(result);
        require(result == UpdateResult::success, exec_update_failure);
    });
}

// As it was up to CUDA 11.
KAAS_EXPORT cuGraphExecUpdate(GraphExec* exec, Graph* graph, GraphNode** node, int* result) {
    UpdateInfo info{};
    const int code = cuGraphExecUpdate_v2(exec, graph, &info);
    if (node) *node = info.node;
    if (result) *result = info.result;
    return code;
}

KAAS_EXPORT cuGraphNodeSetEnabled(GraphExec* handle, GraphNode* node, unsigned enabled) {
    return guarded([&] {
        devices();
        GraphExec& exec = exec_of(handle);
        ExecNode& target = exec.flat.nodes[exec.place_of(&node_of(node))];
        require(can_be_disabled(target.kind));
        target.enabled = enabled != 0;
    });
}

KAAS_EXPORT cuGraphNodeGetEnabled(GraphExec* handle, GraphNode* node, unsigned* enabled) {
    return guarded([&] {
        devices();
        require(enabled);
        const GraphExec& exec = exec_of(handle);
        const ExecNode& target = exec.flat.nodes[exec.place_of(&node_of(node))];
        require(can_be_disabled(target.kind));
        *enabled = target.enabled;
    });
}
