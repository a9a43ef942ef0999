#include "fiber.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "error.h"

namespace kaas {
namespace {

// Addresses per stack. CUDA gives a thread 1 KiB unless told otherwise, so this is ample, and only touched pages cost.
constexpr std::size_t stack_bytes = std::size_t{128} << 10;
// Wide, so that a large local array cannot reach over it without touching it.
constexpr std::size_t guard_bytes = std::size_t{64} << 10;
constexpr std::size_t stride = guard_bytes + stack_bytes;
// Stacks are made in groups: one mapping call for 32 of them.
constexpr std::size_t group = kaas_abi::warp_size;

}  // namespace

asm(R"(
    .text
    .p2align 4
    .globl kaas_fiber_switch
    .hidden kaas_fiber_switch
    .type kaas_fiber_switch, @function
kaas_fiber_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    .globl kaas_fiber_resume
    .hidden kaas_fiber_resume
kaas_fiber_resume:
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size kaas_fiber_switch, .-kaas_fiber_switch
)");

FiberPool::~FiberPool() {
    for (char* mapping : mappings_) munmap(mapping, group * stride);
}

Fiber* FiberPool::make() {
    const std::size_t index = all_.size() % group;
    if (index == 0) {
        void* range = mmap(nullptr, group * stride, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (range == MAP_FAILED) {
            report("cannot map stacks for %zu fibres: %s", all_.size() + group, std::strerror(errno));
            return nullptr;
        }
        mappings_.push_back(static_cast<char*>(range));
    }
    char* stack = mappings_.back() + index * stride + guard_bytes;
    if (mprotect(stack, stack_bytes, PROT_READ | PROT_WRITE) != 0) {
        report("cannot map the stack of fibre %zu: %s", all_.size(), std::strerror(errno));
        return nullptr;
    }
    auto fiber = std::make_unique<Fiber>();
    // Staggered by cache lines: stacks that start at the same offset of a page would compete for one cache set.
    fiber->stack_top = stack + stack_bytes - all_.size() * 7 % 63 * 64;
    all_.push_back(std::move(fiber));
    return all_.back().get();
}

Fiber* FiberPool::take(void (*entry)()) {
    Fiber* fiber;
    if (idle_.empty()) {
        fiber = make();
        if (!fiber) return nullptr;
    } else {
        fiber = idle_.back();
        idle_.pop_back();
    }
    fiber->counted = false;
    // Six registers, the address to start at, and a return address that is never used; the stack is then aligned as
    // after a call.
    auto** top = reinterpret_cast<void**>(fiber->stack_top);
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(entry);
    for (int registers = 0; registers < 6; ++registers) *--top = nullptr;
    fiber->stack_pointer = top;
    return fiber;
}

void FiberPool::reset() {
    idle_.clear();
    for (auto fiber = all_.rbegin(); fiber != all_.rend(); ++fiber) idle_.push_back(fiber->get());
}

bool FiberPool::in_guard(std::uintptr_t address) const {
    for (char* mapping : mappings_) {
        const std::uintptr_t offset = address - reinterpret_cast<std::uintptr_t>(mapping);
        if (offset < group * stride) return offset % stride < guard_bytes;
    }
    return false;
}

}  // namespace kaas
