// Runs the threads of a block, one block at a time, and makes them wait for each other.
#pragma once

#include <array>
#include <vector>

#include "fiber.h"
#include "stop.h"
#include "types.h"

namespace kaas {

struct Launch;

class BlockRunner {
public:
    static constexpr unsigned most_threads = 1024;

    BlockRunner();
    BlockRunner(const BlockRunner&) = delete;

    // Sets what is the same for all blocks of a launch.
    void prepare(const Launch& launch);
    // Runs one block; answers success or the code of what stopped it, which stopped() tells more about.
    Result run(kaas_abi::Dim index);
    const Stop& stopped() const { return stop_; }

    // For the signal handler: abandons the block, with what can be told about it. Answers the flow to go on with.
    StackPointer abandon(Stop::Kind kind, Result code);
    Stop& stop_details() { return stop_; }
    bool running() const { return current_ != nullptr; }
    // True where the launch is overdue and `code` is the kernel's own.
    bool overdue_in(std::uintptr_t code) const;
    bool is_stack_guard(std::uintptr_t address) const { return fibers_.in_guard(address); }

private:
    // The block as the image sees it, and the way back to its runner.
    struct RunningBlock : kaas_abi::Block {
        BlockRunner* runner;
    };

    struct Warp {
        unsigned live;     // lanes that called the driver and have not ended
        unsigned waiting;  // of those, lanes that wait for other lanes
        std::array<Fiber*, kaas_abi::warp_size> fibers;  // of the live lanes
    };

    static void enter_fiber();
    static std::uint64_t sync_block(kaas_abi::Block*, unsigned thread, kaas_abi::BlockOp, unsigned predicate);
    static std::uint64_t sync_warp(kaas_abi::Block*, unsigned thread, unsigned mask, kaas_abi::WarpOp,
                                   std::uint64_t value, unsigned lane);
    static void fail(kaas_abi::Block*, kaas_abi::Failure, unsigned thread, const char* file, unsigned line,
                     const char* message);
    static void refuse(kaas_abi::Block*, unsigned thread, std::uintptr_t address, std::uint64_t bytes, bool write,
                       const void* place);

    Warp& warp_of(unsigned thread) { return warps_[thread / kaas_abi::warp_size]; }
    Fiber* count_current(unsigned thread);
    void suspend();
    Fiber* next();
    bool can_start_another();
    [[noreturn]] void leave_fiber();
    void make_ready(Fiber* fiber) { ready_[ready_end_++ % most_threads] = fiber; }
    bool barrier_complete() const { return at_barrier_.size() == live_ && block_.cursor == threads_; }
    void open_barrier();
    bool group_complete(const Warp& warp, unsigned first_thread, unsigned mask, kaas_abi::WarpOp op) const;
    void resolve_group(Warp& warp, unsigned lanes);
    bool wake_someone();
    [[noreturn]] void stop(Stop::Kind kind, Result code);
    [[noreturn]] void stop_overdue(const void* place);
    void collect_waiting();
    void add_waiting(const Waiting& waiting);

    static const kaas_abi::Runtime runtime_;

    RunningBlock block_{};
    const Launch* launch_ = nullptr;
    unsigned threads_ = 0;
    unsigned live_ = 0;               // threads that called the driver and have not ended
    Stop stop_;                       // of the last block that did not end well

    FiberPool fibers_;
    Fiber* current_ = nullptr;        // null while no block runs
    StackPointer outside_ = nullptr;  // the worker's own flow, while a block runs

    std::array<Fiber*, most_threads> ready_{};  // a ring; both ends count up
    unsigned ready_begin_ = 0, ready_end_ = 0;

    std::vector<Fiber*> at_barrier_;
    unsigned barrier_count_ = 0;      // threads at the barrier whose predicate holds
    kaas_abi::BlockOp barrier_op_{};
    std::array<Warp, most_threads / kaas_abi::warp_size> warps_{};

    char* shared_mapping_ = nullptr;  // dynamic shared memory, with a guard page behind it
    std::size_t shared_bytes_ = 0;
};

// The runner of the calling thread, or null where it is not a worker.
BlockRunner*& current_runner();

}  // namespace kaas
