#include "memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <iterator>

#include "error.h"

namespace kaas {
namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t huge_page = std::size_t{2} << 20;
// From here on a span starts at a huge page's boundary: fewer page faults. Below it that would waste addresses only.
constexpr std::size_t huge_from = 2 * huge_page;
// Freed allocations whose addresses stay out of use, so that whoever still uses one is told so.
constexpr std::size_t most_freed_known = 256;
// Bytes that one byte of `accessible_` is about.
constexpr std::size_t granule = 8;

std::size_t round_up(std::size_t value, std::size_t unit) { return (value + unit - 1) / unit * unit; }

std::string count(std::size_t bytes) { return std::to_string(bytes) + (bytes == 1 ? " byte" : " bytes"); }

std::string sized(const DeviceMemory::Allocation& allocation) {
    const std::string what = allocation.name.empty() ? "a buffer" : "buffer " + allocation.name;
    return what + " of " + count(allocation.bytes);
}

// Whether all of an access is past an end, from `inside` bytes of it on, or part of it.
std::string past_end(std::size_t inside, std::size_t bytes, const std::string& buffer) {
    if (bytes == 0 || inside == 0) return "just past the end of " + buffer;
    return std::to_string(bytes - inside) + " of them past the end of " + buffer;
}

}  // namespace

