// Kernels that wait for the host, and kernels that go wrong.

// Ends when the host writes to its page-locked memory.
extern "C" __global__ void wait_for(volatile int* gate) {
    while (*gate == 0) {
    }
}

extern "C" __global__ void set(int* target, int value) { *target = value; }

extern "C" __global__ void append(int* log, int* length, int value) {
    const int at = *length;
    log[at] = value;
    *length = at + 1;
}

extern "C" __global__ void write_at(int* target, long long offset) { target[offset] = 1; }

extern "C" __global__ void write_after_wait(int* target, long long offset) {
    __syncthreads();
    if (threadIdx.x == blockDim.x - 1) target[offset] = 1;  // here
}

extern "C" __global__ void write_shared(int* target, int offset) {
    extern __shared__ int shared[];
    shared[threadIdx.x + offset] = 1;  // here
    __syncthreads();
    target[threadIdx.x] = shared[0];
}

extern "C" __global__ void trap() { __trap(); }

extern "C" __global__ void check(int value) { assert(value == 3 && "three"); }

extern "C" __global__ void endless(volatile int* never) {
    while (*never == 0) {
    }
}

__device__ __noinline__ int deep(int n, volatile int* sink) {
    volatile int frame[64];
    frame[n % 64] = n;
    *sink = frame[n % 64];
    return n == 0 ? 0 : 1 + deep(n - 1, sink) + frame[n % 64] - n;
}

extern "C" __global__ void recurse(int depth, int* out) { *out = deep(depth, out); }

// Where nothing but a guard page follows.
extern "C" __global__ void write_next(int* target, int offset) { target[offset] = 1; }

extern "C" __global__ void divide(int* target, int divisor) { *target = 7 / divisor; }

// Half of a warp waits for lanes that wait at the barrier.
extern "C" __global__ void cross_wait(int* target) {
    if (threadIdx.x % 32 < 16) {
        __syncwarp(0xffffffffu);
    } else {
        __syncthreads();  // here
    }
    *target = 1;
}

extern "C" __global__ void foreign_mask(int* target) { *target = __shfl_sync(0xfffffffeu, *target, 1); }

extern "C" __global__ void write_through(int address, int value) { *(int*)(long long)address = value; }

// Half of the block leaves the loop and votes for ever with lanes that are in the loop's barrier.
extern "C" __global__ void leave_early(int* target) {
    for (int round = 0; round < 3; ++round) {
        if (threadIdx.x % 32 >= 16 && round == 1) break;
        target[threadIdx.x] = round;
        __syncthreads();  // here
    }
    target[threadIdx.x] = __any_sync(0xffffffffu, 1);
}

extern "C" __global__ void add_far(int* target, long long offset) {
    target[0] = 1;
    atomicAdd(target + offset, 1);  // here
    target[1] = 2;
}

extern "C" __global__ void endless_barriers(volatile int* never) {
    while (*never == 0) __syncthreads();
}
