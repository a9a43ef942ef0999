#include "capture.h"

#include <algorithm>
#include <mutex>
#include <unordered_set>
#include <utility>

#include "error.h"
#include "handles.h"

namespace kaas {

std::atomic<unsigned> capture_count{0};

namespace {

// Guards all captures, and what streams and events know of them. Before all other mutexes. Never destroyed, as worker
// threads outlive static destructors.
std::mutex& capture_mutex() {
    static auto* mutex = new std::mutex;
    return *mutex;
}

std::vector<std::shared_ptr<Capture>>& captures() {
    static auto* running = new std::vector<std::shared_ptr<Capture>>;
    return *running;
}

thread_local CaptureMode thread_mode = CaptureMode::global;

void invalidate(Capture& capture) { capture.status = CaptureStatus::invalidated; }

[[noreturn]] void refuse(Capture& capture, Result code) {
    invalidate(capture);
    throw Error(code);
}

void check_valid(const Capture& capture) { require(capture.status == CaptureStatus::active, capture_invalidated); }

bool is_running(const std::shared_ptr<Capture>& capture) {
    return std::find(captures().begin(), captures().end(), capture) != captures().end();
}

// The default stream waits for all blocking streams, and a captured one cannot be waited for.
void check_default_stream(const Stream& stream) {
    if (&stream != &stream.context->legacy) return;
    for (const auto& capture : captures()) {
        if (capture->context != stream.context) continue;
        for (const Stream* member : capture->streams)
            if (!(member->flags & stream_non_blocking)) refuse(*capture, capture_implicit);
    }
}

void join(Stream& stream, const std::shared_ptr<Capture>& capture) {
    stream.capture = capture;
    capture->streams.push_back(&stream);
}

void add_ends(Stream& stream, const std::vector<GraphNode*>& ends) {
    for (GraphNode* end : ends)
        if (std::find(stream.ends.begin(), stream.ends.end(), end) == stream.ends.end()) stream.ends.push_back(end);
}

void finish(const std::shared_ptr<Capture>& capture) {
    for (Stream* stream : capture->streams) {
        stream->capture = nullptr;
        stream->ends.clear();
    }
    capture->graph->capture = nullptr;
    std::erase(captures(), capture);
    capture_count.store(static_cast<unsigned>(captures().size()), std::memory_order_release);
}

void discard_graph(const Capture& capture) {
    if (capture.owns_graph) Graph::destroy(capture.graph);
}

// True where all work of the forked streams is before the end of the stream that began.
bool is_joined(const Capture& capture) {
    std::unordered_set<const GraphNode*> reached;
    std::vector<const GraphNode*> open(capture.origin->ends.begin(), capture.origin->ends.end());
    while (!open.empty()) {
        const GraphNode* node = open.back();
        open.pop_back();
        if (!reached.insert(node).second) continue;
        open.insert(open.end(), node->dependencies.begin(), node->dependencies.end());
    }
    return std::all_of(capture.streams.begin(), capture.streams.end(), [&](const Stream* stream) {
        return std::all_of(stream->ends.begin(), stream->ends.end(),
                           [&](const GraphNode* end) { return reached.count(end) != 0; });
    });
}

// Calls that a captured graph would not repeat are refused to those whose mode says so, and break what is captured.
void refuse_unsafe_locked() {
    if (thread_mode == CaptureMode::relaxed) return;
    const std::thread::id self = std::this_thread::get_id();
    bool refused = false;
    for (const auto& capture : captures()) {
        const bool own = capture->thread == self && capture->mode != CaptureMode::relaxed;
        const bool others = thread_mode == CaptureMode::global && capture->mode == CaptureMode::global;
        if (!own && !others) continue;
        invalidate(*capture);
        refused = true;
    }
    require(!refused, capture_unsupported);
}

}  // namespace

void begin_capture(Stream& stream, CaptureMode mode, Graph* graph, std::vector<GraphNode*> dependencies) {
    std::lock_guard lock(capture_mutex());
    require(mode == CaptureMode::global || mode == CaptureMode::thread_local_ || mode == CaptureMode::relaxed);
    require(&stream != &stream.context->legacy, capture_unsupported);
    require(!stream.capture, illegal_state);
    static std::uint64_t last_id = 0;
    const bool owns_graph = !graph;
    if (owns_graph) graph = Graph::create();
    auto capture = std::make_shared<Capture>(Capture{++last_id, stream.context, mode, std::this_thread::get_id(),
                                                     &stream, graph, owns_graph, CaptureStatus::active, {}});
    graph->capture = capture.get();
    join(stream, capture);
    stream.ends = std::move(dependencies);
    captures().push_back(std::move(capture));
    capture_count.store(static_cast<unsigned>(captures().size()), std::memory_order_release);
}

Graph* end_capture(Stream& stream) {
    std::lock_guard lock(capture_mutex());
    const std::shared_ptr<Capture> capture = stream.capture;
    require(capture != nullptr, illegal_state);
    require(capture->origin == &stream, capture_unmatched);
    require(capture->mode == CaptureMode::relaxed || capture->thread == std::this_thread::get_id(),
            capture_wrong_thread);
    const bool valid = capture->status == CaptureStatus::active;
    const bool joined = valid && is_joined(*capture);
    finish(capture);
    if (joined) return capture->graph;
    discard_graph(*capture);
    throw Error(valid ? capture_unjoined : capture_invalidated);
}

CaptureMode exchange_capture_mode(CaptureMode mode) {
    require(mode == CaptureMode::global || mode == CaptureMode::thread_local_ || mode == CaptureMode::relaxed);
    return std::exchange(thread_mode, mode);
}

CaptureInfo capture_info(Stream& stream) {
    std::lock_guard lock(capture_mutex());
    if (&stream == &stream.context->legacy) {
        // Asking breaks nothing.
        for (const auto& capture : captures())
            for (const Stream* member : capture->streams)
                require(capture->context != stream.context || (member->flags & stream_non_blocking), capture_implicit);
    }
    if (!stream.capture) return {};
    const Capture& capture = *stream.capture;
    if (capture.status != CaptureStatus::active) return {capture.status};
    return {capture.status, capture.id, capture.graph, stream.ends.data(), stream.ends.size()};
}

void update_capture(Stream& stream, const std::vector<GraphNode*>& dependencies, bool replace) {
    std::lock_guard lock(capture_mutex());
    require(stream.capture != nullptr, illegal_state);
    check_valid(*stream.capture);
    for (const GraphNode* node : dependencies) require(node->graph == stream.capture->graph);
    if (replace) stream.ends.clear();
    add_ends(stream, dependencies);
}

bool capture_operation(Stream& stream, Operation& operation, Graph* child) {
    std::lock_guard lock(capture_mutex());
    check_default_stream(stream);
    if (!stream.capture) return false;
    check_valid(*stream.capture);
    GraphNode* node = stream.capture->graph->add(std::move(operation), nullptr, stream.ends, child);
    if (node->needs_context()) node->context = stream.context;
    stream.ends = {node};
    return true;
}

bool capture_record(Stream& stream, Event& event) {
    std::lock_guard lock(capture_mutex());
    check_default_stream(stream);
    if (stream.capture) {
        check_valid(*stream.capture);
        event.capture = stream.capture;
        event.ends = stream.ends;
    } else {
        event.capture = nullptr;
        event.ends.clear();
    }
    event.captured = event.capture != nullptr;
    return event.captured;
}

bool capture_wait(Stream& stream, Event& event) {
    std::lock_guard lock(capture_mutex());
    check_default_stream(stream);
    if (!event.capture) {
        if (stream.capture) {
            check_valid(*stream.capture);
            // Work outside would not be waited for when the graph is launched.
            refuse(*stream.capture, capture_isolation);
        }
        return false;
    }
    const std::shared_ptr<Capture> capture = event.capture;
    if (!is_running(capture)) {
        if (stream.capture) refuse(*stream.capture, capture_isolation);
        throw Error(captured_event);
    }
    check_valid(*capture);
    if (stream.capture && stream.capture != capture) {
        invalidate(*stream.capture);
        refuse(*capture, capture_merge);
    }
    if (&stream == &stream.context->legacy) refuse(*capture, capture_implicit);
    if (!stream.capture) join(stream, capture);
    add_ends(stream, event.ends);
    return true;
}

void refuse_on_captured(Stream& stream) {
    if (!captures_running()) return;
    std::lock_guard lock(capture_mutex());
    check_default_stream(stream);
    if (stream.capture) {
        check_valid(*stream.capture);
        refuse(*stream.capture, capture_unsupported);
    }
    refuse_unsafe_locked();
}

void refuse_uncapturable(Stream& stream) {
    if (!captures_running()) return;
    std::lock_guard lock(capture_mutex());
    check_default_stream(stream);
    if (!stream.capture) return;
    check_valid(*stream.capture);
    refuse(*stream.capture, capture_unsupported);
}

void refuse_while_capturing(Context& context) {
    if (!captures_running()) return;
    std::lock_guard lock(capture_mutex());
    check_default_stream(context.legacy);
    refuse_unsafe_locked();
}

void refuse_in_capturing_context(Context& context) {
    if (!captures_running()) return;
    std::lock_guard lock(capture_mutex());
    for (const auto& capture : captures())
        if (capture->context == &context) refuse(*capture, capture_unsupported);
    refuse_unsafe_locked();
}

void leave_capture(Stream& stream) {
    std::lock_guard lock(capture_mutex());
    const std::shared_ptr<Capture> capture = stream.capture;
    if (!capture) return;
    invalidate(*capture);
    std::erase(capture->streams, &stream);
    if (capture->origin != &stream) return;
    // Nobody can end it any more.
    finish(capture);
    discard_graph(*capture);
}

void drop_captures(Context& context) {
    std::lock_guard lock(capture_mutex());
    const auto running = captures();
    for (const auto& capture : running) {
        if (capture->context != &context) continue;
        finish(capture);
        discard_graph(*capture);
    }
}

}  // namespace kaas
