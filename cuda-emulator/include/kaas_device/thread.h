// Which thread of which block is running.
#pragma once

namespace kaas_device {

struct ThreadState {
    kaas_abi::Dim thread, index, block, grid;
    kaas_abi::Block* running;
    bool waited;  // this thread called the driver, so another fibre has the threads after it
};

// One worker thread runs one block at a time, so what is thread-local belongs to the block. It has internal linkage and
// its address is never taken: no pointer of the kernel can alias it, and a loop over threads can be vectorised.
static thread_local ThreadState state;

static inline uint3 thread_index() { return {state.thread.x, state.thread.y, state.thread.z}; }
static inline uint3 block_index() { return {state.index.x, state.index.y, state.index.z}; }
static inline dim3 block_shape() { return {state.block.x, state.block.y, state.block.z}; }
static inline dim3 grid_shape() { return {state.grid.x, state.grid.y, state.grid.z}; }

static inline unsigned linear_thread() {
    return state.thread.x + state.block.x * (state.thread.y + state.block.y * state.thread.z);
}

static inline unsigned lane() { return linear_thread() % kaas_abi::warp_size; }

// Calls the driver, which may run other threads before it answers.
template <class Call>
static inline uint64_t wait_for_others(Call call) {
    const kaas_abi::Dim self = state.thread;
    const unsigned thread = linear_thread();
    kaas_abi::Block* running = state.running;
    if (!state.waited) running->cursor = thread + 1;
    const uint64_t answer = call(running, thread);
    state.thread = self;
    state.waited = true;
    return answer;
}

// Dynamic shared memory as an array of whatever it is declared to hold. `extern __shared__ T name[]` becomes
// `T* const name = dynamic_shared` inside a function, and a DynamicSharedArray<T> outside of one.
static inline void* dynamic_shared_start() { return state.running->dynamic_shared; }

struct DynamicShared {
    template <class T>
    operator T*() const {
        return static_cast<T*>(dynamic_shared_start());
    }
    template <class T>
    operator volatile T*() const {
        return static_cast<T*>(dynamic_shared_start());
    }
};
constexpr DynamicShared dynamic_shared{};

template <class T>
struct DynamicSharedArray {
    operator T*() const { return static_cast<T*>(dynamic_shared_start()); }
};

}  // namespace kaas_device

#define threadIdx (::kaas_device::thread_index())
#define blockIdx (::kaas_device::block_index())
#define blockDim (::kaas_device::block_shape())
#define gridDim (::kaas_device::grid_shape())
#define warpSize 32
