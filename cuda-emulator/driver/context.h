// Contexts: what a caller allocates, loads and launches belongs to one, and dies with it.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "device.h"
#include "error.h"
#include "host_memory.h"
#include "image.h"
#include "print.h"

namespace kaas {

class Context;
struct Capture;
struct GraphNode;

struct Stream {
    Context* context;
    unsigned flags;
    TaskPointer tail{};  // the last task submitted; guarded by the context's order mutex

    // Guarded by the capture mutex.
    std::shared_ptr<Capture> capture{};  // null where it is not captured
    std::vector<GraphNode*> ends{};      // what its next node depends on
};

struct Event {
    Context* context;
    unsigned flags;
    TaskPointer task{};  // null until recorded; guarded by the context's order mutex

    std::atomic<bool> captured{false};   // the last record was in a captured stream
    // Guarded by the capture mutex.
    std::shared_ptr<Capture> capture{};  // of that record
    std::vector<GraphNode*> ends{};      // what it stands for there
};

struct Function {
    Context* context;
    std::shared_ptr<const Image> image;
    const kaas_abi::Kernel* kernel;
    unsigned dynamic_shared_most;  // as set by the caller, else the default

    const kaas_abi::Resources& resources() const { return image->resources(*kernel); }
};

struct Module {
    Context* context;
    std::shared_ptr<const Image> image;
    std::vector<Function*> functions;  // made so far; guarded by the context's object mutex
};

class Context {
public:
    Context(Device& device, unsigned flags) : device(device), flags(flags) { legacy.context = this; }

    // Destroys a context and everything in it, after its running work has ended.
    static void destroy(Context* context);

    // The one on top of the calling thread's stack. Throws Error: invalid_context where there is none,
    // context_is_destroyed, or the failure that made it unusable.
    static Context& current();
    // Likewise, but usable even after a failure: for queries and for taking things down.
    static Context& current_or_failed();

    // The first error of a kernel; from then on every call in this context answers it.
    Result failure() const { return failure_.load(std::memory_order_acquire); }
    // Makes it so, unless it has failed already. `explanation` says in a sentence what the caller did.
    void fail(Result result, const std::string& explanation);
    // That sentence; empty before.
    std::string explanation() const;

    // Throws the failure, if there is one.
    void check() const { require(failure() == success, failure()); }

    // Puts a task at the end of a stream, after what CUDA's rules for the default stream add, and after `also`.
    void submit(Stream& stream, const TaskPointer& task, const TaskPointer& also = nullptr);
    // Puts several tasks at the end of a stream as one: `submit_members` submits them to the engine, after the task it is
    // given, and answers those that end last. Answers the task that ends when they have.
    using SubmitMembers = std::function<std::vector<TaskPointer>(const TaskPointer& begin)>;
    TaskPointer submit_group(Stream& stream, const TaskPointer& also, const SubmitMembers& submit_members);
    // Waits for all work submitted so far, in all streams; for everything the default stream waits for; for one stream.
    void synchronise();
    void synchronise_legacy();
    void synchronise(Stream& stream);
    // True where all work of the stream has ended.
    bool idle(Stream& stream);
    // Keeps the work of a stream that is going away, so that synchronise() still waits for it.
    void forget(Stream& stream);
    void add(Stream& stream);

    // True where a copy may read or write the whole range as device memory.
    bool is_device_range(DevicePointer address, std::size_t bytes);

    Device& device;
    const unsigned flags;
    HostMemory host_memory;
    Output output;                       // of its kernels
    Stream legacy{nullptr, 0};           // the default stream
    std::mutex order_mutex;              // before the engine's mutex, never after
    std::mutex object_mutex;
    std::vector<Module*> modules;        // guarded by the object mutex
    std::array<std::size_t, 8> limits{1024, std::size_t{1} << 20, std::size_t{8} << 20, 2, 2048, 128, 0, 0};
    int cache_config = 0;
    int shared_config = 0;

private:
    // The ends of what the stream's next task must wait for.
    std::vector<TaskPointer> predecessors(const Stream& stream) const;

    std::atomic<Result> failure_{success};
    mutable std::mutex explanation_mutex_;
    std::string explanation_;              // guarded by explanation_mutex_
    std::vector<Stream*> streams_;         // all but the default one; guarded by order_mutex
    std::vector<TaskPointer> orphans_;     // ends of destroyed streams; guarded by order_mutex
};

// The calling thread's stack of current contexts.
std::vector<Context*>& context_stack();

}  // namespace kaas
