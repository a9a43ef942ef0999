// The memory of one device: a reserved range of addresses in which every allocation stands between guard pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>

#include "types.h"

namespace kaas {

class Context;

class DeviceMemory {
public:
    struct Allocation {
        std::uintptr_t start;   // what the caller sees
        std::size_t bytes;      // as asked for
        std::size_t accounted;  // rounded up to `granularity`
        std::uintptr_t span;    // first page
        std::size_t span_bytes;
        const Context* owner;
    };

    static constexpr std::size_t granularity = 256;

    // Reserves addresses only; throws Error(out_of_memory) where even that is refused.
    explicit DeviceMemory(std::size_t capacity);

    // Throws Error(out_of_memory) where the capacity would be exceeded.
    DevicePointer allocate(std::size_t bytes, const Context* owner);
    // Throws Error(invalid_value) unless `address` is what allocate() answered and is alive.
    void release(DevicePointer address);
    void release_all_of(const Context* owner);

    // True where the whole range lies in one live allocation.
    bool contains(DevicePointer address, std::size_t bytes) const;
    // The live allocation that holds this address; throws Error(invalid_value).
    Allocation find(DevicePointer address) const;
    // Where an address lies that is in no live allocation: how far from the nearest, or in which freed one.
    std::string describe(DevicePointer address) const;
    bool in_reserved_range(DevicePointer address) const;

    std::size_t capacity() const { return capacity_; }
    std::size_t used() const;

private:
    std::uintptr_t take_span(std::size_t bytes, std::size_t alignment);
    void give_span(std::uintptr_t start, std::size_t bytes);
    void unmap(const Allocation& allocation);

    const std::size_t capacity_;
    std::uintptr_t base_ = 0;
    std::size_t reserved_ = 0;

    mutable std::mutex mutex_;
    std::size_t used_ = 0;                            // bytes accounted, at most capacity_
    std::map<std::uintptr_t, Allocation> live_;       // by start
    std::map<std::uintptr_t, std::size_t> free_;      // spans without access, by first page; never adjacent
    std::deque<Allocation> freed_;                    // the last ones, the latest first, for describe()
    std::uintptr_t search_from_ = 0;                  // next fit: a freed address is reused as late as possible
};

}  // namespace kaas
