// Waiting for the threads of the block, fences, and giving up.
#pragma once

namespace kaas_device {

static inline int sync_block(kaas_abi::BlockOp op, bool predicate) {
    return static_cast<int>(wait_for_others([=](kaas_abi::Block* block, unsigned thread) {
        return block->runtime->sync_block(block, thread, op, predicate);
    }));
}

[[noreturn]] static inline void fail(kaas_abi::Failure failure, const char* message, const char* file, unsigned line) {
    running->runtime->fail(running, failure, linear_thread(), file, line, message);
    __builtin_unreachable();
}

}  // namespace kaas_device

static inline void __syncthreads() { kaas_device::sync_block(kaas_abi::BlockOp::sync, false); }
static inline int __syncthreads_count(int p) { return kaas_device::sync_block(kaas_abi::BlockOp::count, p != 0); }
static inline int __syncthreads_and(int p) { return kaas_device::sync_block(kaas_abi::BlockOp::all, p != 0); }
static inline int __syncthreads_or(int p) { return kaas_device::sync_block(kaas_abi::BlockOp::any, p != 0); }

static inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
static inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
static inline void __threadfence_system() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

[[noreturn]] static inline void __trap(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
    kaas_device::fail(kaas_abi::Failure::trap, "__trap() was called", file, line);
}
static inline void __brkpt() {}
static inline void __nanosleep(unsigned) { __builtin_ia32_pause(); }
