// Exported functions: device memory, host memory, copies, sets.
#include <cstring>

#include "api.h"
#include "fault.h"

using namespace kaas;

namespace {

void* host(DevicePointer address) { return reinterpret_cast<void*>(address); }

// Up to here a copy from ordinary host memory is taken into a buffer, so that the call need not wait.
constexpr std::size_t most_staged_bytes = std::size_t{64} << 10;

TaskPointer make_work(Context& context, std::function<Result()> body) {
    auto task = std::make_shared<Task>(Task::Kind::work, &context);
    task->work = std::move(body);
    return task;
}

TaskPointer make_copy(Context& context, void* target, const void* source, std::size_t bytes) {
    return make_work(context, [=] { return guarded_copy(target, source, bytes) ? success : illegal_address; });
}

void require_device_range(Context& context, DevicePointer address, std::size_t bytes) {
    require(context.is_device_range(address, bytes));
}

// A copy in the default stream that has ended when the call returns.
void copy_now(Context& context, void* target, const void* source, std::size_t bytes) {
    context.synchronise_legacy();
    context.check();
    std::memmove(target, source, bytes);
}

// ***** sets *****

template <class Value>
void fill_row(void* start, Value value, std::size_t count) {
    if constexpr (sizeof(Value) == 1) {
        std::memset(start, value, count);
    } else {
        auto* values = static_cast<Value*>(start);
        for (std::size_t index = 0; index < count; ++index) values[index] = value;
    }
}

template <class Value>
struct Fill {
    DevicePointer start;
    std::size_t pitch;
    Value value;
    std::size_t width, height;

    static void run(void* self) {
        const auto& fill = *static_cast<Fill*>(self);
        for (std::size_t row = 0; row < fill.height; ++row)
            fill_row(host(fill.start + row * fill.pitch), fill.value, fill.width);
    }
};

template <class Value>
int set(DevicePointer start, std::size_t pitch, Value value, std::size_t width, std::size_t height, StreamHandle handle) {
    return guarded([&] {
        Context& context = Context::current();
        Stream& stream = stream_of(context, handle);
        if (width == 0 || height == 0) return;
        require(start % sizeof(Value) == 0 && (height == 1 || pitch >= width * sizeof(Value)));
        require(height == 1 || pitch % sizeof(Value) == 0);
        require_device_range(context, start, (height - 1) * pitch + width * sizeof(Value));
        context.submit(stream, make_work(context, [fill = Fill<Value>{start, pitch, value, width, height}]() mutable {
            return guarded_run(&Fill<Value>::run, &fill) ? success : illegal_address;
        }));
    });
}

// ***** rectangles *****

struct Rows {
    char* target;
    const char* source;
    std::size_t target_pitch, source_pitch, width, height;

    static void run(void* self) {
        const auto& rows = *static_cast<Rows*>(self);
        for (std::size_t row = 0; row < rows.height; ++row)
            std::memmove(rows.target + row * rows.target_pitch, rows.source + row * rows.source_pitch, rows.width);
    }
};

// The first byte of a side of a two-dimensional copy, checked where it is device memory.
char* corner(Context& context, int kind, const void* host_base, DevicePointer device_base, std::size_t x, std::size_t y,
             std::size_t& pitch, const Copy2D& copy) {
    require(kind != memory_array, not_supported);
    if (pitch == 0) pitch = x + copy.width_bytes;
    require(copy.height <= 1 || pitch >= x + copy.width_bytes);
    if (kind == memory_host) return static_cast<char*>(const_cast<void*>(host_base)) + y * pitch + x;
    require(kind == memory_device || kind == memory_unified);
    const DevicePointer start = device_base + y * pitch + x;
    require_device_range(context, start, (copy.height - 1) * pitch + copy.width_bytes);
    return static_cast<char*>(host(start));
}

bool find_rows(Context& context, const Copy2D* copy, Rows& rows) {
    require(copy);
    if (copy->width_bytes == 0 || copy->height == 0) return false;
    rows.source_pitch = copy->source_pitch;
    rows.target_pitch = copy->target_pitch;
    rows.width = copy->width_bytes;
    rows.height = copy->height;
    rows.source = corner(context, copy->source_kind, copy->source_host, copy->source_device, copy->source_x,
                         copy->source_y, rows.source_pitch, *copy);
    rows.target = corner(context, copy->target_kind, copy->target_host, copy->target_device, copy->target_x,
                         copy->target_y, rows.target_pitch, *copy);
    return true;
}

int copy_rectangle(const Copy2D* copy) {
    return guarded([&] {
        Context& context = Context::current();
        Rows rows;
        if (!find_rows(context, copy, rows)) return;
        context.synchronise_legacy();
        context.check();
        Rows::run(&rows);
    });
}

}  // namespace

