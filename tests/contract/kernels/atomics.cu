// Every atomic function, from many blocks at once.

extern "C" __global__ void atomics(int* integers, unsigned* words, unsigned long long* wide, float* single, double* twice) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(&integers[0], i);
    atomicSub(&integers[1], 1);
    atomicMin(&integers[2], -i);
    atomicMax(&integers[3], i);
    atomicAdd(&words[0], 1u);
    atomicOr(&words[1], 1u << (i % 32));
    atomicAnd(&words[2], ~(1u << (i % 16)));
    atomicXor(&words[3], (unsigned)i);
    atomicInc(&words[4], 9u);
    atomicDec(&words[5], 9u);
    atomicAdd(&wide[0], 1ULL << 33);
    atomicMax(&wide[1], (unsigned long long)i << 20);
    atomicAdd(single, 0.5f);
    atomicAdd(twice, 0.25);
}

// A lock by compare and swap, and an exchange to open it.
extern "C" __global__ void locked(int* lock, int* counter) {
    if (threadIdx.x != 0) return;
    while (atomicCAS(lock, 0, 1) != 0) {
    }
    __threadfence();
    *(volatile int*)counter += 1;
    __threadfence();
    atomicExch(lock, 0);
}

// The float maximum that CUDA does not have, in the usual way.
extern "C" __global__ void float_max(const float* in, float* most) {
    const float value = in[blockIdx.x * blockDim.x + threadIdx.x];
    int* address = reinterpret_cast<int*>(most);
    int old = *address, assumed;
    do {
        assumed = old;
        if (__int_as_float(assumed) >= value) break;
        old = atomicCAS(address, assumed, __float_as_int(value));
    } while (assumed != old);
}

// The last block to end sees what all the others wrote.
extern "C" __global__ void last_block(const int* in, int* sums, unsigned* ended, int* total) {
    __shared__ bool is_last;
    if (threadIdx.x == 0) {
        sums[blockIdx.x] = in[blockIdx.x];
        __threadfence();
        is_last = atomicAdd(ended, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (is_last && threadIdx.x == 0) {
        int sum = 0;
        for (unsigned block = 0; block < gridDim.x; ++block) sum += ((volatile int*)sums)[block];
        *total = sum;
    }
}
