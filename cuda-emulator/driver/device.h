// The emulated devices of this process.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "engine.h"
#include "memory.h"
#include "settings.h"

namespace kaas {

class Device {
public:
    Device(int ordinal, const Settings& settings);

    // Value of a CU_DEVICE_ATTRIBUTE; 0 for what an emulated device does not have. Throws Error(invalid_value).
    int attribute(int number) const;
    Uuid uuid() const;
    // Most bytes of shared memory a block may have, without and with the kernel's consent.
    static constexpr unsigned shared_bytes_default = 48u << 10;
    unsigned shared_bytes_most() const;
    unsigned workers() const { return settings_.workers; }
    const Settings& settings() const { return settings_; }

    // Breaks the device: every context on it fails with CUDA_ERROR_UNKNOWN, what drivers answer once a GPU has fallen
    // off the bus, and none can be made.
    void lose();
    bool lost() const { return lost_.load(std::memory_order_acquire); }

    const int ordinal;
    const std::string name;
    const int capability_major, capability_minor;
    DeviceMemory memory;
    Engine engine;

    // The primary context and how often it is retained.
    std::mutex primary_mutex;
    Context* primary = nullptr;
    unsigned primary_count = 0;
    unsigned primary_flags = 0;

private:
    const Settings& settings_;
    std::atomic<bool> lost_{false};
};

// All devices; throws Error(not_initialized) before initialise().
std::vector<std::unique_ptr<Device>>& devices();
// Throws Error(invalid_device).
Device& device(DeviceOrdinal ordinal);
// Reads the environment and makes the devices, once. Throws Error(no_device) where there are to be none.
void initialise();

}  // namespace kaas
