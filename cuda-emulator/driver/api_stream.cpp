// Exported functions: streams and events.
#include "api.h"
#include "capture.h"
#include "operation.h"

using namespace kaas;

namespace {

void create_stream(StreamHandle* result, unsigned flags) {
    Context& context = Context::current();
    require(result && flags <= stream_non_blocking);
    *result = Handles<Stream>::create(std::make_unique<Stream>(Stream{&context, flags}));
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
        leave_capture(*stream);
        stream->context->forget(*stream);
    });
}

KAAS_EXPORT cuStreamQuery(StreamHandle handle) {
    return guarded([&]() -> Result {
        Context& context = Context::current();
        Stream& stream = stream_of(context, handle);
        refuse_on_captured(stream);
        const bool idle = context.idle(stream);
        context.check();
        return idle ? success : not_ready;
    });
}

KAAS_EXPORT cuStreamSynchronize(StreamHandle handle) {
    return guarded([&] {
        Context& context = Context::current();
        Stream& stream = stream_of(context, handle);
        refuse_on_captured(stream);
        context.synchronise(stream);
        context.check();
    });
}

KAAS_EXPORT cuStreamWaitEvent(StreamHandle handle, EventHandle event_handle, unsigned flags) {
    return guarded([&] {
        Context& context = Context::current();
        require(!(flags & ~wait_external));
        Stream& stream = stream_of(context, handle);
        Event& event = Handles<Event>::get(event_handle);
        // Tasks of another device end under another mutex.
        require(&event.context->device == &context.device, not_supported);
        if (flags & wait_external) {
            Operation wait{WaitOperation{&event}};
            require(capture_operation(stream, wait), illegal_state);
            return;
        }
        if ((captures_running() || event.captured) && capture_wait(stream, event)) return;
        TaskPointer awaited = recorded(event);
        if (awaited) context.submit(stream, std::make_shared<Task>(Task::Kind::marker, &context), awaited);
    });
}

KAAS_EXPORT cuLaunchHostFunc(StreamHandle handle, void (*function)(void*), void* argument) {
    return guarded([&] {
        Context& context = Context::current();
        require(function);
        enqueue(context, stream_of(context, handle), HostOperation{function, argument});
    });
}

KAAS_EXPORT cuStreamAddCallback(StreamHandle handle, void (*function)(StreamHandle, int, void*), void* argument,
                                unsigned flags) {
    return guarded([&] {
        Context& context = Context::current();
        require(function && flags == 0);
        Stream& stream = stream_of(context, handle);
        refuse_uncapturable(stream);
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

KAAS_EXPORT cuStreamGetPriority(StreamHandle handle, int* priority) {
    return guarded([&] {
        require(priority);
        stream_of(Context::current(), handle);
        *priority = 0;
    });
}

// ***** events *****

KAAS_EXPORT cuEventCreate(EventHandle* result, unsigned flags) {
    return guarded([&] {
        Context& context = Context::current();
        require(result && flags <= 7);
        require(!(flags & event_interprocess), not_supported);
        *result = Handles<Event>::create(std::unique_ptr<Event>(new Event{&context, flags}));
    });
}

KAAS_EXPORT cuEventDestroy_v2(EventHandle handle) {
    return guarded([&] {
        Context::current_or_failed();
        Handles<Event>::take(handle);
    });
}

KAAS_EXPORT cuEventRecordWithFlags(EventHandle handle, StreamHandle stream_handle, unsigned flags) {
    return guarded([&] {
        Context& context = Context::current();
        require(!(flags & ~record_external));
        Event& event = Handles<Event>::get(handle);
        require(event.context == &context, invalid_handle);
        Stream& stream = stream_of(context, stream_handle);
        if (flags & record_external) {
            Operation record{RecordOperation{&event}};
            require(capture_operation(stream, record), illegal_state);
            return;
        }
        if ((captures_running() || event.captured) && capture_record(stream, event)) return;
        auto task = std::make_shared<Task>(Task::Kind::marker, &context);
        context.submit(stream, task);
        std::lock_guard lock(context.order_mutex);
        event.task = std::move(task);
    });
}

KAAS_EXPORT cuEventRecord(EventHandle handle, StreamHandle stream) {
    return cuEventRecordWithFlags(handle, stream, 0);
}

KAAS_EXPORT cuEventQuery(EventHandle handle) {
    return guarded([&]() -> Result {
        Event& event = Handles<Event>::get(handle);
        event.context->check();
        require(!event.captured, captured_event);
        refuse_while_capturing(*event.context);
        TaskPointer task = recorded(event);
        return !task || task->done.load(std::memory_order_acquire) ? success : not_ready;
    });
}

KAAS_EXPORT cuEventSynchronize(EventHandle handle) {
    return guarded([&] {
        Event& event = Handles<Event>::get(handle);
        Context& context = *event.context;
        context.check();
        require(!event.captured, captured_event);
        refuse_while_capturing(context);
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
        require(!first.captured && !second.captured, captured_event);
        TaskPointer from = recorded(first), to = recorded(second);
        require(from && to && !((first.flags | second.flags) & event_disable_timing), invalid_handle);
        if (!from->done.load(std::memory_order_acquire) || !to->done.load(std::memory_order_acquire)) return not_ready;
        *milliseconds = static_cast<float>(static_cast<double>(to->finished_ns - from->finished_ns) * 1e-6);
        return success;
    });
}
