// One kernel launch: what to run, with which arguments, over which blocks.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "inject.h"
#include "kaas_emulator_abi.h"
#include "types.h"

namespace kaas {

class Image;

struct Launch {
    std::shared_ptr<const Image> image;  // keeps the code loaded
    const kaas_abi::Kernel* kernel;
    kaas_abi::Dim grid, block;
    unsigned dynamic_shared_bytes;
    std::vector<char> arguments;

    std::uint64_t blocks = 0;                 // in the whole grid
    std::uint64_t chunk = 1;                  // blocks that a worker takes at once
    std::atomic<std::uint64_t> taken{0};      // may run past `blocks`
    std::atomic<std::uint64_t> finished{0};
    Faults::LaunchPlan plan{};                // what the environment wants to happen to it
    std::atomic<std::int64_t> started_ns{0};  // monotonic; 0: not yet
    std::atomic<bool> overdue{false};         // the watchdog wants it to end

    kaas_abi::Dim block_index(std::uint64_t linear) const {
        const std::uint64_t row = linear / grid.x;
        return {static_cast<unsigned>(linear % grid.x), static_cast<unsigned>(row % grid.y),
                static_cast<unsigned>(row / grid.y)};
    }
};

}  // namespace kaas
