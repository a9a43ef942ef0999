// What the lanes of a warp do together.

#define FULL 0xffffffffu

__device__ float warp_sum(float value) {
    for (int offset = warpSize / 2; offset > 0; offset /= 2) value += __shfl_down_sync(FULL, value, offset);
    return value;
}

extern "C" __global__ void sums(const float* in, float* out, int n) {
    __shared__ float partial[32];
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    float value = warp_sum(i < n ? in[i] : 0.0f);
    if (threadIdx.x % warpSize == 0) partial[threadIdx.x / warpSize] = value;
    __syncthreads();
    if (threadIdx.x < warpSize) {
        value = warp_sum(threadIdx.x < blockDim.x / warpSize ? partial[threadIdx.x] : 0.0f);
        if (threadIdx.x == 0) atomicAdd(out, value);
    }
}

extern "C" __global__ void scan(const int* in, int* out) {
    int value = in[threadIdx.x];
    for (int offset = 1; offset < warpSize; offset *= 2) {
        const int other = __shfl_up_sync(FULL, value, offset);
        if (threadIdx.x % warpSize >= offset) value += other;
    }
    out[threadIdx.x] = value;
}

// Butterflies of eight lanes, with eight-byte values.
extern "C" __global__ void butterfly(const double* in, double* out) {
    double value = in[threadIdx.x];
    for (int mask = 4; mask > 0; mask /= 2) value += __shfl_xor_sync(FULL, value, mask, 8);
    out[threadIdx.x] = value;
}

extern "C" __global__ void rotate(const int* in, int* out) {
    out[threadIdx.x] = __shfl_sync(FULL, in[threadIdx.x], threadIdx.x + 1);
}

extern "C" __global__ void votes(const int* in, unsigned* ballots, int* any, int* all) {
    const int value = in[threadIdx.x];
    ballots[threadIdx.x] = __ballot_sync(FULL, value);
    any[threadIdx.x] = __any_sync(FULL, value);
    all[threadIdx.x] = __all_sync(FULL, value);
}

// The two halves of a warp take different ways, each with its own mask.
extern "C" __global__ void partial_masks(int* out) {
    const int lane = threadIdx.x % warpSize;
    int value = lane;
    if (lane < 16) {
        value = __shfl_sync(0x0000ffffu, value, 3);
    } else {
        __syncwarp(0xffff0000u);
        value = __shfl_down_sync(0xffff0000u, value, 1) + 100;
    }
    out[threadIdx.x] = value;
}

// Only some lanes are left when the others have returned.
extern "C" __global__ void active(unsigned* out) {
    if (threadIdx.x % 3) return;
    const unsigned mask = __activemask();
    out[threadIdx.x] = __ballot_sync(mask, 1);
}

extern "C" __global__ void matches(const int* in, unsigned* any, unsigned* all) {
    int same;
    any[threadIdx.x] = __match_any_sync(FULL, in[threadIdx.x]);
    all[threadIdx.x] = __match_all_sync(FULL, in[threadIdx.x], &same);
    all[threadIdx.x] += same;
}

extern "C" __global__ void reductions(const int* in, int* sums, unsigned* bits) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    const int value = in[threadIdx.x];
    sums[threadIdx.x] = __reduce_add_sync(FULL, value) + __reduce_min_sync(FULL, value) * __reduce_max_sync(FULL, value);
    bits[threadIdx.x] = __reduce_and_sync(FULL, (unsigned)value) + __reduce_or_sync(FULL, (unsigned)value) +
                        __reduce_xor_sync(FULL, (unsigned)value);
#endif
}
