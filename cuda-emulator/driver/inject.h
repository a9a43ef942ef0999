// Faults and delays that the environment asks for, so that what depends on the device can be tested against them.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace kaas {

enum class Direction : unsigned { none, to_device, to_host, on_device };

// KAAS_EMULATOR_DELAYS: nanoseconds that things take longer.
struct Delays {
    std::int64_t context = 0, module = 0, launch = 0;
    struct Copies {
        std::int64_t each = 0;
        std::size_t bytes_per_second = 0;  // 0: no limit
    };
    Copies to_device, to_host;

    static Delays read();
    std::int64_t copy(Direction direction, std::size_t bytes) const;
};

// KAAS_EMULATOR_FAULTS: which operations go wrong. Each rule counts, in the order of the calls, the operations of its
// kind in this process; what it decides for the nth depends on nothing else.
class Faults {
public:
    // Null where none is asked for.
    static std::unique_ptr<Faults> read();

    enum class Launch { none, faults, hangs, loses_device };
    struct LaunchPlan {
        Launch kind = Launch::none;
        std::int64_t delay_ns = 0;
    };
    struct CopyPlan {
        bool loses_device = false;
        std::int64_t delay_ns = 0;  // `for_ever` where it never ends
    };
    static constexpr std::int64_t for_ever = INT64_MAX / 4;

    // Each counts one operation.
    enum class Allocation { none, fails, loses_device };
    Allocation next_allocation();
    LaunchPlan next_launch();
    CopyPlan next_copy();

private:
    enum class Kind { allocation_fails, launch_faults, launch_hangs, launch_slow, copy_stalls, device_lost };

    struct Rule {
        Kind kind;
        std::uint64_t nth = 0, times = 1, every = 0, seed = 0;
        double probability = 0;
        std::int64_t delay_ns = 0;
        std::atomic<std::uint64_t> counted{0};

        bool next();
    };
    bool next(Kind kind, std::int64_t* delay_ns = nullptr);

    std::vector<std::unique_ptr<Rule>> rules_;
};

}  // namespace kaas
