// Host memory that the device may use while the caller goes on: allocated here, or registered.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>

#include "types.h"

namespace kaas {

class HostMemory {
public:
    struct Range {
        std::size_t bytes;
        unsigned flags;
        bool allocated;  // by allocate(), rather than registered
    };

    HostMemory() = default;
    HostMemory(const HostMemory&) = delete;
    ~HostMemory();

    void* allocate(std::size_t bytes, unsigned flags);
    void release(void* start);
    // Throws Error: host_memory_already_registered where a part of the range is known, invalid_value where a part of it
    // is not mapped.
    void enrol(void* start, std::size_t bytes, unsigned flags);
    void withdraw(void* start);

    bool contains(const void* start, std::size_t bytes) const;
    // The range that holds this address; throws Error(invalid_value).
    Range find(const void* address) const;

private:
    using Ranges = std::map<std::uintptr_t, Range>;
    Ranges::const_iterator holder(std::uintptr_t address) const;

    mutable std::mutex mutex_;
    Ranges ranges_;
};

}  // namespace kaas
