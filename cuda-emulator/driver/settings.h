// What the environment says about the emulated devices, read once.
#pragma once

#include <cstddef>
#include <string>

namespace kaas {

struct Settings {
    int devices;                // KAAS_EMULATOR_DEVICES, 1
    std::size_t memory_bytes;   // KAAS_EMULATOR_MEMORY per device, 2G; suffixes K, M, G are powers of 1024
    std::string name;           // KAAS_EMULATOR_NAME, "KaaS Emulated Device"
    int capability_major;       // KAAS_EMULATOR_COMPUTE_CAPABILITY, 9.0
    int capability_minor;
    unsigned workers;           // KAAS_EMULATOR_WORKERS per device, as many as this process has processors
};

// Throws Error(invalid_value) where a variable cannot be read, after reporting which.
Settings read_settings();

}  // namespace kaas
