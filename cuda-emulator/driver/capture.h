// Stream capture: what is put into a stream becomes nodes of a graph instead of work.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "context.h"
#include "graph.h"
#include "operation.h"

namespace kaas {

// Numbers of CUstreamCaptureMode.
enum class CaptureMode : int { global, thread_local_, relaxed };
// Numbers of CUstreamCaptureStatus.
enum class CaptureStatus : int { none, active, invalidated };

// A sequence of captured work in one stream and those forked from it.
struct Capture {
    std::uint64_t id;
    Context* context;
    CaptureMode mode;
    std::thread::id thread;      // that began it
    Stream* origin;
    Graph* graph;
    bool owns_graph;             // it made the graph, and takes it away if it fails
    CaptureStatus status = CaptureStatus::active;
    std::vector<Stream*> streams;
};

extern std::atomic<unsigned> capture_count;
// False where no stream of this process is captured: then none of what follows has anything to say.
inline bool captures_running() { return capture_count.load(std::memory_order_acquire) != 0; }

void begin_capture(Stream& stream, CaptureMode mode, Graph* graph, std::vector<GraphNode*> dependencies);
// Answers the graph. Throws Error for what broke the capture, which has ended then as well, unless this was the wrong
// stream or the wrong thread to end it.
Graph* end_capture(Stream& stream);
CaptureMode exchange_capture_mode(CaptureMode mode);

struct CaptureInfo {
    CaptureStatus status = CaptureStatus::none;
    std::uint64_t id = 0;
    Graph* graph = nullptr;
    GraphNode* const* dependencies = nullptr;  // valid until the next call on the stream
    std::size_t dependency_count = 0;
};
CaptureInfo capture_info(Stream& stream);
void update_capture(Stream& stream, const std::vector<GraphNode*>& dependencies, bool replace);

// Each of these answers false where the stream is not captured and the call is to go on as usual. Throws Error.
bool capture_operation(Stream& stream, Operation& operation, Graph* child = nullptr);
bool capture_record(Stream& stream, Event& event);
bool capture_wait(Stream& stream, Event& event);

// For calls that wait for a stream or ask how far it is. Throws Error.
void refuse_on_captured(Stream& stream);
// For work that captures do not take: launches of graphs, callbacks. Throws Error.
void refuse_uncapturable(Stream& stream);
// For calls that act at once, or wait, whatever is captured. Throws Error.
void refuse_while_capturing(Context& context);
// For calls that wait for the whole context. Throws Error.
void refuse_in_capturing_context(Context& context);

// A stream that goes away while it is captured breaks the capture.
void leave_capture(Stream& stream);
// Ends all captures of a context that is being destroyed.
void drop_captures(Context& context);

}  // namespace kaas
