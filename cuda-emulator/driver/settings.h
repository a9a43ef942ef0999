// What the environment says about the emulated devices, read once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "inject.h"

namespace kaas {

struct Settings {
    int devices;                // KAAS_EMULATOR_DEVICES, 1
    std::size_t memory_bytes;   // KAAS_EMULATOR_MEMORY per device, 2G; suffixes K, M, G are powers of 1024
    std::string name;           // KAAS_EMULATOR_NAME, "KaaS Emulated Device"
    int capability_major;       // KAAS_EMULATOR_COMPUTE_CAPABILITY, 9.0
    int capability_minor;
    std::int64_t watchdog_ns;   // KAAS_EMULATOR_WATCHDOG_MS: a launch that runs longer ends with error 702; 0: never
    Delays delays;              // KAAS_EMULATOR_DELAYS
    std::unique_ptr<Faults> faults;  // KAAS_EMULATOR_FAULTS; null: none
    bool checked;                    // KAAS_EMULATOR_CHECKED: device memory is checked byte by byte
    unsigned workers;           // KAAS_EMULATOR_WORKERS per device, as many as this process has processors
};

// Throws Error(invalid_value) where a variable cannot be read, after reporting which.
Settings read_settings();

}  // namespace kaas
