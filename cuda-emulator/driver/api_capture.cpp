// Exported functions: stream capture.
#include "api.h"
#include "api_graph.h"
#include "capture.h"

using namespace kaas;

namespace {

int begin(StreamHandle handle, int mode, Graph* graph, GraphNode* const* dependencies, std::size_t count) {
    return guarded([&] {
        Context& context = Context::current();
        Stream& stream = stream_of(context, handle);
        std::vector<GraphNode*> nodes = nodes_of(dependencies, count);
        if (graph) require(!graph_of(graph).capture);
        for (const GraphNode* node : nodes) require(node->graph == graph);
        begin_capture(stream, static_cast<CaptureMode>(mode), graph, std::move(nodes));
    });
}

int describe(StreamHandle handle, int* status, std::uint64_t* id, Graph** graph, GraphNode* const** dependencies,
             std::size_t* count) {
    return guarded([&] {
        Context& context = Context::current();
        require(status);
        const CaptureInfo info = capture_info(stream_of(context, handle));
        *status = static_cast<int>(info.status);
        if (info.status != CaptureStatus::active) return;
        if (id) *id = info.id;
        if (graph) *graph = info.graph;
        if (dependencies) *dependencies = info.dependencies;
        if (count) *count = info.dependency_count;
    });
}

}  // namespace

KAAS_EXPORT cuStreamBeginCapture_v2(StreamHandle stream, int mode) { return begin(stream, mode, nullptr, nullptr, 0); }

// As it was in CUDA 10.0.
KAAS_EXPORT cuStreamBeginCapture(StreamHandle stream) {
    return begin(stream, static_cast<int>(CaptureMode::global), nullptr, nullptr, 0);
}

KAAS_EXPORT cuStreamBeginCaptureToGraph(StreamHandle stream, Graph* graph, GraphNode* const* dependencies,
                                        const EdgeData* edges, std::size_t count, int mode) {
    if (!graph) return invalid_value;
    if (!are_plain(edges, count)) return not_supported;
    return begin(stream, mode, graph, dependencies, count);
}

KAAS_EXPORT cuStreamEndCapture(StreamHandle handle, Graph** result) {
    return guarded([&] {
        Context& context = Context::current();
        require(result);
        *result = nullptr;
        *result = end_capture(stream_of(context, handle));
    });
}

KAAS_EXPORT cuStreamIsCapturing(StreamHandle stream, int* status) {
    return describe(stream, status, nullptr, nullptr, nullptr, nullptr);
}

KAAS_EXPORT cuStreamGetCaptureInfo(StreamHandle stream, int* status, std::uint64_t* id) {
    return describe(stream, status, id, nullptr, nullptr, nullptr);
}

KAAS_EXPORT cuStreamGetCaptureInfo_v2(StreamHandle stream, int* status, std::uint64_t* id, Graph** graph,
                                      GraphNode* const** dependencies, std::size_t* count) {
    return describe(stream, status, id, graph, dependencies, count);
}

KAAS_EXPORT cuStreamGetCaptureInfo_v3(StreamHandle stream, int* status, std::uint64_t* id, Graph** graph,
                                      GraphNode* const** dependencies, const EdgeData** edges, std::size_t* count) {
    std::size_t found = 0;
    const int code = describe(stream, status, id, graph, dependencies, &found);
    if (code != success) return code;
    // All edges are plain ones. As the dependencies, they are valid until the next call.
    static thread_local std::vector<EdgeData> plain;
    plain.resize(std::max(plain.size(), found));
    if (edges) *edges = plain.data();
    if (count) *count = found;
    return code;
}

KAAS_EXPORT cuStreamUpdateCaptureDependencies(StreamHandle handle, GraphNode* const* dependencies, std::size_t count,
                                              unsigned flags) {
    return guarded([&] {
        Context& context = Context::current();
        require(flags <= 1);  // 0 adds to the set, 1 replaces it
        update_capture(stream_of(context, handle), nodes_of(dependencies, count), flags == 1);
    });
}

KAAS_EXPORT cuStreamUpdateCaptureDependencies_v2(StreamHandle stream, GraphNode* const* dependencies,
                                                 const EdgeData* edges, std::size_t count, unsigned flags) {
    if (!are_plain(edges, count)) return not_supported;
    return cuStreamUpdateCaptureDependencies(stream, dependencies, count, flags);
}

KAAS_EXPORT cuThreadExchangeStreamCaptureMode(int* mode) {
    return guarded([&] {
        require(mode);
        *mode = static_cast<int>(exchange_capture_mode(static_cast<CaptureMode>(*mode)));
    });
}