DeviceMemory::DeviceMemory(std::size_t capacity, bool checked) : capacity_(capacity) {
    // Addresses cost nothing, and many of them make reuse late and fragmentation harmless; a process with a limit on
    // its address space gets fewer.
    const std::size_t least = round_up(capacity + capacity / 4, huge_page) + (std::size_t{64} << 20);
    for (reserved_ = 4 * least; reserved_ >= least; reserved_ /= 2) {
        void* range = mmap(nullptr, reserved_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (range == MAP_FAILED) continue;
        base_ = reinterpret_cast<std::uintptr_t>(range);
        free_.emplace(base_ + page, reserved_ - page);
        search_from_ = base_;
        break;
    }
    if (base_ && checked) {
        void* map = mmap(nullptr, reserved_ / granule, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (map != MAP_FAILED) accessible_ = static_cast<unsigned char*>(map);
    }
    if (base_ && (accessible_ || !checked)) return;
    report("cannot reserve %zu bytes of addresses for the device's memory: %s", least, std::strerror(errno));
    throw Error(out_of_memory);
}

// A span of `bytes` with at least one inaccessible page behind it; 0 where none is free.
std::uintptr_t DeviceMemory::take_span(std::size_t bytes, std::size_t alignment) {
    auto fits = [&](auto candidate) -> std::uintptr_t {
        std::uintptr_t start = round_up(candidate->first, alignment);
        return start + bytes + page <= candidate->first + candidate->second ? start : 0;
    };
    std::uintptr_t start = 0;
    auto search = [&](auto from, auto to) {
        while (from != to && !(start = fits(from))) ++from;
        return from;
    };
    auto first = free_.lower_bound(search_from_);
    auto candidate = search(first, free_.end());
    if (!start) candidate = search(free_.begin(), first);
    if (!start) return 0;

    const std::uintptr_t span_start = candidate->first, span_end = span_start + candidate->second;
    free_.erase(candidate);
    if (start > span_start) free_.emplace(span_start, start - span_start);
    const std::uintptr_t rest = start + bytes + page;
    if (rest < span_end) free_.emplace(rest, span_end - rest);
    search_from_ = rest;
    return start;
}

void DeviceMemory::give_span(std::uintptr_t start, std::size_t bytes) {
    bytes += page;
    auto after = free_.lower_bound(start);
    if (after != free_.end() && after->first == start + bytes) {
        bytes += after->second;
        after = free_.erase(after);
    }
    if (after != free_.begin()) {
        auto before = std::prev(after);
        if (before->first + before->second == start) {
            before->second += bytes;
            return;
        }
    }
    free_.emplace(start, bytes);
}

DevicePointer DeviceMemory::allocate(std::size_t bytes, const Context* owner) {
    require(bytes != 0);
    std::lock_guard lock(mutex_);
    if (bytes > capacity_) throw Error(out_of_memory);
    const std::size_t accounted = round_up(bytes, granularity);
    if (accounted > capacity_ - used_) throw Error(out_of_memory);

    const std::size_t span_bytes = round_up(accounted, page);
    const bool huge = span_bytes >= huge_from;
    std::uintptr_t span;
    while (!(span = take_span(span_bytes, huge ? huge_page : page))) {
        require(!freed_.empty(), out_of_memory);
        forget_oldest_freed();
    }
    if (mprotect(reinterpret_cast<void*>(span), span_bytes, PROT_READ | PROT_WRITE) != 0) {
        report("cannot map %zu bytes with %zu allocations alive: %s", span_bytes, live_.size(), std::strerror(errno));
        give_span(span, span_bytes);
        throw Error(out_of_memory);
    }
    if (huge) madvise(reinterpret_cast<void*>(span), span_bytes, MADV_HUGEPAGE);
    // Against the end of its pages, so that the first 256 bytes beyond it already fault.
    const std::uintptr_t start = span + span_bytes - accounted;
    const auto made = live_.emplace(start, Allocation{start, bytes, accounted, span, span_bytes, owner}).first;
    used_ += accounted;
    if (accessible_) make_accessible(made->second);
    return start;
}

void DeviceMemory::unmap(const Allocation& allocation) {
    // Mapping anew over the span drops its pages and its access in one call.
    mmap(reinterpret_cast<void*>(allocation.span), allocation.span_bytes, PROT_NONE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (accessible_) make_inaccessible(allocation);
    used_ -= allocation.accounted;
    freed_.push_front(allocation);
    if (freed_.size() > most_freed_known) forget_oldest_freed();
}

void DeviceMemory::forget_oldest_freed() {
    give_span(freed_.back().span, freed_.back().span_bytes);
    freed_.pop_back();
}

void DeviceMemory::make_accessible(const Allocation& allocation) {
    unsigned char* first = accessible_ + (allocation.start - base_) / granule;
    std::memset(first, granule, allocation.bytes / granule);
    if (allocation.bytes % granule) first[allocation.bytes / granule] = allocation.bytes % granule;
    std::memset(reinterpret_cast<void*>(allocation.start), poison, allocation.bytes);
}

void DeviceMemory::make_inaccessible(const Allocation& allocation) {
    const auto first = reinterpret_cast<std::uintptr_t>(accessible_) + (allocation.start - base_) / granule;
    const std::uintptr_t end = first + allocation.accounted / granule;
    std::memset(reinterpret_cast<void*>(first), 0, end - first);
    // Whole pages of zeros need not stay in memory.
    const std::uintptr_t first_page = round_up(first, page), end_page = end / page * page;
    if (first_page < end_page) madvise(reinterpret_cast<void*>(first_page), end_page - first_page, MADV_DONTNEED);
}

kaas_abi::DeviceMemory DeviceMemory::checks() const {
    return accessible_ ? kaas_abi::DeviceMemory{base_, reserved_, accessible_} : kaas_abi::DeviceMemory{};
}

void DeviceMemory::release(DevicePointer address) {
    std::lock_guard lock(mutex_);
    auto found = live_.find(address);
    require(found != live_.end());
    unmap(found->second);
    live_.erase(found);
}

void DeviceMemory::release_all_of(const Context* owner) {
    std::lock_guard lock(mutex_);
    std::erase_if(live_, [&](const auto& entry) {
        if (entry.second.owner != owner) return false;
        unmap(entry.second);
        return true;
    });
}

void DeviceMemory::rename(DevicePointer address, const std::string& name) {
    const Allocation allocation = find(address);
    std::lock_guard lock(mutex_);
    if (auto found = live_.find(allocation.start); found != live_.end()) found->second.name = name;
}

bool DeviceMemory::contains(DevicePointer address, std::size_t bytes) const {
    std::lock_guard lock(mutex_);
    auto after = live_.upper_bound(address);
    if (after == live_.begin()) return false;
    const Allocation& allocation = std::prev(after)->second;
    const std::size_t offset = address - allocation.start;
    return offset <= allocation.bytes && bytes <= allocation.bytes - offset;
}

DeviceMemory::Allocation DeviceMemory::find(DevicePointer address) const {
    std::lock_guard lock(mutex_);
    auto after = live_.upper_bound(address);
    require(after != live_.begin());
    const Allocation& allocation = std::prev(after)->second;
    require(address - allocation.start < allocation.bytes);
    return allocation;
}

std::string DeviceMemory::describe(DevicePointer address, std::size_t bytes) const {
    std::lock_guard lock(mutex_);
    for (const Allocation& allocation : freed_)
        if (address - allocation.start < allocation.bytes)
            return count(address - allocation.start) + " into " + sized(allocation) + " that was freed";
    if (!in_reserved_range(address)) return "where no memory of the device is";
    const auto after = live_.upper_bound(address);
    const bool has_after = after != live_.end(), has_before = after != live_.begin();
    if (!has_after && !has_before) return "where no buffer is";
    const std::uintptr_t ahead = has_after ? after->first - address : ~std::uintptr_t{0};
    if (has_before) {
        const Allocation& before = std::prev(after)->second;
        const std::uintptr_t offset = address - before.start;
        if (offset < before.bytes && bytes <= before.bytes - offset)
            return count(offset) + " into " + sized(before);
        if (offset <= before.bytes) return past_end(before.bytes - offset, bytes, sized(before));
        const std::uintptr_t past = offset - before.bytes;
        if (past <= ahead) return count(past) + " past the end of " + sized(before);
    }
    return count(ahead) + " before the start of " + sized(after->second);
}

bool DeviceMemory::in_reserved_range(DevicePointer address) const { return address - base_ < reserved_; }

std::size_t DeviceMemory::used() const {
    std::lock_guard lock(mutex_);
    return used_;
}

}  // namespace kaas
