// Graphs of operations, and what is made of them to be launched again and again.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "context.h"
#include "operation.h"

namespace kaas {

struct Graph;
struct Capture;

// Numbers of CUgraphNodeType.
enum class NodeKind : int { kernel, copy, set, host, graph, empty, wait_event, record_event };

struct GraphNode {
    Graph* graph;
    std::uint64_t id;      // unlike the handle, never used again
    std::uint64_t origin;  // the id of the node that this one was cloned from, or 0
    Operation operation;
    Context* context;      // of a kernel, a copy or a set; null where it has none or that was destroyed
    Graph* child = nullptr;
    std::vector<GraphNode*> dependencies, dependents;
    std::vector<void*> argument_pointers;  // what callers who ask for the parameters of a kernel get

    NodeKind kind() const;
    // True where it can only run in a context.
    bool needs_context() const;
};

struct Graph {
    std::uint64_t id;
    std::uint64_t origin = 0;     // the id of the graph that this one was cloned from, or 0
    GraphNode* parent = nullptr;  // the node that this graph is inside
    const Capture* capture = nullptr;  // what is adding to it just now
    std::vector<GraphNode*> nodes;     // in the order they were added

    // ***** all of these throw Error(invalid_value) for what is not alive or not of this graph *****

    static Graph* create();
    // Destroys a graph, its nodes and the graphs inside them.
    static void destroy(Graph* graph);
    Graph* clone() const;

    // `child` is taken over.
    GraphNode* add(Operation operation, Context* context, const std::vector<GraphNode*>& dependencies,
                   Graph* child = nullptr);
    void remove(GraphNode* node);
    void connect(GraphNode* from, GraphNode* to);
    void disconnect(GraphNode* from, GraphNode* to);
};

// One node of an executable graph. Graphs inside graphs lie flat between two empty nodes.
struct ExecNode {
    NodeKind kind;
    bool enabled;
    bool is_last;                            // nothing depends on it
    std::uint32_t inner;                     // of a graph: how many nodes of it follow
    GraphNode* source;                       // where it came from; valid while that graph is
    Context* context;
    Operation operation;
    std::vector<std::uint32_t> predecessors;
};

// Nodes of a graph in an order in which they can run, the same for graphs of the same shape.
struct Flattened {
    std::vector<ExecNode> nodes;
    std::unordered_map<std::uint64_t, std::uint32_t> places;  // of nodes, by id; of a child graph, its first node
    GraphNode* cycle = nullptr;                               // a node on a cycle, if there is one
};

Flattened flatten(const Graph& graph);

// Numbers of CUgraphExecUpdateResult.
enum class UpdateResult : int {
    success = 0,
    error = 1,
    topology_changed = 2,
    kind_changed = 3,
    parameters_changed = 5,
    function_changed = 7,
};

// Why an operation may not take the place of another in an executable graph; success where it may.
UpdateResult can_replace(const ExecNode& node, const Operation& operation, const Context* context);

struct GraphExec {
    Context* context;
    std::uint64_t flags;
    Flattened flat;
    TaskPointer last;  // the end of its last launch: it never runs at the same time as itself; guarded by order_mutex

    // Puts a launch at the end of the stream. Throws Error: invalid_value where a module of its kernels is unloaded,
    // invalid_handle where an event is destroyed.
    void launch(Stream& stream);
    // The place of a node of the graph that this was made from. Throws Error(invalid_value).
    std::uint32_t place_of(const GraphNode* node) const;
    // Takes over the operations of a graph of the same shape, into the nodes from `first` on.
    UpdateResult update(const Flattened& other, std::uint32_t first, GraphNode*& offender);
};

}  // namespace kaas