// ***** device memory *****

KAAS_EXPORT cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
    return guarded([&] {
        const DeviceMemory& memory = Context::current().device.memory;
        if (free) *free = memory.capacity() - memory.used();
        if (total) *total = memory.capacity();
    });
}

KAAS_EXPORT cuMemAlloc_v2(DevicePointer* result, std::size_t bytes) {
    return guarded([&] {
        Context& context = Context::current();
        require(result);
        *result = context.device.memory.allocate(bytes, &context);
    });
}

KAAS_EXPORT cuMemAllocPitch_v2(DevicePointer* result, std::size_t* pitch, std::size_t width, std::size_t height,
                               unsigned element_bytes) {
    return guarded([&] {
        Context& context = Context::current();
        require(result && pitch && width && height);
        require(element_bytes == 4 || element_bytes == 8 || element_bytes == 16);
        constexpr std::size_t unit = 512;
        *pitch = (width + unit - 1) / unit * unit;
        require(height <= context.device.memory.capacity() / *pitch, out_of_memory);
        *result = context.device.memory.allocate(*pitch * height, &context);
    });
}

KAAS_EXPORT cuMemFree_v2(DevicePointer address) {
    return guarded([&] {
        Context& context = Context::current();
        if (!address) return;
        context.device.memory.find(address);
        // As on a GPU, memory goes away only when nothing submitted so far can still use it.
        context.synchronise();
        context.check();
        context.device.memory.release(address);
    });
}

KAAS_EXPORT cuMemGetAddressRange_v2(DevicePointer* base, std::size_t* bytes, DevicePointer address) {
    return guarded([&] {
        const auto allocation = Context::current().device.memory.find(address);
        if (base) *base = allocation.start;
        if (bytes) *bytes = allocation.bytes;
    });
}

// ***** host memory *****

KAAS_EXPORT cuMemHostAlloc(void** result, std::size_t bytes, unsigned flags) {
    return guarded([&] {
        Context& context = Context::current();
        require(result && flags <= 7);
        *result = context.host_memory.allocate(bytes, flags | host_device_map);
    });
}

KAAS_EXPORT cuMemAllocHost_v2(void** result, std::size_t bytes) { return cuMemHostAlloc(result, bytes, 0); }

KAAS_EXPORT cuMemFreeHost(void* start) {
    return guarded([&] {
        Context& context = Context::current();
        context.synchronise();
        context.check();
        context.host_memory.release(start);
    });
}

KAAS_EXPORT cuMemHostRegister_v2(void* start, std::size_t bytes, unsigned flags) {
    return guarded([&] {
        Context& context = Context::current();
        require(flags <= 15);
        require(!(flags & host_io_memory), not_supported);
        context.host_memory.enrol(start, bytes, flags | host_device_map);
    });
}

KAAS_EXPORT cuMemHostUnregister(void* start) {
    return guarded([&] {
        Context& context = Context::current();
        context.synchronise();
        context.check();
        context.host_memory.withdraw(start);
    });
}

KAAS_EXPORT cuMemHostGetDevicePointer_v2(DevicePointer* result, void* start, unsigned flags) {
    return guarded([&] {
        Context& context = Context::current();
        require(result && flags == 0);
        context.host_memory.find(start);
        *result = reinterpret_cast<DevicePointer>(start);
    });
}

KAAS_EXPORT cuMemHostGetFlags(unsigned* flags, void* start) {
    return guarded([&] {
        Context& context = Context::current();
        require(flags);
        *flags = context.host_memory.find(start).flags;
    });
}

// ***** copies *****

KAAS_EXPORT cuMemcpyHtoD_v2(DevicePointer target, const void* source, std::size_t bytes) {
    return guarded([&] {
        Context& context = Context::current();
        if (!bytes) return;
        require(source);
        require_device_range(context, target, bytes);
        copy_now(context, host(target), source, bytes);
    });
}

KAAS_EXPORT cuMemcpyDtoH_v2(void* target, DevicePointer source, std::size_t bytes) {
    return guarded([&] {
        Context& context = Context::current();
        if (!bytes) return;
        require(target);
        require_device_range(context, source, bytes);
        copy_now(context, target, host(source), bytes);
    });
}

