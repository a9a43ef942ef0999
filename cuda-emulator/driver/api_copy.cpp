// Exported functions: copies and sets.
#include <utility>

#include "api.h"
#include "capture.h"
#include "operation.h"

using namespace kaas;

namespace {

const void* at(DevicePointer address) { return reinterpret_cast<const void*>(address); }

// Up to here a copy from ordinary host memory is taken into a buffer, so that the call need not wait.
constexpr std::size_t most_staged_bytes = std::size_t{64} << 10;

void require_device_range(Context& context, DevicePointer address, std::size_t bytes) {
    require(context.is_device_range(address, bytes));
}

// A copy in the default stream that has ended when the call returns.
void copy_now(Context& context, const CopyOperation& copy) {
    refuse_while_capturing(context);
    if (context.device.engine.disturbs_copies()) {
        context.device.engine.wait(enqueue(context, context.legacy, copy));
        return context.check();
    }
    context.synchronise_legacy();
    context.check();
    copy.run();
}

// Bytes from the first to the last of one side.
std::size_t span(const Copy3D& copy, std::size_t pitch, std::size_t height) {
    return ((copy.depth - 1) * height + (copy.height - 1)) * pitch + copy.width_bytes;
}

// True where the device may do the copy after the call has returned. Captured copies always run later.
bool is_asynchronous(Context& context, const CopyOperation& copy) {
    const Copy3D& given = copy.given;
    const auto locked = [&](int kind, const void* start, std::size_t pitch, std::size_t height) {
        return kind != memory_host || context.host_memory.contains(start, span(given, pitch, height));
    };
    return locked(given.source_kind, copy.source, given.source_pitch, given.source_height) &&
           locked(given.target_kind, copy.target, given.target_pitch, given.target_height);
}

void copy_later(Context& context, Stream& stream, CopyOperation copy) {
    if (is_asynchronous(context, copy)) {
        enqueue(context, stream, std::move(copy));
        return;
    }
    if (captures_running()) {
        Operation operation{copy};
        if (capture_operation(stream, operation)) return;
    }
    const bool from_host = copy.given.source_kind == memory_host && copy.given.target_kind != memory_host;
    if (from_host && copy.is_flat() && copy.given.width_bytes <= most_staged_bytes) {
        copy.staged = std::make_shared<const std::vector<char>>(copy.source, copy.source + copy.given.width_bytes);
        copy.source = copy.staged->data();
        enqueue(context, stream, std::move(copy));
        return;
    }
    // The caller may use ordinary memory as it likes as soon as the call returns.
    const TaskPointer task = enqueue(context, stream, std::move(copy));
    context.device.engine.wait(task);
    context.check();
}

Copy3D boxed(const Copy2D& copy) {
    Copy3D box{};
    box.source_x = copy.source_x;
    box.source_y = copy.source_y;
    box.source_kind = copy.source_kind;
    box.source_host = copy.source_host;
    box.source_device = copy.source_device;
    box.source_array = copy.source_array;
    box.source_pitch = copy.source_pitch;
    box.target_x = copy.target_x;
    box.target_y = copy.target_y;
    box.target_kind = copy.target_kind;
    box.target_host = copy.target_host;
    box.target_device = copy.target_device;
    box.target_array = copy.target_array;
    box.target_pitch = copy.target_pitch;
    box.width_bytes = copy.width_bytes;
    box.height = copy.height;
    box.depth = 1;
    return box;
}

int copy_box(const Copy3D& given) {
    return guarded([&] {
        Context& context = Context::current();
        CopyOperation copy;
        if (copy_operation(context, given, copy)) copy_now(context, copy);
    });
}

int copy_box_later(const Copy3D& given, StreamHandle handle) {
    return guarded([&] {
        Context& context = Context::current();
        Stream& stream = stream_of(context, handle);
        CopyOperation copy;
        if (copy_operation(context, given, copy)) copy_later(context, stream, std::move(copy));
    });
}

// What a pointer of the one address space means here: memory of a device, or else the host's.
int kind_of(Context& context, DevicePointer address, std::size_t bytes) {
    if (context.is_device_range(address, bytes)) return memory_device;
    require(!context.device.memory.in_reserved_range(address));
    return memory_host;
}

CopyOperation unified_copy(Context& context, DevicePointer target, DevicePointer source, std::size_t bytes) {
    require(target && source);
    return flat_copy(kind_of(context, target, bytes), at(target), kind_of(context, source, bytes), at(source), bytes);
}

template <class Value>
int set(DevicePointer start, std::size_t pitch, Value value, std::size_t width, std::size_t height, StreamHandle handle) {
    return guarded([&] {
        Context& context = Context::current();
        Stream& stream = stream_of(context, handle);
        SetOperation set;
        if (set_operation(context, {start, pitch, value, sizeof(Value), width, height}, set))
            enqueue(context, stream, std::move(set));
    });
}

// Likewise in the default stream, as a call that a capture does not see.
template <class Value>
int set_now(DevicePointer start, std::size_t pitch, Value value, std::size_t width, std::size_t height) {
    const int refused = guarded([&] { refuse_while_capturing(Context::current()); });
    return refused ? refused : set(start, pitch, value, width, height, nullptr);
}

}  // namespace

