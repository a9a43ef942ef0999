// Why a block was abandoned, and the sentence that says so.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kaas_emulator_abi.h"
#include "types.h"

namespace kaas {

class Context;
struct Launch;

// Threads that wait at one place for one thing.
struct Waiting {
    const void* place;  // where their call returns to
    bool whole_block;
    kaas_abi::WarpOp op;   // of a warp
    unsigned mask;         // of a warp
    unsigned first, count; // threads
};

// Filled in where the block stops, which may be a signal handler: it must not allocate.
struct Stop {
    enum class Kind {
        none,
        failure,        // the kernel's own: `message`, `file`, `line`
        no_stack,       // for one more thread
        deadlock,       // `waiting`
        foreign_mask,   // of a warp function: `mask`
        access,         // to `address`; `bytes` 0 where not known
        misaligned,     // likewise
        not_an_address, // or not aligned: the processor does not say which address
        stack_overflow,
        arithmetic,
        instruction,
        timeout,
    };

    Kind kind = Kind::none;
    Result code = success;
    kaas_abi::Dim block{};
    int thread = -1;                // linear index, where it is known
    const void* place = nullptr;    // in the code, where it is known
    std::uintptr_t address = 0;
    std::size_t bytes = 0;
    bool write = false;
    unsigned mask = 0;
    const char* message = nullptr;
    const char* file = nullptr;
    unsigned line = 0;
    std::uintptr_t shared = 0;      // the block's dynamic shared memory
    std::size_t shared_bytes = 0;
    std::vector<Waiting> waiting;   // filled in after the block has stopped
};

// One sentence: kernel, line, what happened, block and thread.
std::string explain(const Stop& stop, const Launch& launch, const Context& context);

}  // namespace kaas
