// Exported functions: device memory, host memory.
#include "api.h"
#include "capture.h"

using namespace kaas;

namespace {

// What the environment wants to happen to an allocation.
void disturb_allocation(Context& context) {
    Faults* faults = context.device.settings().faults.get();
    if (!faults) return;
    switch (faults->next_allocation()) {
        case Faults::Allocation::none: return;
        case Faults::Allocation::fails: throw Error(out_of_memory);
        case Faults::Allocation::loses_device: context.device.lose();
    }
    context.check();
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
        refuse_while_capturing(context);
        disturb_allocation(context);
        *result = context.device.memory.allocate(bytes, &context);
    });
}

KAAS_EXPORT cuMemAllocPitch_v2(DevicePointer* result, std::size_t* pitch, std::size_t width, std::size_t height,
                               unsigned element_bytes) {
    return guarded([&] {
        Context& context = Context::current();
        require(result && pitch && width && height);
        refuse_while_capturing(context);
        require(element_bytes == 4 || element_bytes == 8 || element_bytes == 16);
        constexpr std::size_t unit = 512;
        *pitch = (width + unit - 1) / unit * unit;
        require(height <= context.device.memory.capacity() / *pitch, out_of_memory);
        disturb_allocation(context);
        *result = context.device.memory.allocate(*pitch * height, &context);
    });
}

KAAS_EXPORT cuMemFree_v2(DevicePointer address) {
    return guarded([&] {
        Context& context = Context::current();
        if (!address) return;
        refuse_while_capturing(context);
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

// What messages call the allocation that holds this address. Not of the driver API: for whoever knows the names.
KAAS_EXPORT kaas_emulator_name(DevicePointer address, const char* name) {
    return guarded([&] {
        require(name);
        Context::current().device.memory.rename(address, name);
    });
}

// ***** host memory *****

KAAS_EXPORT cuMemHostAlloc(void** result, std::size_t bytes, unsigned flags) {
    return guarded([&] {
        Context& context = Context::current();
        require(result && flags <= 7);
        refuse_while_capturing(context);
        *result = context.host_memory.allocate(bytes, flags | host_device_map);
    });
}

KAAS_EXPORT cuMemAllocHost_v2(void** result, std::size_t bytes) { return cuMemHostAlloc(result, bytes, 0); }

KAAS_EXPORT cuMemFreeHost(void* start) {
    return guarded([&] {
        Context& context = Context::current();
        refuse_while_capturing(context);
        context.synchronise();
        context.check();
        context.host_memory.release(start);
    });
}

KAAS_EXPORT cuMemHostRegister_v2(void* start, std::size_t bytes, unsigned flags) {
    return guarded([&] {
        Context& context = Context::current();
        require(flags <= 15);
        refuse_while_capturing(context);
        require(!(flags & host_io_memory), not_supported);
        context.host_memory.enrol(start, bytes, flags | host_device_map);
    });
}

KAAS_EXPORT cuMemHostUnregister(void* start) {
    return guarded([&] {
        Context& context = Context::current();
        refuse_while_capturing(context);
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
