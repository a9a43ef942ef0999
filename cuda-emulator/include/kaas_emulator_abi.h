// What a compiled image and the emulated driver agree on. Both are built from this one header.
//
// An image is an ELF shared object that exports one `kaas_abi::Image` under the symbol `kaas_emulator_image`.
// The driver runs a block by calling `Kernel::run` on a fibre of a worker thread. A kernel that never waits runs
// all its threads as loops inside that one call. A thread that must wait for others calls back through `Runtime`;
// the driver then suspends the fibre and starts the remaining threads, from `Block::cursor` on, by calling
// `Kernel::run` again on another fibre. So whether a kernel needs fibres is found out while it runs, per block.
#pragma once

#include <stdint.h>

namespace kaas_abi {

constexpr uint64_t image_magic = 0x31474d495341414bULL;  // "KAASIMG1" in memory
constexpr uint32_t version = 6;                          // raised with every change of this header
constexpr unsigned warp_size = 32;
constexpr unsigned most_threads = 0x7ffffbff;  // along one axis of a grid, so that an int can count them

struct Dim {
    unsigned x, y, z;
};

struct Runtime;

// One block, as the driver shows it to the image.
struct Block {
    Dim index;
    Dim grid;
    Dim block;
    unsigned cursor;  // linear index of the first thread that was not started yet; the image moves it
    unsigned dynamic_shared_bytes;
    void* dynamic_shared;
    const void* arguments;  // packed as CUDA packs them: every parameter at its natural alignment
    const Runtime* runtime;
};

enum class BlockOp : unsigned { sync, count, all, any };

enum class WarpOp : unsigned {
    sync,
    shuffle,  // `lane` is the lane whose value is wanted
    ballot,
    active_mask,  // the lanes of the warp that arrive together; no mask is given
    match_any,
    match_all,
    add,
    min_signed,
    max_signed,
    min_unsigned,
    max_unsigned,
    bit_and,
    bit_or,
    bit_xor,
};

// How a thread that cannot go on leaves its block: each becomes one error of the CUDA driver API.
enum class Failure : int { trap = 719, assertion = 710 };

struct Runtime {
    // Waits for the block's running threads; answers what `op` makes of their predicates.
    uint64_t (*sync_block)(Block*, unsigned thread, BlockOp op, unsigned predicate);
    // Waits for the lanes in `mask`; answers what `op` makes of their values for this lane.
    uint64_t (*sync_warp)(Block*, unsigned thread, unsigned mask, WarpOp op, uint64_t value, unsigned lane);
    // Ends the launch with an error at a line of the source. Does not return.
    void (*fail)(Block*, Failure, unsigned thread, const char* file, unsigned line, const char* message);
    // printf: the arguments as C passes them. Answers 0, or -1 where there is no room.
    int (*print)(Block*, const char* format, ...);
    // Ends the launch because of an access to device memory that is in no buffer. `place` is where the code goes on
    // after it. Does not return.
    void (*refuse)(Block*, unsigned thread, uintptr_t address, uint64_t bytes, bool write, const void* place);
};

// The device's memory, as an image that was compiled with checks sees it. The driver fills it in when it loads the image.
struct DeviceMemory {
    uintptr_t start;
    uint64_t bytes;
    const uint8_t* accessible;  // for each 8 bytes, how many of them, from the first on, are a buffer's
};

struct Parameter {
    uint32_t offset, size;
};

struct Kernel {
    const char* name;      // as it was asked for when the image was compiled
    const void* address;   // of the kernel function; its symbol is the mangled name
    void (*run)(Block*);
    const Parameter* parameters;
    uint32_t parameter_count;
    uint32_t argument_bytes;
};

struct Image {
    uint64_t magic;
    uint32_t version;
    uint32_t kernel_count;
    const Kernel* kernels;
    DeviceMemory* memory;  // null where the image was compiled without checks
};

// What a kernel takes of a block's resources. The image's section `.kaas.resources` holds one for each of its kernels.
struct Resources {
    uint32_t static_shared_bytes, most_threads;
};

}  // namespace kaas_abi
