#include "device.h"

#include <cstring>

#include "context.h"
#include "error.h"
#include "handles.h"

namespace kaas {
namespace {

// Numbers of CUdevice_attribute.
enum Attribute : int {
    max_threads_per_block = 1,
    max_block_x = 2,
    max_block_y = 3,
    max_block_z = 4,
    max_grid_x = 5,
    max_grid_y = 6,
    max_grid_z = 7,
    max_shared_per_block = 8,
    total_constant_memory = 9,
    warp_size = 10,
    max_pitch = 11,
    max_registers_per_block = 12,
    clock_rate_khz = 13,
    texture_alignment = 14,
    gpu_overlap = 15,
    multiprocessor_count = 16,
    can_map_host_memory = 19,
    concurrent_kernels = 31,
    pci_bus_id = 33,
    memory_clock_rate_khz = 36,
    memory_bus_width = 37,
    l2_cache_bytes = 38,
    max_threads_per_multiprocessor = 39,
    async_engine_count = 40,
    unified_addressing = 41,
    capability_major_number = 75,
    capability_minor_number = 76,
    max_shared_per_multiprocessor = 81,
    max_registers_per_multiprocessor = 82,
    can_use_host_pointer = 91,
    max_shared_per_block_optin = 97,
    host_register_supported = 99,
    max_blocks_per_multiprocessor = 106,
    read_only_host_register_supported = 113,
    last_attribute = 140,
};

std::vector<std::unique_ptr<Device>>* all_devices = nullptr;

}  // namespace

Device::Device(int ordinal, const Settings& settings)
    : ordinal(ordinal),
      name(settings.name),
      capability_major(settings.capability_major),
      capability_minor(settings.capability_minor),
      memory(settings.memory_bytes, settings.checked),
      engine(settings),
      settings_(settings) {}

unsigned Device::shared_bytes_most() const {
    // CUDA C++ Programming Guide, table of technical specifications per compute capability.
    switch (capability_major * 10 + capability_minor) {
        case 70: case 72: return 96u << 10;
        case 75: return 64u << 10;
        case 80: case 87: return 163u << 10;
        case 86: case 89: case 120: return 99u << 10;
        default: return capability_major >= 9 ? 227u << 10 : shared_bytes_default;
    }
}

int Device::attribute(int number) const {
    switch (number) {
        case max_threads_per_block: return 1024;
        case max_block_x: case max_block_y: return 1024;
        case max_block_z: return 64;
        case max_grid_x: return 0x7fffffff;
        case max_grid_y: case max_grid_z: return 65535;
        case max_shared_per_block: return static_cast<int>(shared_bytes_default);
        case total_constant_memory: return 64 << 10;
        case warp_size: return kaas_abi::warp_size;
        case max_pitch: return 0x7fffffff;
        case max_registers_per_block: case max_registers_per_multiprocessor: return 64 << 10;
        case clock_rate_khz: case memory_clock_rate_khz: return 1'000'000;
        case texture_alignment: return 512;
        case gpu_overlap: return 1;
        case multiprocessor_count: return static_cast<int>(workers());
        case can_map_host_memory: return 1;
        case concurrent_kernels: return 1;
        case pci_bus_id: return ordinal + 1;
        case memory_bus_width: return 64;
        case l2_cache_bytes: return 1 << 20;
        case max_threads_per_multiprocessor: return 1024;  // a worker runs one block at a time
        case max_blocks_per_multiprocessor: return 1;
        case async_engine_count: return 1;
        case unified_addressing: return 1;
        case capability_major_number: return capability_major;
        case capability_minor_number: return capability_minor;
        case max_shared_per_multiprocessor: case max_shared_per_block_optin: return static_cast<int>(shared_bytes_most());
        case can_use_host_pointer: return 1;
        case host_register_supported: case read_only_host_register_supported: return 1;
        default:
            require(number > 0 && number <= last_attribute);
            return 0;
    }
}

void Device::lose() {
    lost_.store(true, std::memory_order_release);
    Handles<Context>::for_each([&](Context& context) {
        if (&context.device == this) context.fail(unknown_error, "the device is lost, as KAAS_EMULATOR_FAULTS asks for");
    });
}

Uuid Device::uuid() const {
    Uuid uuid{};
    std::memcpy(uuid.bytes, "kaas-emulator", 13);
    uuid.bytes[15] = static_cast<char>(ordinal);
    return uuid;
}

std::vector<std::unique_ptr<Device>>& devices() {
    require(all_devices != nullptr, not_initialized);
    return *all_devices;
}

Device& device(DeviceOrdinal ordinal) {
    auto& all = devices();
    require(ordinal >= 0 && static_cast<std::size_t>(ordinal) < all.size(), invalid_device);
    return *all[static_cast<std::size_t>(ordinal)];
}

void initialise() {
    static auto* mutex = new std::mutex;
    std::lock_guard lock(*mutex);
    if (all_devices) return;
    static const auto* settings = new Settings(read_settings());
    require(settings->devices > 0, no_device);
    // Never destroyed: worker threads outlive static destructors.
    auto* made = new std::vector<std::unique_ptr<Device>>;
    for (int ordinal = 0; ordinal < settings->devices; ++ordinal)
        made->push_back(std::make_unique<Device>(ordinal, *settings));
    all_devices = made;
}

}  // namespace kaas
