#include "graph.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <queue>

#include "error.h"
#include "handles.h"

namespace kaas {
namespace {

std::uint64_t next_id() {
    static std::atomic<std::uint64_t> last{0};
    return ++last;
}

bool contains(const std::vector<GraphNode*>& nodes, const GraphNode* node) {
    return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

}  // namespace

NodeKind GraphNode::kind() const {
    if (child) return NodeKind::graph;
    // In the order of Operation's alternatives.
    constexpr NodeKind kinds[] = {NodeKind::empty, NodeKind::kernel,       NodeKind::copy,      NodeKind::set,
                                  NodeKind::host,  NodeKind::record_event, NodeKind::wait_event};
    static_assert(std::size(kinds) == std::variant_size_v<Operation>);
    return kinds[operation.index()];
}

bool GraphNode::needs_context() const {
    return kind() == NodeKind::kernel || kind() == NodeKind::copy || kind() == NodeKind::set;
}

Graph* Graph::create() {
    auto graph = std::make_unique<Graph>();
    graph->id = next_id();
    return Handles<Graph>::create(std::move(graph));
}

void Graph::destroy(Graph* graph) {
    const std::unique_ptr<Graph> owned = Handles<Graph>::take(graph, invalid_value);
    for (GraphNode* node : owned->nodes) {
        if (node->child) destroy(node->child);
        Handles<GraphNode>::take(node, invalid_value);
    }
}

Graph* Graph::clone() const {
    Graph* copy = create();
    copy->origin = id;
    std::unordered_map<const GraphNode*, GraphNode*> twins;
    for (const GraphNode* node : nodes) {
        GraphNode* twin = copy->add(node->operation, node->context, {}, node->child ? node->child->clone() : nullptr);
        twin->origin = node->id;
        twins.emplace(node, twin);
    }
    for (const GraphNode* node : nodes)
        for (const GraphNode* dependency : node->dependencies) copy->connect(twins.at(dependency), twins.at(node));
    return copy;
}

GraphNode* Graph::add(Operation operation, Context* context, const std::vector<GraphNode*>& dependencies,
                      Graph* child) {
    for (const GraphNode* dependency : dependencies) require(dependency->graph == this);
    GraphNode* node = Handles<GraphNode>::create(
        std::make_unique<GraphNode>(GraphNode{this, next_id(), 0, std::move(operation), context, child, {}, {}, {}}));
    if (child) child->parent = node;
    nodes.push_back(node);
    for (GraphNode* dependency : dependencies) connect(dependency, node);
    return node;
}

void Graph::remove(GraphNode* node) {
    for (GraphNode* dependency : node->dependencies) std::erase(dependency->dependents, node);
    for (GraphNode* dependent : node->dependents) std::erase(dependent->dependencies, node);
    std::erase(nodes, node);
    if (node->child) destroy(node->child);
    Handles<GraphNode>::take(node, invalid_value);
}

void Graph::connect(GraphNode* from, GraphNode* to) {
    require(from->graph == this && to->graph == this && from != to && !contains(to->dependencies, from));
    from->dependents.push_back(to);
    to->dependencies.push_back(from);
}

void Graph::disconnect(GraphNode* from, GraphNode* to) {
    require(from->graph == this && to->graph == this && contains(to->dependencies, from));
    std::erase(from->dependents, to);
    std::erase(to->dependencies, from);
}

// ***** executable graphs *****

namespace {

using Places = std::vector<std::uint32_t>;

// Appends the nodes of a graph, of which those without dependencies come after `entry`; answers the last ones.
class Flattening {
public:
    explicit Flattening(Flattened& result) : result_(result) {}

    Places append(const Graph& graph, const Places& entry) {
        std::unordered_map<const GraphNode*, std::size_t> blockers, order;
        std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>> ready;
        for (std::size_t index = 0; index < graph.nodes.size(); ++index) {
            const GraphNode* node = graph.nodes[index];
            order[node] = index;
            blockers[node] = node->dependencies.size();
            if (node->dependencies.empty()) ready.push(index);
        }
        std::unordered_map<const GraphNode*, std::uint32_t> ends;  // of each node, the place that others wait for
        Places last;
        while (!ready.empty()) {
            GraphNode* node = graph.nodes[ready.top()];
            ready.pop();
            Places predecessors;
            for (const GraphNode* dependency : node->dependencies) predecessors.push_back(ends.at(dependency));
            if (predecessors.empty()) predecessors = entry;
            std::uint32_t place = put(node, node->kind(), std::move(predecessors));
            result_.places[node->id] = place;
            if (node->child) {
                Places inner = append(*node->child, {place});
                if (inner.empty()) inner = {place};
                result_.nodes[place].inner = static_cast<std::uint32_t>(result_.nodes.size() - 1 - place);
                place = put(node, NodeKind::empty, std::move(inner));
            }
            ends[node] = place;
            if (node->dependents.empty()) last.push_back(place);
            for (const GraphNode* dependent : node->dependents)
                if (--blockers[dependent] == 0) ready.push(order[dependent]);
        }
        if (ends.size() != graph.nodes.size())
            for (GraphNode* node : graph.nodes)
                if (!ends.count(node)) result_.cycle = node;
        return last;
    }

private:
    std::uint32_t put(GraphNode* node, NodeKind kind, Places predecessors) {
        for (const std::uint32_t place : predecessors) result_.nodes[place].is_last = false;
        const bool empty = kind == NodeKind::graph || kind == NodeKind::empty;
        result_.nodes.push_back({kind, true, true, 0, node, node->context, empty ? Operation{} : node->operation,
                                 std::move(predecessors)});
        return static_cast<std::uint32_t>(result_.nodes.size() - 1);
    }

