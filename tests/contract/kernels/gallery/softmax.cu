// Softmax over rows, a block each: maximum and sum in one pass, joined by shuffles and through shared memory.

#include <math_constants.h>

struct Running {
    float most, sum;
};

__device__ __forceinline__ Running join(Running a, Running b) {
    const float most = fmaxf(a.most, b.most);
    if (most == -CUDART_INF_F) return {most, 0.0f};
    return {most, a.sum * __expf(a.most - most) + b.sum * __expf(b.most - most)};
}

__device__ Running warp_join(Running mine) {
#pragma unroll
    for (int mask = 16; mask > 0; mask >>= 1) {
        const Running other = {__shfl_xor_sync(0xffffffffu, mine.most, mask), __shfl_xor_sync(0xffffffffu, mine.sum, mask)};
        mine = join(mine, other);
    }
    return mine;
}

extern "C" __global__ void softmax(const float* __restrict__ in, float* __restrict__ out, int columns) {
    __shared__ Running of_warps[32];
    in += static_cast<size_t>(blockIdx.x) * columns;
    out += static_cast<size_t>(blockIdx.x) * columns;
    Running mine = {-CUDART_INF_F, 0.0f};
    for (int i = threadIdx.x; i < columns; i += blockDim.x) mine = join(mine, {in[i], 1.0f});
    mine = warp_join(mine);
    const unsigned lane = threadIdx.x % 32;
    if (lane == 0) of_warps[threadIdx.x / 32] = mine;
    __syncthreads();
    mine = warp_join(lane < blockDim.x / 32 ? of_warps[lane] : Running{-CUDART_INF_F, 0.0f});
    for (int i = threadIdx.x; i < columns; i += blockDim.x) out[i] = __expf(in[i] - mine.most) / mine.sum;
}
