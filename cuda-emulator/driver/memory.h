// The memory of one device: a reserved range of addresses in which every allocation stands between guard pages. Checked
// memory also says of every byte whether it is an allocation's, and new allocations in it are filled with `poison`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>

#include "kaas_emulator_abi.h"
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
        std::string name{};     // for messages; may be empty
    };

    static constexpr std::size_t granularity = 256;
    // As floating-point numbers of any size NaN, as a signed integer -1.
    static constexpr unsigned char poison = 0xff;

    // Reserves addresses only; throws Error(out_of_memory) where even that is refused.
    DeviceMemory(std::size_t capacity, bool checked);

    // Throws Error(out_of_memory) where the capacity would be exceeded.
    DevicePointer allocate(std::size_t bytes, const Context* owner);
    // Throws Error(invalid_value) unless `address` is what allocate() answered and is alive.
    void release(DevicePointer address);
    void release_all_of(const Context* owner);
    // What messages call the allocation that holds this address. Throws Error(invalid_value).
    void rename(DevicePointer address, const std::string& name);

    // True where the whole range lies in one live allocation.
    bool contains(DevicePointer address, std::size_t bytes) const;
    // The live allocation that holds this address; throws Error(invalid_value).
    Allocation find(DevicePointer address) const;
    // Where an access lies that is not in one live allocation: how far from the nearest, or in which freed one. `bytes` is
    // 0 where it is not known.
    std::string describe(DevicePointer address, std::size_t bytes) const;
    // What a checked image compares its accesses with; empty where the memory is not checked.
    kaas_abi::DeviceMemory checks() const;
    bool in_reserved_range(DevicePointer address) const;

    std::size_t capacity() const { return capacity_; }
    std::size_t used() const;

private:
    std::uintptr_t take_span(std::size_t bytes, std::size_t alignment);
    void give_span(std::uintptr_t start, std::size_t bytes);
    void unmap(const Allocation& allocation);
    void forget_oldest_freed();
    void make_accessible(const Allocation& allocation);
    void make_inaccessible(const Allocation& allocation);

    const std::size_t capacity_;
    std::uintptr_t base_ = 0;
    std::size_t reserved_ = 0;
    unsigned char* accessible_ = nullptr;  // as kaas_abi::DeviceMemory has it; null where nothing is checked

    mutable std::mutex mutex_;
    std::size_t used_ = 0;                            // bytes accounted, at most capacity_
    std::map<std::uintptr_t, Allocation> live_;       // by start
    std::map<std::uintptr_t, std::size_t> free_;      // spans without access, by first page; never adjacent
    std::deque<Allocation> freed_;                    // the last ones, the latest first, whose spans are not reused yet
    std::uintptr_t search_from_ = 0;                  // next fit: a freed address is reused as late as possible
};

}  // namespace kaas
