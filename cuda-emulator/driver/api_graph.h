// What the exported functions about graphs share: handles, and parameters of nodes as callers give them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "graph.h"
#include "types.h"

namespace kaas {

// Throw Error(invalid_value) for what is not alive.
Graph& graph_of(Graph* handle);
GraphNode& node_of(GraphNode* handle);
std::vector<GraphNode*> nodes_of(GraphNode* const* handles, std::size_t count);

// CUDA_KERNEL_NODE_PARAMS; the first version ends before `library_kernel`.
struct KernelParameters {
    Function* function;
    kaas_abi::Dim grid, block;
    unsigned dynamic_shared_bytes;
    void** parameters;
    void** extra;
    void* library_kernel;
    Context* context;
};
static_assert(sizeof(KernelParameters) == 72 && offsetof(KernelParameters, library_kernel) == 56);

struct HostParameters {
    void (*function)(void*);
    void* argument;
};

// CUgraphNodeParams: a kind and what that kind needs.
struct NodeParameters {
    int kind;
    int reserved_before[3];
    union {
        std::int64_t padding[29];
        KernelParameters kernel;
        struct {
            int flags, reserved;
            Context* context;
            Copy3D copy;
        } copy;
        struct {
            MemorySet set;
            Context* context;
        } set;
        HostParameters host;
        struct {
            Graph* graph;
            int ownership;
        } graph;
        Event* event;
    };
    std::int64_t reserved_after;
};
static_assert(sizeof(NodeParameters) == 256);

// What a node does and where.
struct NodeWork {
    Operation operation;
    Context* context = nullptr;
};

// Each checks as the driver does. Throws Error.
NodeWork kernel_work(const KernelParameters& given);
NodeWork copy_work(const Copy3D& given, Context* context);
NodeWork set_work(const MemorySet& given, Context* context);
NodeWork host_work(const HostParameters& given);
NodeWork record_work(Event* event);
NodeWork wait_work(Event* event);
// Of any kind but a graph.
NodeWork any_work(const NodeParameters& given);

// The first version of the parameters, or the second, as the second.
KernelParameters first_version(const void* given);
KernelParameters second_version(const void* given);

}  // namespace kaas
