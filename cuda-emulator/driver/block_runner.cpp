#include "block_runner.h"

#include <sys/mman.h>

#include <bit>
#include <cstdlib>

#include "error.h"
#include "image.h"
#include "launch.h"
#include "print.h"

namespace kaas {

using kaas_abi::BlockOp;
using kaas_abi::Failure;
using kaas_abi::warp_size;
using kaas_abi::WarpOp;

namespace {

constexpr std::size_t page = 4096;
// The most that any device gives a block; the device's own limit is checked at launch.
constexpr std::size_t most_shared_bytes = std::size_t{256} << 10;
constexpr std::size_t shared_alignment = 16;

template <class Value, class Combine>
std::uint64_t fold(const std::array<Fiber*, warp_size>& fibers, unsigned lanes, Combine combine) {
    Value total = static_cast<Value>(fibers[std::countr_zero(lanes)]->value);
    for (unsigned rest = lanes & (lanes - 1); rest; rest &= rest - 1)
        total = combine(total, static_cast<Value>(fibers[std::countr_zero(rest)]->value));
    return static_cast<std::uint64_t>(total);
}

}  // namespace

const kaas_abi::Runtime BlockRunner::runtime_ = {sync_block, sync_warp, fail, print, refuse};

BlockRunner*& current_runner() {
    // In the static part of the thread's storage: the signal handler reads it, and must not allocate.
    [[gnu::tls_model("initial-exec")]] static thread_local BlockRunner* runner = nullptr;
    return runner;
}

BlockRunner::BlockRunner() {
    void* range = mmap(nullptr, most_shared_bytes + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED || mprotect(range, most_shared_bytes, PROT_READ | PROT_WRITE) != 0)
        throw Error(out_of_memory);
    shared_mapping_ = static_cast<char*>(range);
    at_barrier_.reserve(most_threads);
    block_.runtime = &runtime_;
    block_.runner = this;
}

void BlockRunner::prepare(const Launch& launch) {
    launch_ = &launch;
    block_.grid = launch.grid;
    block_.block = launch.block;
    block_.arguments = launch.arguments.data();
    block_.dynamic_shared_bytes = launch.dynamic_shared_bytes;
    // Against the guard page, so that running over the end faults.
    const std::size_t bytes = (launch.dynamic_shared_bytes + shared_alignment - 1) / shared_alignment * shared_alignment;
    block_.dynamic_shared = shared_mapping_ + most_shared_bytes - bytes;
    threads_ = launch.block.x * launch.block.y * launch.block.z;
}

Result BlockRunner::run(kaas_abi::Dim index) {
    block_.index = index;
    block_.cursor = 0;
    live_ = 0;
    if (stop_.code != success) stop_ = {};
    current_ = fibers_.take(enter_fiber);
    if (!current_) {
        abandon(Stop::Kind::no_stack, launch_out_of_resources);
        return launch_out_of_resources;
    }
    kaas_fiber_switch(&outside_, current_->stack_pointer);
    current_ = nullptr;
    if (stop_.code != success) {
        if (stop_.kind == Stop::Kind::deadlock) collect_waiting();
        fibers_.reset();
        ready_begin_ = ready_end_ = 0;
        at_barrier_.clear();
        barrier_count_ = 0;
        warps_.fill({});
    }
    return stop_.code;
}

void BlockRunner::enter_fiber() {
    BlockRunner* runner = current_runner();
    do {
        runner->launch_->kernel->run(&runner->block_);
    } while (runner->can_start_another());
    runner->leave_fiber();
}

// Called on a fibre whose thread has ended. True where the same fibre can serve for threads not started yet.
bool BlockRunner::can_start_another() {
    Fiber* fiber = current_;
    if (fiber->counted) {
        --live_;
        warp_of(fiber->thread).live &= ~(1u << fiber->thread % warp_size);
        fiber->counted = false;
    }
    return ready_begin_ == ready_end_ && block_.cursor < threads_;
}

void BlockRunner::leave_fiber() {
    Fiber* ended = current_;
    current_ = next();
    fibers_.give(ended);  // after next(), which would otherwise set up a new flow on this very stack
    StackPointer unused;
    kaas_fiber_switch(&unused, current_ ? current_->stack_pointer : outside_);
    std::abort();  // not reached: nothing switches back to a fibre that has ended
}

// The fibre that runs next: one whose wait is over, else one for the threads not started yet, else, where all wait, one
// that can be woken because the threads it waits for have ended. Null where the block has ended.
Fiber* BlockRunner::next() {
    if (ready_begin_ == ready_end_) {
        if (block_.cursor < threads_) {
            Fiber* fiber = fibers_.take(enter_fiber);
            if (!fiber) stop(Stop::Kind::no_stack, launch_out_of_resources);
            return fiber;
        }
        if (live_ == 0) return nullptr;
        if (!wake_someone()) stop(Stop::Kind::deadlock, launch_failed);
    }
    // With hundreds of fibres their stacks are in no first-level cache: fetch the next one's while this one runs.
    __builtin_prefetch(ready_[(ready_begin_ + 2) % most_threads]);
    if (ready_begin_ + 1 != ready_end_) {
        const char* stack = static_cast<const char*>(ready_[(ready_begin_ + 1) % most_threads]->stack_pointer);
        for (int line = 0; line < 4; ++line) __builtin_prefetch(stack + 64 * line);
    }
    return ready_[ready_begin_++ % most_threads];
}

void BlockRunner::suspend() {
    Fiber* waiting = current_;
    current_ = next();
    if (current_ != waiting) kaas_fiber_switch(&waiting->stack_pointer, current_->stack_pointer);
}

bool BlockRunner::overdue_in(std::uintptr_t code) const {
    return launch_->overdue.load(std::memory_order_relaxed) && launch_->image->holds_code(code);
}

void BlockRunner::stop(Stop::Kind kind, Result code) {
    StackPointer unused;
    kaas_fiber_switch(&unused, abandon(kind, code));
    std::abort();  // not reached: nothing switches back to an abandoned fibre
}

StackPointer BlockRunner::abandon(Stop::Kind kind, Result code) {
    stop_.kind = kind;
    stop_.code = code;
    stop_.block = block_.index;
    stop_.shared = reinterpret_cast<std::uintptr_t>(block_.dynamic_shared);
    stop_.shared_bytes = block_.dynamic_shared_bytes;
    if (stop_.thread < 0 && current_ && current_->counted) stop_.thread = static_cast<int>(current_->thread);
    return outside_;
}

// Threads that are in the driver when the watchdog looks, every time, leave here.
void BlockRunner::stop_overdue(const void* place) {
    stop_.place = place;
    stop(Stop::Kind::timeout, launch_timeout);
}

// ***** what a block that cannot go on waits for *****

void BlockRunner::add_waiting(const Waiting& waiting) {
    for (Waiting& known : stop_.waiting) {
        if (known.place != waiting.place || known.whole_block != waiting.whole_block || known.mask != waiting.mask)
            continue;
        if (waiting.first < known.first) known.first = waiting.first;
        ++known.count;
        return;
    }
    stop_.waiting.push_back(waiting);
}

void BlockRunner::collect_waiting() {
    for (const Fiber* fiber : at_barrier_) add_waiting({fiber->place, true, WarpOp::sync, 0, fiber->thread, 1});
    for (const Warp& warp : warps_)
        for (unsigned rest = warp.waiting; rest; rest &= rest - 1) {
            const Fiber* fiber = warp.fibers[std::countr_zero(rest)];
            add_waiting({fiber->place, false, fiber->op, fiber->mask, fiber->thread, 1});
        }
}

Fiber* BlockRunner::count_current(unsigned thread) {
    Fiber* fiber = current_;
    if (!fiber->counted) {
        fiber->counted = true;
        fiber->thread = thread;
        ++live_;
        Warp& warp = warp_of(thread);
        warp.live |= 1u << thread % warp_size;
        warp.fibers[thread % warp_size] = fiber;
    }
    return fiber;
}

// ***** the block's barrier *****

void BlockRunner::open_barrier() {
    if (launch_->overdue.load(std::memory_order_relaxed)) stop_overdue(at_barrier_.front()->place);
    const unsigned arrived = static_cast<unsigned>(at_barrier_.size());
    std::uint64_t result = 0;
    switch (barrier_op_) {
        case BlockOp::sync: break;
        case BlockOp::count: result = barrier_count_; break;
        case BlockOp::all: result = barrier_count_ == arrived; break;
        case BlockOp::any: result = barrier_count_ != 0; break;
    }
    for (Fiber* fiber : at_barrier_) {
        fiber->result = result;
        make_ready(fiber);
    }
    at_barrier_.clear();
    barrier_count_ = 0;
}

std::uint64_t BlockRunner::sync_block(kaas_abi::Block* block, unsigned thread, BlockOp op, unsigned predicate) {
    BlockRunner& self = *static_cast<RunningBlock*>(block)->runner;
    Fiber* fiber = self.count_current(thread);
    fiber->place = __builtin_return_address(0);
    self.at_barrier_.push_back(fiber);
    self.barrier_op_ = op;
    self.barrier_count_ += predicate != 0;
    if (self.barrier_complete()) self.open_barrier();
    self.suspend();
    return fiber->result;
}

// ***** the lanes of a warp *****

// True where every lane of the mask that has not ended, and exists, waits for the same thing.
bool BlockRunner::group_complete(const Warp& warp, unsigned first_thread, unsigned mask, WarpOp op) const {
    const unsigned started = block_.cursor - first_thread;  // cursor is beyond the caller's own thread
    const unsigned existing = threads_ - first_thread;
    const unsigned started_lanes = started >= warp_size ? ~0u : (1u << started) - 1;
    const unsigned existing_lanes = existing >= warp_size ? ~0u : (1u << existing) - 1;
    if (mask & existing_lanes & ~started_lanes) return false;
    const unsigned needed = mask & warp.live;
    if (needed & ~warp.waiting) return false;
    for (unsigned rest = needed; rest; rest &= rest - 1) {
        const Fiber* fiber = warp.fibers[std::countr_zero(rest)];
        if (fiber->mask != mask || fiber->op != op) return false;
    }
    return true;
}

// Gives every lane its result and makes it ready.
void BlockRunner::resolve_group(Warp& warp, unsigned lanes) {
    const auto& fibers = warp.fibers;
    if (launch_->overdue.load(std::memory_order_relaxed)) stop_overdue(fibers[std::countr_zero(lanes)]->place);
    const WarpOp op = fibers[std::countr_zero(lanes)]->op;
    auto for_each = [&](auto&& give) {
        for (unsigned rest = lanes; rest; rest &= rest - 1) {
            Fiber* fiber = fibers[std::countr_zero(rest)];
            fiber->result = give(fiber);
        }
    };
    auto same = [&](auto combined) { for_each([=](Fiber*) { return combined; }); };
    auto lanes_with = [&](auto&& condition) {
        std::uint64_t found = 0;
        for (unsigned rest = lanes; rest; rest &= rest - 1)
            if (condition(fibers[std::countr_zero(rest)])) found |= rest & -rest;
        return found;
    };
    using I = std::int32_t;
    using U = std::uint32_t;
    switch (op) {
        case WarpOp::sync: break;
        case WarpOp::active_mask: same(std::uint64_t{lanes}); break;
        case WarpOp::shuffle:
            for_each([&](Fiber* fiber) {
                const bool there = lanes >> fiber->lane & 1;
                return there ? fibers[fiber->lane]->value : fiber->value;
            });
            break;
        case WarpOp::ballot: same(lanes_with([](Fiber* fiber) { return fiber->value != 0; })); break;
        case WarpOp::match_any:
            for_each([&](Fiber* fiber) {
                return lanes_with([value = fiber->value](Fiber* other) { return other->value == value; });
            });
            break;
        case WarpOp::match_all: {
            const std::uint64_t value = fibers[std::countr_zero(lanes)]->value;
            const std::uint64_t equal = lanes_with([=](Fiber* fiber) { return fiber->value == value; });
            same(std::uint64_t{equal == lanes ? lanes : 0});
            break;
        }
        case WarpOp::add: same(fold<U>(fibers, lanes, [](U a, U b) { return a + b; })); break;
        case WarpOp::min_signed: same(fold<I>(fibers, lanes, [](I a, I b) { return a < b ? a : b; })); break;
        case WarpOp::max_signed: same(fold<I>(fibers, lanes, [](I a, I b) { return a > b ? a : b; })); break;
        case WarpOp::min_unsigned: same(fold<U>(fibers, lanes, [](U a, U b) { return a < b ? a : b; })); break;
        case WarpOp::max_unsigned: same(fold<U>(fibers, lanes, [](U a, U b) { return a > b ? a : b; })); break;
        case WarpOp::bit_and: same(fold<U>(fibers, lanes, [](U a, U b) { return a & b; })); break;
        case WarpOp::bit_or: same(fold<U>(fibers, lanes, [](U a, U b) { return a | b; })); break;
        case WarpOp::bit_xor: same(fold<U>(fibers, lanes, [](U a, U b) { return a ^ b; })); break;
    }
    warp.waiting &= ~lanes;
    for (unsigned rest = lanes; rest; rest &= rest - 1) make_ready(fibers[std::countr_zero(rest)]);
}

std::uint64_t BlockRunner::sync_warp(kaas_abi::Block* block, unsigned thread, unsigned mask, WarpOp op,
                                     std::uint64_t value, unsigned lane) {
    BlockRunner& self = *static_cast<RunningBlock*>(block)->runner;
    Fiber* fiber = self.count_current(thread);
    const unsigned own = 1u << thread % warp_size;
    if (op == WarpOp::active_mask) {
        mask = 0;  // resolved by wake_someone() when no lane can go on
    } else if (!(mask & own)) {
        self.stop_.mask = mask;
        self.stop_.thread = static_cast<int>(thread);
        self.stop_.place = __builtin_return_address(0);
        self.stop(Stop::Kind::foreign_mask, launch_failed);
    }
    Warp& warp = self.warp_of(thread);
    fiber->mask = mask;
    fiber->op = op;
    fiber->place = __builtin_return_address(0);
    fiber->value = value;
    fiber->lane = lane;
    warp.waiting |= own;
    if (mask && self.group_complete(warp, thread - thread % warp_size, mask, op))
        self.resolve_group(warp, mask & warp.live);
    self.suspend();
    return fiber->result;
}

// Called where no fibre is ready and all threads were started: threads that ended may be all that others waited for.
bool BlockRunner::wake_someone() {
    if (!at_barrier_.empty() && barrier_complete()) open_barrier();
    const unsigned warp_count = (threads_ + warp_size - 1) / warp_size;
    for (unsigned index = 0; index < warp_count; ++index) {
        Warp& warp = warps_[index];
        for (unsigned rest = warp.waiting; rest;) {
            const Fiber* fiber = warp.fibers[std::countr_zero(rest)];
            const unsigned mask = fiber->mask & warp.live;
            if (mask && group_complete(warp, index * warp_size, fiber->mask, fiber->op)) {
                resolve_group(warp, mask);
                rest &= ~mask;
            } else {
                rest &= rest - 1;
            }
        }
    }
    if (ready_begin_ != ready_end_) return true;
    for (unsigned index = 0; index < warp_count; ++index) {
        Warp& warp = warps_[index];
        unsigned asking = 0;
        for (unsigned rest = warp.waiting; rest; rest &= rest - 1)
            if (warp.fibers[std::countr_zero(rest)]->op == WarpOp::active_mask) asking |= rest & -rest;
        if (asking) resolve_group(warp, asking);
    }
    return ready_begin_ != ready_end_;
}

void BlockRunner::fail(kaas_abi::Block* block, Failure failure, unsigned thread, const char* file, unsigned line,
                       const char* message) {
    BlockRunner& self = *static_cast<RunningBlock*>(block)->runner;
    self.stop_.thread = static_cast<int>(thread);
    self.stop_.file = file;
    self.stop_.line = line;
    self.stop_.message = message;
    self.stop(Stop::Kind::failure, static_cast<Result>(failure));
}

void BlockRunner::refuse(kaas_abi::Block* block, unsigned thread, std::uintptr_t address, std::uint64_t bytes, bool write,
                         const void* place) {
    BlockRunner& self = *static_cast<RunningBlock*>(block)->runner;
    self.stop_.thread = static_cast<int>(thread);
    self.stop_.address = address;
    self.stop_.bytes = bytes;
    self.stop_.write = write;
    self.stop_.place = place;
    self.stop(Stop::Kind::access, illegal_address);
}

}  // namespace kaas