KAAS_EXPORT cuMemcpyHtoDAsync_v2(DevicePointer target, const void* source, std::size_t bytes, StreamHandle handle) {
    return guarded([&] {
        Context& context = Context::current();
        Stream& stream = stream_of(context, handle);
        if (!bytes) return;
        require(source);
        require_device_range(context, target, bytes);
        if (context.host_memory.contains(source, bytes)) {
            context.submit(stream, make_copy(context, host(target), source, bytes));
        } else if (bytes <= most_staged_bytes) {
            auto staged = std::make_shared<std::vector<char>>(static_cast<const char*>(source),
                                                              static_cast<const char*>(source) + bytes);
            context.submit(stream, make_work(context, [=] {
                return guarded_copy(host(target), staged->data(), bytes) ? success : illegal_address;
            }));
        } else {
            // The caller may change ordinary memory as soon as the call returns.
            TaskPointer task = make_copy(context, host(target), source, bytes);
            context.submit(stream, task);
            context.device.engine.wait(task);
            context.check();
        }
    });
}

KAAS_EXPORT cuMemcpyDtoHAsync_v2(void* target, DevicePointer source, std::size_t bytes, StreamHandle handle) {
    return guarded([&] {
        Context& context = Context::current();
        Stream& stream = stream_of(context, handle);
        if (!bytes) return;
        require(target);
        require_device_range(context, source, bytes);
        TaskPointer task = make_copy(context, target, host(source), bytes);
        context.submit(stream, task);
        if (context.host_memory.contains(target, bytes)) return;
        // As on a GPU: a copy to ordinary memory is over when the call returns.
        context.device.engine.wait(task);
        context.check();
    });
}

KAAS_EXPORT cuMemcpyDtoDAsync_v2(DevicePointer target, DevicePointer source, std::size_t bytes, StreamHandle handle) {
    return guarded([&] {
        Context& context = Context::current();
        Stream& stream = stream_of(context, handle);
        if (!bytes) return;
        require_device_range(context, target, bytes);
        require_device_range(context, source, bytes);
        context.submit(stream, make_copy(context, host(target), host(source), bytes));
    });
}

KAAS_EXPORT cuMemcpyDtoD_v2(DevicePointer target, DevicePointer source, std::size_t bytes) {
    return cuMemcpyDtoDAsync_v2(target, source, bytes, nullptr);
}

KAAS_EXPORT cuMemcpy2D_v2(const Copy2D* copy) { return copy_rectangle(copy); }
KAAS_EXPORT cuMemcpy2DUnaligned_v2(const Copy2D* copy) { return copy_rectangle(copy); }

KAAS_EXPORT cuMemcpy2DAsync_v2(const Copy2D* copy, StreamHandle handle) {
    return guarded([&] {
        Context& context = Context::current();
        Stream& stream = stream_of(context, handle);
        Rows rows;
        if (!find_rows(context, copy, rows)) return;
        TaskPointer task = make_work(context, [rows]() mutable {
            return guarded_run(&Rows::run, &rows) ? success : illegal_address;
        });
        context.submit(stream, task);
        const std::size_t source_bytes = (rows.height - 1) * rows.source_pitch + rows.width;
        const std::size_t target_bytes = (rows.height - 1) * rows.target_pitch + rows.width;
        const bool asynchronous =
            (copy->source_kind != memory_host || context.host_memory.contains(rows.source, source_bytes)) &&
            (copy->target_kind != memory_host || context.host_memory.contains(rows.target, target_bytes));
        if (asynchronous) return;
        context.device.engine.wait(task);
        context.check();
    });
}

// ***** sets *****

KAAS_EXPORT cuMemsetD8_v2(DevicePointer start, unsigned char value, std::size_t count) {
    return set(start, 0, value, count, 1, nullptr);
}
KAAS_EXPORT cuMemsetD16_v2(DevicePointer start, unsigned short value, std::size_t count) {
    return set(start, 0, value, count, 1, nullptr);
}
KAAS_EXPORT cuMemsetD32_v2(DevicePointer start, unsigned value, std::size_t count) {
    return set(start, 0, value, count, 1, nullptr);
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
    return set(start, pitch, value, width, height, nullptr);
}
KAAS_EXPORT cuMemsetD2D16_v2(DevicePointer start, std::size_t pitch, unsigned short value, std::size_t width,
                             std::size_t height) {
    return set(start, pitch, value, width, height, nullptr);
}
KAAS_EXPORT cuMemsetD2D32_v2(DevicePointer start, std::size_t pitch, unsigned value, std::size_t width,
                             std::size_t height) {
    return set(start, pitch, value, width, height, nullptr);
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
