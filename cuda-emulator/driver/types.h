// The parts of the CUDA driver API's binary interface that the emulator answers, under names of its own.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kaas {

enum Result : int {
    success = 0,
    invalid_value = 1,
    out_of_memory = 2,
    not_initialized = 3,
    deinitialized = 4,
    no_device = 100,
    invalid_device = 101,
    invalid_image = 200,
    invalid_context = 201,
    no_binary_for_gpu = 209,
    invalid_ptx = 218,
    file_not_found = 301,
    invalid_handle = 400,
    illegal_state = 401,
    not_found = 500,
    not_ready = 600,
    illegal_address = 700,
    launch_out_of_resources = 701,
    launch_timeout = 702,
    primary_context_active = 708,
    context_is_destroyed = 709,
    assertion_failed = 710,
    host_memory_already_registered = 712,
    host_memory_not_registered = 713,
    hardware_stack_error = 714,
    misaligned_address = 716,
    launch_failed = 719,
    not_supported = 801,
    capture_unsupported = 900,
    capture_invalidated = 901,
    capture_merge = 902,
    capture_unmatched = 903,
    capture_unjoined = 904,
    capture_isolation = 905,
    capture_implicit = 906,
    captured_event = 907,
    capture_wrong_thread = 908,
    exec_update_failure = 910,
    unknown_error = 999,
};

using DevicePointer = std::uint64_t;
using DeviceOrdinal = int;

struct Uuid {
    char bytes[16];
};

enum StreamFlag : unsigned { stream_non_blocking = 1 };
enum EventRecordFlag : unsigned { record_external = 1 };
enum EventWaitFlag : unsigned { wait_external = 1 };
enum EventFlag : unsigned { event_blocking_sync = 1, event_disable_timing = 2, event_interprocess = 4 };
enum HostFlag : unsigned { host_portable = 1, host_device_map = 2, host_write_combined = 4, host_io_memory = 4, host_read_only = 8 };

// Two of the stream handles are not handles but numbers.
constexpr std::uintptr_t legacy_stream_handle = 1;
constexpr std::uintptr_t per_thread_stream_handle = 2;

// Markers in the `extra` argument of a launch.
constexpr std::uintptr_t launch_extra_end = 0;
constexpr std::uintptr_t launch_extra_pointer = 1;
constexpr std::uintptr_t launch_extra_size = 2;

// A rectangle of a two-dimensional copy (CUDA_MEMCPY2D).
struct Copy2D {
    std::size_t source_x, source_y;
    int source_kind;
    const void* source_host;
    DevicePointer source_device;
    void* source_array;
    std::size_t source_pitch;
    std::size_t target_x, target_y;
    int target_kind;
    void* target_host;
    DevicePointer target_device;
    void* target_array;
    std::size_t target_pitch;
    std::size_t width_bytes, height;
};

// A box of a three-dimensional copy (CUDA_MEMCPY3D).
struct Copy3D {
    std::size_t source_x, source_y, source_z, source_level;
    int source_kind;
    const void* source_host;
    DevicePointer source_device;
    void* source_array;
    void* reserved_source;
    std::size_t source_pitch, source_height;
    std::size_t target_x, target_y, target_z, target_level;
    int target_kind;
    void* target_host;
    DevicePointer target_device;
    void* target_array;
    void* reserved_target;
    std::size_t target_pitch, target_height;
    std::size_t width_bytes, height, depth;
};
static_assert(sizeof(Copy3D) == 200);

// Rows of equal elements (CUDA_MEMSET_NODE_PARAMS).
struct MemorySet {
    DevicePointer target;
    std::size_t pitch;
    unsigned value, element_bytes;
    std::size_t width, height;  // elements, rows
};

enum MemoryKind : int { memory_host = 1, memory_device = 2, memory_array = 3, memory_unified = 4 };

}  // namespace kaas