// ***** rows of bytes *****

KAAS_EXPORT cuMemcpyHtoD_v2(DevicePointer target, const void* source, std::size_t bytes) {
    return guarded([&] {
        Context& context = Context::current();
        if (!bytes) return;
        require(source);
        require_device_range(context, target, bytes);
        copy_now(context, flat_copy(memory_device, at(target), memory_host, source, bytes));
    });
}

KAAS_EXPORT cuMemcpyDtoH_v2(void* target, DevicePointer source, std::size_t bytes) {
    return guarded([&] {
        Context& context = Context::current();
        if (!bytes) return;
        require(target);
        require_device_range(context, source, bytes);
        copy_now(context, flat_copy(memory_host, target, memory_device, at(source), bytes));
    });
}

KAAS_EXPORT cuMemcpyHtoDAsync_v2(DevicePointer target, const void* source, std::size_t bytes, StreamHandle handle) {
    return guarded([&] {
        Context& context = Context::current();
        Stream& stream = stream_of(context, handle);
        if (!bytes) return;
        require(source);
        require_device_range(context, target, bytes);
        copy_later(context, stream, flat_copy(memory_device, at(target), memory_host, source, bytes));
    });
}

KAAS_EXPORT cuMemcpyDtoHAsync_v2(void* target, DevicePointer source, std::size_t bytes, StreamHandle handle) {
    return guarded([&] {
        Context& context = Context::current();
        Stream& stream = stream_of(context, handle);
        if (!bytes) return;
        require(target);
        require_device_range(context, source, bytes);
        copy_later(context, stream, flat_copy(memory_host, target, memory_device, at(source), bytes));
    });
}

KAAS_EXPORT cuMemcpyDtoDAsync_v2(DevicePointer target, DevicePointer source, std::size_t bytes, StreamHandle handle) {
    return guarded([&] {
        Context& context = Context::current();
        Stream& stream = stream_of(context, handle);
        if (!bytes) return;
        require_device_range(context, target, bytes);
        require_device_range(context, source, bytes);
        copy_later(context, stream, flat_copy(memory_device, at(target), memory_device, at(source), bytes));
    });
}

KAAS_EXPORT cuMemcpyDtoD_v2(DevicePointer target, DevicePointer source, std::size_t bytes) {
    const int refused = guarded([&] { refuse_while_capturing(Context::current()); });
    return refused ? refused : cuMemcpyDtoDAsync_v2(target, source, bytes, nullptr);
}

