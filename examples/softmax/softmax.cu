#include <cuda_fp16.h>
#include <math_constants.h>

struct Sum {
    __device__ float operator()(float a, float b) const { return a + b; }
};
struct Most {
    __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

// All lanes of a warp get its total.
template <typename Combine> __device__ float of_warp(float value, Combine combine) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) value = combine(value, __shfl_xor_sync(0xffffffffu, value, lanes));
    return value;
}

// All threads of a block get its total.
template <int THREADS, typename Combine> __device__ float of_block(float value, float neutral, Combine combine) {
    __shared__ float totals[THREADS / 32];
    int lane = threadIdx.x % 32;
    value = of_warp(value, combine);
    if (lane == 0) totals[threadIdx.x / 32] = value;
    __syncthreads();
    return of_warp(lane < THREADS / 32 ? totals[lane] : neutral, combine);
}

// One block per row. The scaled row stays in shared memory if it is `kept`, else it is read three times. A row without
// any column that counts becomes zeros.
template <typename T, int THREADS>
__global__ void softmax(const T *scores, const bool *mask, float *weights, int columns, float scale, bool kept) {
    extern __shared__ float row[];
    scores += (size_t)blockIdx.x * columns;
    weights += (size_t)blockIdx.x * columns;
    auto scaled = [&](int i) { return mask[i] ? scale * (float)scores[i] : -CUDART_INF_F; };

    float most = -CUDART_INF_F;
    for (int i = threadIdx.x; i < columns; i += THREADS) {
        float score = scaled(i);
        if (kept) row[i] = score;
        most = fmaxf(most, score);
    }
    most = of_block<THREADS>(most, -CUDART_INF_F, Most());
    if (most == -CUDART_INF_F) most = 0.0f;

    // Each thread meets the elements again that it has put into `row`, so no barrier is needed for them.
    float sum = 0.0f;
    for (int i = threadIdx.x; i < columns; i += THREADS) {
        float power = expf((kept ? row[i] : scaled(i)) - most);
        if (kept) row[i] = power;
        sum += power;
    }
    sum = of_block<THREADS>(sum, 0.0f, Sum());

    float factor = sum > 0.0f ? 1.0f / sum : 0.0f;
    for (int i = threadIdx.x; i < columns; i += THREADS)
        weights[i] = factor * (kept ? row[i] : expf(scaled(i) - most));
}