    Flattened& result_;
};

bool same_extent(const MemorySet& first, const MemorySet& second) {
    return first.width == second.width && first.height == second.height && first.pitch == second.pitch &&
           first.element_bytes == second.element_bytes;
}

}  // namespace

Flattened flatten(const Graph& graph) {
    Flattened result;
    Flattening(result).append(graph, {});
    return result;
}

UpdateResult can_replace(const ExecNode& node, const Operation& operation, const Context* context) {
    if (node.operation.index() != operation.index()) return UpdateResult::kind_changed;
    if (node.kind == NodeKind::kernel && node.context != context) return UpdateResult::function_changed;
    if (node.context != context) return UpdateResult::parameters_changed;
    if (auto* old_copy = std::get_if<CopyOperation>(&node.operation)) {
        const Copy3D& before = old_copy->given;
        const Copy3D& after = std::get<CopyOperation>(operation).given;
        if (before.source_kind != after.source_kind || before.target_kind != after.target_kind)
            return UpdateResult::parameters_changed;
    }
    if (auto* old_set = std::get_if<SetOperation>(&node.operation)) {
        // A rectangle keeps its extent; a row stays a row.
        const MemorySet& before = old_set->given;
        const MemorySet& after = std::get<SetOperation>(operation).given;
        if (before.height != after.height || (before.height > 1 && !same_extent(before, after)))
            return UpdateResult::parameters_changed;
    }
    return UpdateResult::success;
}

std::uint32_t GraphExec::place_of(const GraphNode* node) const {
    auto found = flat.places.find(node->id);
    require(found != flat.places.end());
    return found->second;
}

UpdateResult GraphExec::update(const Flattened& other, std::uint32_t first, GraphNode*& offender) {
    for (std::uint32_t index = 0; index < other.nodes.size(); ++index) {
        const ExecNode& before = flat.nodes[first + index];
        const ExecNode& after = other.nodes[index];
        offender = after.source;
        if (before.kind != after.kind) return UpdateResult::kind_changed;
        // Those without predecessors inside follow what comes before the graph, wherever it is.
        const bool is_root = after.predecessors.empty();
        if (!is_root && before.predecessors.size() != after.predecessors.size()) return UpdateResult::topology_changed;
        for (std::size_t edge = 0; edge < after.predecessors.size(); ++edge)
            if (before.predecessors[edge] != first + after.predecessors[edge]) return UpdateResult::topology_changed;
        if (is_root)
            for (const std::uint32_t place : before.predecessors)
                if (place >= first) return UpdateResult::topology_changed;
        const UpdateResult result = can_replace(before, after.operation, after.context);
        if (result != UpdateResult::success) return result;
    }
    offender = nullptr;
    for (std::uint32_t index = 0; index < other.nodes.size(); ++index)
        flat.nodes[first + index].operation = other.nodes[index].operation;
    return UpdateResult::success;
}

void GraphExec::launch(Stream& stream) {
    for (const ExecNode& node : flat.nodes) {
        if (auto* kernel = std::get_if<KernelOperation>(&node.operation); kernel && kernel->image->unloaded()) {
            report("a graph cannot be launched: the module of its kernel %s is unloaded", kernel->kernel->name);
            throw Error(invalid_value);
        }
        const Event* event = nullptr;
        if (auto* record = std::get_if<RecordOperation>(&node.operation)) event = record->event;
        if (auto* wait = std::get_if<WaitOperation>(&node.operation)) event = wait->event;
        if (event) require(Handles<Event>::get(event).context == context, not_supported);
    }
    last = context->submit_group(stream, last, [&](const TaskPointer& begin) {
        std::vector<TaskPointer> tasks, dependencies, ends;
        tasks.reserve(flat.nodes.size());
        for (const ExecNode& node : flat.nodes) {
            TaskPointer task = make_task(*context, node.enabled ? node.operation : Operation{});
            dependencies.clear();
            for (const std::uint32_t place : node.predecessors) dependencies.push_back(tasks[place]);
            if (dependencies.empty()) dependencies.push_back(begin);
            if (auto* wait = std::get_if<WaitOperation>(&node.operation)) dependencies.push_back(wait->event->task);
            if (auto* record = std::get_if<RecordOperation>(&node.operation)) {
                record->event->task = task;
                record->event->captured = false;
            }
            context->device.engine.submit(task, dependencies.data(), dependencies.size());
            if (node.is_last) ends.push_back(task);
            tasks.push_back(std::move(task));
        }
        return ends;
    });
}

}  // namespace kaas