KAAS_EXPORT cuMemcpy(DevicePointer target, DevicePointer source, std::size_t bytes) {
    return guarded([&] {
        Context& context = Context::current();
        if (bytes) copy_now(context, unified_copy(context, target, source, bytes));
    });
}

KAAS_EXPORT cuMemcpyAsync(DevicePointer target, DevicePointer source, std::size_t bytes, StreamHandle handle) {
    return guarded([&] {
        Context& context = Context::current();
        Stream& stream = stream_of(context, handle);
        if (bytes) copy_later(context, stream, unified_copy(context, target, source, bytes));
    });
}

// ***** rectangles and boxes *****

KAAS_EXPORT cuMemcpy2D_v2(const Copy2D* copy) { return copy ? copy_box(boxed(*copy)) : invalid_value; }
KAAS_EXPORT cuMemcpy2DUnaligned_v2(const Copy2D* copy) { return cuMemcpy2D_v2(copy); }
KAAS_EXPORT cuMemcpy2DAsync_v2(const Copy2D* copy, StreamHandle stream) {
    return copy ? copy_box_later(boxed(*copy), stream) : invalid_value;
}
KAAS_EXPORT cuMemcpy3D_v2(const Copy3D* copy) { return copy ? copy_box(*copy) : invalid_value; }
KAAS_EXPORT cuMemcpy3DAsync_v2(const Copy3D* copy, StreamHandle stream) {
    return copy ? copy_box_later(*copy, stream) : invalid_value;
}

// ***** sets *****

KAAS_EXPORT cuMemsetD8_v2(DevicePointer start, unsigned char value, std::size_t count) {
    return set_now(start, 0, value, count, 1);
}
KAAS_EXPORT cuMemsetD16_v2(DevicePointer start, unsigned short value, std::size_t count) {
    return set_now(start, 0, value, count, 1);
}
KAAS_EXPORT cuMemsetD32_v2(DevicePointer start, unsigned value, std::size_t count) {
    return set_now(start, 0, value, count, 1);
}
KAAS_EXPORT cuMemsetD8Async(DevicePointer start, unsigned char value, std::size_t count, StreamHandle stream) {
    return set(start, 0, value, count, 1, stream);
}
KAAS_EXPORT cuMemsetD16Async(DevicePointer start, unsigned short value, std::size_t count, StreamHandle stream) {
    return set(start, 0, value, count, 1, stream);
}
KAAS_EXPORT cuMemsetD32Async(DevicePointer start, unsigned value, std::size_t count, StreamHandle stream) {
    return set(start, 0, value, count, 1, stream);
}
KAAS_EXPORT cuMemsetD2D8_v2(DevicePointer start, std::size_t pitch, unsigned char value, std::size_t width,
                            std::size_t height) {
    return set_now(start, pitch, value, width, height);
}
KAAS_EXPORT cuMemsetD2D16_v2(DevicePointer start, std::size_t pitch, unsigned short value, std::size_t width,
                             std::size_t height) {
    return set_now(start, pitch, value, width, height);
}
KAAS_EXPORT cuMemsetD2D32_v2(DevicePointer start, std::size_t pitch, unsigned value, std::size_t width,
                             std::size_t height) {
    return set_now(start, pitch, value, width, height);
}
KAAS_EXPORT cuMemsetD2D8Async(DevicePointer start, std::size_t pitch, unsigned char value, std::size_t width,
                              std::size_t height, StreamHandle stream) {
    return set(start, pitch, value, width, height, stream);
}
KAAS_EXPORT cuMemsetD2D16Async(DevicePointer start, std::size_t pitch, unsigned short value, std::size_t width,
                               std::size_t height, StreamHandle stream) {
    return set(start, pitch, value, width, height, stream);
}
KAAS_EXPORT cuMemsetD2D32Async(DevicePointer start, std::size_t pitch, unsigned value, std::size_t width,
                               std::size_t height, StreamHandle stream) {
    return set(start, pitch, value, width, height, stream);
}
