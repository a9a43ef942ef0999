#include "context.h"

#include <algorithm>

#include "capture.h"
#include "error.h"
#include "graph.h"
#include "handles.h"

namespace kaas {
namespace {

bool pending(const TaskPointer& task) { return task && !task->done.load(std::memory_order_acquire); }

}  // namespace

std::vector<Context*>& context_stack() {
    static thread_local std::vector<Context*> stack;
    return stack;
}

Context& Context::current_or_failed() {
    devices();
    auto& stack = context_stack();
    require(!stack.empty() && stack.back(), invalid_context);
    return Handles<Context>::get(stack.back(), context_is_destroyed);
}

Context& Context::current() {
    Context& context = current_or_failed();
    if (context.failure() != success) context.output.flush();
    context.check();
    return context;
}

void Context::fail(Result result, const std::string& explanation) {
    {
        std::lock_guard lock(explanation_mutex_);
        if (failure() != success) return;
        report("%s", explanation.c_str());
        explanation_ = explanation;
        failure_.store(result, std::memory_order_release);
    }
    device.engine.notice_failure();
}

std::string Context::explanation() const {
    std::lock_guard lock(explanation_mutex_);
    return explanation_;
}

void Context::destroy(Context* handle) {
    std::unique_ptr<Context> context = Handles<Context>::take(handle, invalid_context);
    drop_captures(*context);
    context->synchronise();
    Handles<GraphExec>::erase_if([&](const GraphExec& exec) { return exec.context == handle; });
    Handles<GraphNode>::for_each([&](GraphNode& node) {
        if (node.context == handle) node.context = nullptr;
    });
    Handles<Event>::erase_if([&](const Event& event) { return event.context == handle; });
    Handles<Stream>::erase_if([&](const Stream& stream) { return stream.context == handle; });
    Handles<Function>::erase_if([&](const Function& function) { return function.context == handle; });
    Handles<Module>::erase_if([&](const Module& module) { return module.context == handle; });
    context->device.memory.release_all_of(handle);
}

std::vector<TaskPointer> Context::predecessors(const Stream& stream) const {
    std::vector<TaskPointer> found;
    auto add = [&](const TaskPointer& task) {
        if (pending(task)) found.push_back(task);
    };
    add(stream.tail);
    if (&stream == &legacy) {
        for (const Stream* other : streams_)
            if (!(other->flags & stream_non_blocking)) add(other->tail);
        for (const TaskPointer& orphan : orphans_) add(orphan);
    } else if (!(stream.flags & stream_non_blocking)) {
        add(legacy.tail);
    }
    return found;
}

void Context::submit(Stream& stream, const TaskPointer& task, const TaskPointer& also) {
    std::lock_guard lock(order_mutex);
    std::vector<TaskPointer> dependencies = predecessors(stream);
    if (pending(also)) dependencies.push_back(also);
    stream.tail = task;
    device.engine.submit(task, dependencies.data(), dependencies.size());
}

TaskPointer Context::submit_group(Stream& stream, const TaskPointer& also, const SubmitMembers& submit_members) {
    std::lock_guard lock(order_mutex);
    std::vector<TaskPointer> dependencies = predecessors(stream);
    if (pending(also)) dependencies.push_back(also);
    const auto begin = std::make_shared<Task>(Task::Kind::marker, this);
    device.engine.submit(begin, dependencies.data(), dependencies.size());
    std::vector<TaskPointer> ends = submit_members(begin);
    ends.push_back(begin);
    auto end = std::make_shared<Task>(Task::Kind::marker, this);
    device.engine.submit(end, ends.data(), ends.size());
    stream.tail = end;
    return end;
}

void Context::add(Stream& stream) {
    std::lock_guard lock(order_mutex);
    streams_.push_back(&stream);
}

void Context::forget(Stream& stream) {
    std::lock_guard lock(order_mutex);
    std::erase(streams_, &stream);
    std::erase_if(orphans_, [](const TaskPointer& task) { return !pending(task); });
    if (pending(stream.tail)) orphans_.push_back(stream.tail);
}

void Context::synchronise(Stream& stream) {
    TaskPointer tail;
    if (&stream == &legacy) return synchronise_legacy();
    {
        std::lock_guard lock(order_mutex);
        tail = stream.tail;
    }
    device.engine.wait(tail);
    output.flush();
}

void Context::synchronise_legacy() {
    std::vector<TaskPointer> tails;
    {
        std::lock_guard lock(order_mutex);
        tails = predecessors(legacy);
    }
    for (const TaskPointer& tail : tails) device.engine.wait(tail);
    output.flush();
}

void Context::synchronise() {
    std::vector<TaskPointer> tails;
    {
        std::lock_guard lock(order_mutex);
        tails = predecessors(legacy);
        for (const Stream* stream : streams_)
            if (pending(stream->tail)) tails.push_back(stream->tail);
    }
    for (const TaskPointer& tail : tails) device.engine.wait(tail);
    output.flush();
}

bool Context::idle(Stream& stream) {
    std::lock_guard lock(order_mutex);
    return &stream == &legacy ? predecessors(stream).empty() : !pending(stream.tail);
}

bool Context::is_device_range(DevicePointer address, std::size_t bytes) {
    if (device.memory.in_reserved_range(address)) return device.memory.contains(address, bytes);
    {
        std::lock_guard lock(object_mutex);
        for (const Module* module : modules)
            if (module->image->contains(address, bytes)) return true;
    }
    if (host_memory.contains(reinterpret_cast<const void*>(address), bytes)) return true;
    for (const auto& other : devices())
        if (other->memory.contains(address, bytes)) return true;
    return false;
}

}  // namespace kaas
