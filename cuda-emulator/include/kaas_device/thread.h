// Which thread of which block is running.
#pragma once

namespace kaas_device {

// The running thread. One worker thread runs one block at a time, so what is thread-local belongs to a block.
// They are single variables of internal linkage whose address is never taken: the compiler then sees from the start that
// no pointer of a kernel can alias them, and can vectorise the loop over a block's threads. As members of one structure
// it sees that too late (GCC 12).
#ifdef KAAS_CHECKED
// Of the calls that check an access the compiler believes that they look at no variable of this file; these they do.
#define KAAS_LOOKED_AT volatile
#else
#define KAAS_LOOKED_AT
#endif
static thread_local KAAS_LOOKED_AT unsigned thread_x, thread_y, thread_z;
static thread_local unsigned index_x, index_y, index_z;
static thread_local KAAS_LOOKED_AT unsigned block_x, block_y, block_z;
static thread_local unsigned grid_x, grid_y, grid_z;
static thread_local kaas_abi::Block* KAAS_LOOKED_AT running;
#undef KAAS_LOOKED_AT
static thread_local bool waited;  // this thread called the driver, so another fibre has the threads after it

static inline uint3 thread_index() { return {thread_x, thread_y, thread_z}; }
static inline uint3 block_index() { return {index_x, index_y, index_z}; }
static inline dim3 block_shape() { return {block_x, block_y, block_z}; }
static inline dim3 grid_shape() { return {grid_x, grid_y, grid_z}; }

static inline unsigned linear_thread() { return thread_x + block_x * (thread_y + block_y * thread_z); }

static inline unsigned lane() { return linear_thread() % kaas_abi::warp_size; }

// Calls the driver, which may run other threads before it answers.
template <class Call>
static inline uint64_t wait_for_others(Call call) {
    const unsigned x = thread_x, y = thread_y, z = thread_z;
    const unsigned thread = linear_thread();
    if (!waited) running->cursor = thread + 1;
    const uint64_t answer = call(running, thread);
    thread_x = x;
    thread_y = y;
    thread_z = z;
    waited = true;
    return answer;
}

// Dynamic shared memory as an array of whatever it is declared to hold. `extern __shared__ T name[]` becomes
// `T* const name = dynamic_shared` inside a function, and a DynamicSharedArray<T> outside of one.
static inline void* dynamic_shared_start() { return running->dynamic_shared; }

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
