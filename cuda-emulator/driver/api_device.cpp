// Exported functions: initialisation, versions, errors, devices.
#include <cstdio>
#include <cstring>

#include "api.h"

using namespace kaas;

namespace {

// The driver API version that the emulator follows: CUDA 12.4.
constexpr int driver_version = 12040;

}  // namespace

// What a process can ask to be sure that this is the emulator and no real driver.
KAAS_EXPORT kaas_emulator_version() { return static_cast<int>(kaas_abi::version); }

KAAS_EXPORT cuInit(unsigned flags) {
    return guarded([&] {
        require(flags == 0);
        initialise();
    });
}

KAAS_EXPORT cuDriverGetVersion(int* version) {
    return guarded([&] {
        require(version);
        *version = driver_version;
    });
}

// These two answer in a forked child as well: whoever was refused there asks why.
KAAS_EXPORT cuGetErrorName(int error, const char** name) {
    if (!name) return invalid_value;
    *name = error_name(error);
    return *name ? success : invalid_value;
}

KAAS_EXPORT cuGetErrorString(int error, const char** text) {
    if (!text) return invalid_value;
    *text = error_text(error);
    return *text ? success : invalid_value;
}

KAAS_EXPORT cuDeviceGetCount(int* count) {
    return guarded([&] {
        require(count);
        *count = static_cast<int>(devices().size());
    });
}

KAAS_EXPORT cuDeviceGet(DeviceOrdinal* result, int ordinal) {
    return guarded([&] {
        require(result);
        *result = device(ordinal).ordinal;
    });
}

KAAS_EXPORT cuDeviceGetName(char* name, int length, DeviceOrdinal ordinal) {
    return guarded([&] {
        require(name && length > 0);
        std::snprintf(name, static_cast<std::size_t>(length), "%s", device(ordinal).name.c_str());
    });
}

KAAS_EXPORT cuDeviceGetUuid(Uuid* uuid, DeviceOrdinal ordinal) {
    return guarded([&] {
        require(uuid);
        *uuid = device(ordinal).uuid();
    });
}

KAAS_EXPORT cuDeviceGetUuid_v2(Uuid* uuid, DeviceOrdinal ordinal) { return cuDeviceGetUuid(uuid, ordinal); }

KAAS_EXPORT cuDeviceTotalMem_v2(std::size_t* bytes, DeviceOrdinal ordinal) {
    return guarded([&] {
        require(bytes);
        *bytes = device(ordinal).memory.capacity();
    });
}

KAAS_EXPORT cuDeviceGetAttribute(int* value, int attribute, DeviceOrdinal ordinal) {
    return guarded([&] {
        require(value);
        *value = device(ordinal).attribute(attribute);
    });
}

KAAS_EXPORT cuDeviceComputeCapability(int* major, int* minor, DeviceOrdinal ordinal) {
    return guarded([&] {
        require(major && minor);
        *major = device(ordinal).capability_major;
        *minor = device(ordinal).capability_minor;
    });
}

KAAS_EXPORT cuDeviceGetPCIBusId(char* text, int length, DeviceOrdinal ordinal) {
    return guarded([&] {
        require(text && length > 12);
        std::snprintf(text, static_cast<std::size_t>(length), "0000:%02X:00.0", device(ordinal).ordinal + 1);
    });
}

KAAS_EXPORT cuDeviceGetByPCIBusId(DeviceOrdinal* result, const char* text) {
    return guarded([&] {
        require(result && text);
        unsigned domain, bus, slot, function;
        require(std::sscanf(text, "%x:%x:%x.%x", &domain, &bus, &slot, &function) == 4);
        require(domain == 0 && slot == 0 && function == 0 && bus > 0, invalid_device);
        *result = device(static_cast<int>(bus) - 1).ordinal;
    });
}

KAAS_EXPORT cuDeviceCanAccessPeer(int* can, DeviceOrdinal first, DeviceOrdinal second) {
    return guarded([&] {
        require(can);
        device(first);
        device(second);
        *can = 0;
    });
}

// There is no profiler to start.
KAAS_EXPORT cuProfilerStart() { return guarded([] { Context::current(); }); }
KAAS_EXPORT cuProfilerStop() { return guarded([] { Context::current(); }); }
