// Exported functions: streams and events.
#include "api.h"

using namespace kaas;

namespace {

void create_stream(StreamHandle* result, unsigned flags) {
    Context& context = Context::current();
    require(result && flags <= stream_non_blocking);
    *result = Handles<Stream>::create(std::make_unique<Stream>(Stream{&context, flags, nullptr}));
    context.add(**result);
}

TaskPointer recorded(Event& event) {
    std::lock_guard lock(event.context->order_mutex);
    return event.task;
}

}  // namespace

KAAS_EXPORT cuStreamCreate(StreamHandle* result, unsigned flags) {
    return guarded([&] { create_stream(result, flags); });
}

// Priorities are hints, and there is one.
KAAS_EXPORT cuStreamCreateWithPriority(StreamHandle* result, unsigned flags, int) {
    return guarded([&] { create_stream(result, flags); });
}

KAAS_EXPORT cuStreamDestroy_v2(StreamHandle handle) {
    return guarded([&] {
        Context::current_or_failed();
        std::unique_ptr<Stream> stream = Handles<Stream>::take(handle);
        stream->context->forget(*stream);
    });
}

KAAS_EXPORT cuStreamQuery(StreamHandle handle) {
    return guarded([&]() -> Result {
        Context& context = Context::current();
        const bool idle = context.idle(stream_of(context, handle));
        context.check();
        return idle ? success : not_ready;
    });
}

KAAS_EXPORT cuStreamSynchronize(StreamHandle handle) {
    return guarded([&] {
        Context& context = Context::current();
        context.synchronise(stream_of(context, handle));
        context.check();
    });
}

KAAS_EXPORT cuStreamWaitEvent(StreamHandle handle, EventHandle event_handle, unsigned flags) {
    return guarded([&] {
        Context& context = Context::current();
        require(flags == 0);
        Stream& stream = stream_of(context, handle);
        Event& event = Handles<Event>::get(event_handle);
        // Tasks of another device end under another mutex.
        require(&event.context->device == &context.device, not_supported);
        TaskPointer awaited = recorded(event);
        if (awaited) context.submit(stream, std::make_shared<Task>(Task::Kind::marker, &context), awaited);
    });
}

KAAS_EXPORT cuLaunchHostFunc(StreamHandle handle, void (*function)(void*), void* argument) {
    return guarded([&] {
        Context& context = Context::current();
        require(function);
        Stream& stream = stream_of(context, handle);
        auto task = std::make_shared<Task>(Task::Kind::work, &context);
        task->work = [=] {
            function(argument);
            return success;
        };
        context.submit(stream, task);
    });
}

KAAS_EXPORT cuStreamAddCallback(StreamHandle handle, void (*function)(StreamHandle, int, void*), void* argument,
                                unsigned flags) {
    return guarded([&] {
        Context& context = Context::current();
        require(function && flags == 0);
        Stream& stream = stream_of(context, handle);
        auto task = std::make_shared<Task>(Task::Kind::work, &context);
        task->work = [=] {
            function(handle, success, argument);
            return success;
        };
        context.submit(stream, task);
    });
}

KAAS_EXPORT cuStreamGetFlags(StreamHandle handle, unsigned* flags) {
    return guarded([&] {
        require(flags);
        *flags = stream_of(Context::current(), handle).flags;
    });
}

KAAS_EXPORT cuStreamGetCtx(StreamHandle handle, Context** result) {
    return guarded([&] {
        require(result);
        *result = stream_of(Context::current(), handle).context;
    });
}

// ***** events *****

KAAS_EXPORT cuEventCreate(EventHandle* result, unsigned flags) {
    return guarded([&] {
        Context& context = Context::current();
        require(result && flags <= 7);
        require(!(flags & event_interprocess), not_supported);
        *result = Handles<Event>::create(std::make_unique<Event>(Event{&context, flags, nullptr}));
    });
}

KAAS_EXPORT cuEventDestroy_v2(EventHandle handle) {
    return guarded([&] {
        Context::current_or_failed();
        Handles<Event>::take(handle);
    });
}

KAAS_EXPORT cuEventRecord(EventHandle handle, StreamHandle stream_handle) {
    return guarded([&] {
        Context& context = Context::current();
        Event& event = Handles<Event>::get(handle);
        require(event.context == &context, invalid_handle);
        Stream& stream = stream_of(context, stream_handle);
        auto task = std::make_shared<Task>(Task::Kind::marker, &context);
        context.submit(stream, task);
        std::lock_guard lock(context.order_mutex);
        event.task = std::move(task);
    });
}

KAAS_EXPORT cuEventQuery(EventHandle handle) {
    return guarded([&]() -> Result {
        Event& event = Handles<Event>::get(handle);
        event.context->check();
        TaskPointer task = recorded(event);
        return !task || task->done.load(std::memory_order_acquire) ? success : not_ready;
    });
}

KAAS_EXPORT cuEventSynchronize(EventHandle handle) {
    return guarded([&] {
        Event& event = Handles<Event>::get(handle);
        Context& context = *event.context;
        context.check();
        context.device.engine.wait(recorded(event));
        context.output.flush();
        context.check();
    });
}

KAAS_EXPORT cuEventElapsedTime(float* milliseconds, EventHandle start, EventHandle end) {
    return guarded([&]() -> Result {
        require(milliseconds);
        Event& first = Handles<Event>::get(start);
        Event& second = Handles<Event>::get(end);
        first.context->check();
        TaskPointer from = recorded(first), to = recorded(second);
        require(from && to && !((first.flags | second.flags) & event_disable_timing), invalid_handle);
        if (!from->done.load(std::memory_order_acquire) || !to->done.load(std::memory_order_acquire)) return not_ready;
        *milliseconds = static_cast<float>(static_cast<double>(to->finished_ns - from->finished_ns) * 1e-6);
        return success;
    });
}
