// Sums and extremes: a tree in shared memory, shuffles, and the last block that adds up the others' results.

#include <math_constants.h>

#define FULL 0xffffffffu

extern "C" __global__ void sum_tree(const int* __restrict__ in, long long* sums, int n) {
    extern __shared__ long long partial[];
    const int i = blockIdx.x * 2 * blockDim.x + threadIdx.x;
    long long sum = i < n ? in[i] : 0;
    if (i + static_cast<int>(blockDim.x) < n) sum += in[i + blockDim.x];
    partial[threadIdx.x] = sum;
    __syncthreads();
    for (unsigned half = blockDim.x / 2; half > 0; half >>= 1) {
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) sums[blockIdx.x] = partial[0];
}

__device__ __forceinline__ float2 extremes(float2 a, float2 b) { return make_float2(fminf(a.x, b.x), fmaxf(a.y, b.y)); }

__device__ float2 warp_extremes(float2 value) {
#pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1) {
        const float2 other = make_float2(__shfl_down_sync(FULL, value.x, offset), __shfl_down_sync(FULL, value.y, offset));
        value = extremes(value, other);
    }
    return value;
}

__device__ float2 block_extremes(float2 value) {
    __shared__ float2 of_warps[32];
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    value = warp_extremes(value);
    if (lane == 0) of_warps[warp] = value;
    __syncthreads();
    if (warp == 0) {
        const bool exists = lane < (blockDim.x + 31) / 32;
        value = warp_extremes(exists ? of_warps[lane] : make_float2(CUDART_INF_F, -CUDART_INF_F));
    }
    __syncthreads();
    return value;
}

// One launch for any length: blocks write what they found, and the last one to end goes over that.
extern "C" __global__ void min_max(const float* __restrict__ in, float2* found, unsigned* ended, float2* result, int n) {
    __shared__ bool is_last;
    float2 value = make_float2(CUDART_INF_F, -CUDART_INF_F);
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        value = extremes(value, make_float2(in[i], in[i]));
    }
    value = block_extremes(value);
    if (threadIdx.x == 0) {
        found[blockIdx.x] = value;
        __threadfence();
        is_last = atomicAdd(ended, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (!is_last) return;
    value = make_float2(CUDART_INF_F, -CUDART_INF_F);
    for (unsigned block = threadIdx.x; block < gridDim.x; block += blockDim.x) {
        const volatile float* other = reinterpret_cast<const volatile float*>(&found[block]);
        value = extremes(value, make_float2(other[0], other[1]));
    }
    value = block_extremes(value);
    if (threadIdx.x == 0) *result = value;
}
