#include "host_memory.h"

#include <sys/mman.h>

#include <iterator>
#include <vector>

#include "error.h"

namespace kaas {
namespace {

constexpr std::size_t page = 4096;

std::uintptr_t number(const void* address) { return reinterpret_cast<std::uintptr_t>(address); }

bool is_mapped(std::uintptr_t start, std::size_t bytes) {
    const std::uintptr_t first = start / page * page;
    const std::size_t length = start + bytes - first;
    std::vector<unsigned char> residency((length + page - 1) / page);
    return mincore(reinterpret_cast<void*>(first), length, residency.data()) == 0;
}

}  // namespace

HostMemory::~HostMemory() {
    for (const auto& [start, range] : ranges_)
        if (range.allocated) munmap(reinterpret_cast<void*>(start), range.bytes);
}

HostMemory::Ranges::const_iterator HostMemory::holder(std::uintptr_t address) const {
    auto after = ranges_.upper_bound(address);
    if (after == ranges_.begin()) return ranges_.end();
    --after;
    return address - after->first < after->second.bytes ? after : ranges_.end();
}

void* HostMemory::allocate(std::size_t bytes, unsigned flags) {
    require(bytes != 0);
    void* start = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) throw Error(out_of_memory);
    std::lock_guard lock(mutex_);
    ranges_[number(start)] = {bytes, flags, true};
    return start;
}

void HostMemory::release(void* start) {
    std::lock_guard lock(mutex_);
    auto found = ranges_.find(number(start));
    require(found != ranges_.end() && found->second.allocated);
    munmap(start, found->second.bytes);
    ranges_.erase(found);
}

void HostMemory::enrol(void* start, std::size_t bytes, unsigned flags) {
    require(start && bytes);
    require(is_mapped(number(start), bytes));
    std::lock_guard lock(mutex_);
    auto after = ranges_.lower_bound(number(start) + bytes);
    if (after != ranges_.begin()) {
        auto before = std::prev(after);
        require(before->first + before->second.bytes <= number(start), host_memory_already_registered);
    }
    ranges_[number(start)] = {bytes, flags, false};
}

void HostMemory::withdraw(void* start) {
    std::lock_guard lock(mutex_);
    auto found = ranges_.find(number(start));
    require(found != ranges_.end() && !found->second.allocated, host_memory_not_registered);
    ranges_.erase(found);
}

bool HostMemory::contains(const void* start, std::size_t bytes) const {
    std::lock_guard lock(mutex_);
    auto found = holder(number(start));
    return found != ranges_.end() && bytes <= found->second.bytes - (number(start) - found->first);
}

HostMemory::Range HostMemory::find(const void* address) const {
    std::lock_guard lock(mutex_);
    auto found = holder(number(address));
    require(found != ranges_.end());
    return found->second;
}

}  // namespace kaas
