// Exported functions: graphs, and how their nodes depend on each other.
#include "api_graph.h"

#include "api.h"

using namespace kaas;

namespace {

// Writes what there is into an array of the caller's: with no array only the count, else as many as fit and nulls behind.
void list(const std::vector<GraphNode*>& found, GraphNode** result, std::size_t* count) {
    require(count);
    if (!result) {
        *count = found.size();
        return;
    }
    for (std::size_t index = 0; index < *count; ++index) result[index] = index < found.size() ? found[index] : nullptr;
    *count = std::min(*count, found.size());
}

struct Edges {
    std::vector<GraphNode*> from, to;
};

Edges edges_of(const Graph& graph) {
    Edges edges;
    for (GraphNode* node : graph.nodes) {
        for (GraphNode* dependency : node->dependencies) {
            edges.from.push_back(dependency);
            edges.to.push_back(node);
        }
    }
    return edges;
}

void clear(EdgeData* edges, const std::size_t* count) {
    if (edges && count) std::fill_n(edges, *count, EdgeData{});
}

enum class Change { connect, disconnect };

int change(Change kind, Graph* handle, GraphNode* const* from, GraphNode* const* to, const EdgeData* edges,
           std::size_t count) {
    return guarded([&] {
        Graph& graph = graph_of(handle);
        const std::vector<GraphNode*> sources = nodes_of(from, count), targets = nodes_of(to, count);
        require(are_plain(edges, count), not_supported);
        for (std::size_t index = 0; index < count; ++index) {
            if (kind == Change::connect) graph.connect(sources[index], targets[index]);
            else graph.disconnect(sources[index], targets[index]);
        }
    });
}

}  // namespace

namespace kaas {

Graph& graph_of(Graph* handle) { return Handles<Graph>::get(handle, invalid_value); }
GraphNode& node_of(GraphNode* handle) { return Handles<GraphNode>::get(handle, invalid_value); }

std::vector<GraphNode*> nodes_of(GraphNode* const* handles, std::size_t count) {
    require(handles || !count);
    std::vector<GraphNode*> nodes;
    for (std::size_t index = 0; index < count; ++index) nodes.push_back(&node_of(handles[index]));
    return nodes;
}

}  // namespace kaas

KAAS_EXPORT cuGraphCreate(Graph** result, unsigned flags) {
    return guarded([&] {
        devices();
        require(result && flags == 0);
        *result = Graph::create();
    });
}

KAAS_EXPORT cuGraphDestroy(Graph* handle) {
    return guarded([&] {
        devices();
        const Graph& graph = graph_of(handle);
        // A graph inside a node goes with the node; one that is captured into, when the capture ends.
        require(!graph.parent && !graph.capture);
        Graph::destroy(handle);
    });
}

KAAS_EXPORT cuGraphClone(Graph** result, Graph* handle) {
    return guarded([&] {
        devices();
        require(result);
        *result = graph_of(handle).clone();
    });
}

KAAS_EXPORT cuGraphNodeFindInClone(GraphNode** result, GraphNode* original, Graph* handle) {
    return guarded([&] {
        devices();
        require(result);
        const Graph& clone = graph_of(handle);
        const GraphNode& node = node_of(original);
        require(clone.origin == node.graph->id);
        for (GraphNode* candidate : clone.nodes) {
            if (candidate->origin != node.id) continue;
            *result = candidate;
            return;
        }
        throw Error(invalid_value);
    });
}

KAAS_EXPORT cuGraphDestroyNode(GraphNode* handle) {
    return guarded([&] {
        devices();
        GraphNode& node = node_of(handle);
        require(!node.graph->capture);
        node.graph->remove(handle);
    });
}

KAAS_EXPORT cuGraphNodeGetType(GraphNode* handle, int* kind) {
    return guarded([&] {
        devices();
        require(kind);
        *kind = static_cast<int>(node_of(handle).kind());
    });
}

// ***** what is in a graph *****

KAAS_EXPORT cuGraphGetNodes(Graph* handle, GraphNode** result, std::size_t* count) {
    return guarded([&] {
        devices();
        list(graph_of(handle).nodes, result, count);
    });
}

KAAS_EXPORT cuGraphGetRootNodes(Graph* handle, GraphNode** result, std::size_t* count) {
    return guarded([&] {
        devices();
        std::vector<GraphNode*> roots;
        for (GraphNode* node : graph_of(handle).nodes)
            if (node->dependencies.empty()) roots.push_back(node);
        list(roots, result, count);
    });
}

KAAS_EXPORT cuGraphGetEdges(Graph* handle, GraphNode** from, GraphNode** to, std::size_t* count) {
    return guarded([&] {
        devices();
        require(count && !from == !to);
        const Edges edges = edges_of(graph_of(handle));
        std::size_t also = *count;
        list(edges.from, from, count);
        list(edges.to, to, &also);
    });
}

KAAS_EXPORT cuGraphGetEdges_v2(Graph* handle, GraphNode** from, GraphNode** to, EdgeData* edges, std::size_t* count) {
    clear(from ? edges : nullptr, count);
    return cuGraphGetEdges(handle, from, to, count);
}

KAAS_EXPORT cuGraphNodeGetDependencies(GraphNode* handle, GraphNode** result, std::size_t* count) {
    return guarded([&] {
        devices();
        list(node_of(handle).dependencies, result, count);
    });
}

KAAS_EXPORT cuGraphNodeGetDependencies_v2(GraphNode* handle, GraphNode** result, EdgeData* edges, std::size_t* count) {
    clear(result ? edges : nullptr, count);
    return cuGraphNodeGetDependencies(handle, result, count);
}

KAAS_EXPORT cuGraphNodeGetDependentNodes(GraphNode* handle, GraphNode** result, std::size_t* count) {
    return guarded([&] {
        devices();
        list(node_of(handle).dependents, result, count);
    });
}

KAAS_EXPORT cuGraphNodeGetDependentNodes_v2(GraphNode* handle, GraphNode** result, EdgeData* edges, std::size_t* count) {
    clear(result ? edges : nullptr, count);
    return cuGraphNodeGetDependentNodes(handle, result, count);
}

// ***** dependencies *****

KAAS_EXPORT cuGraphAddDependencies(Graph* graph, GraphNode* const* from, GraphNode* const* to, std::size_t count) {
    return change(Change::connect, graph, from, to, nullptr, count);
}
KAAS_EXPORT cuGraphAddDependencies_v2(Graph* graph, GraphNode* const* from, GraphNode* const* to, const EdgeData* edges,
                                      std::size_t count) {
    return change(Change::connect, graph, from, to, edges, count);
}
KAAS_EXPORT cuGraphRemoveDependencies(Graph* graph, GraphNode* const* from, GraphNode* const* to, std::size_t count) {
    return change(Change::disconnect, graph, from, to, nullptr, count);
}
KAAS_EXPORT cuGraphRemoveDependencies_v2(Graph* graph, GraphNode* const* from, GraphNode* const* to,
                                         const EdgeData* edges, std::size_t count) {
    return change(Change::disconnect, graph, from, to, edges, count);
}
