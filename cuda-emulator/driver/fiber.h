// Fibres: stacks that one thread switches between.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kaas_emulator_abi.h"

namespace kaas {

// A suspended flow of control is the stack pointer under which its registers lie.
using StackPointer = void*;

extern "C" {
// Suspends the running flow into `*from` and goes on with `to`.
void kaas_fiber_switch(StackPointer* from, StackPointer to);
// Where a flow goes on once the stack pointer is set; for the signal handler, which abandons the running flow.
void kaas_fiber_resume();
}

// One thread of a block that had to wait, or the loop over those which do not.
struct alignas(64) Fiber {
    StackPointer stack_pointer;
    char* stack_top;
    unsigned thread;        // linear index in the block, once it waits
    bool counted;           // it called the driver, so it is among the block's live threads
    unsigned mask;          // what it waits for in its warp
    unsigned lane;
    kaas_abi::WarpOp op;
    const void* place;      // where the call that it waits in returns to
    std::uint64_t value;
    std::uint64_t result;
};

// The fibres of one worker, made as they are needed and used again for every block.
class FiberPool {
public:
    ~FiberPool();
    // A fibre that will start in `entry`, which must never return; null, after a report, where no stack is to be had.
    Fiber* take(void (*entry)());
    void give(Fiber* fiber) { idle_.push_back(fiber); }
    // Takes all fibres back, whatever they were doing.
    void reset();
    // True where the address lies in a guard page of one of the stacks.
    bool in_guard(std::uintptr_t address) const;

private:
    Fiber* make();  // likewise
    std::vector<std::unique_ptr<Fiber>> all_;
    std::vector<Fiber*> idle_;
    std::vector<char*> mappings_;
};

}  // namespace kaas
