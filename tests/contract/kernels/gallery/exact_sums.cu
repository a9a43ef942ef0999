// Sums that lose little: Kahan's, Neumaier's in a warp, and by pairs.

struct Compensated {
    double sum, lost;
};

__device__ Compensated add(Compensated a, double value) {
    const double sum = __dadd_rn(a.sum, value);
    const double error = fabs(a.sum) >= fabs(value) ? __dadd_rn(__dsub_rn(a.sum, sum), value)
                                                    : __dadd_rn(__dsub_rn(value, sum), a.sum);
    return {sum, __dadd_rn(a.lost, error)};
}

// In one block: threads over strides, then the warps' lanes, then one thread over the warps.
extern "C" __global__ void sum_compensated(const double* in, double* out, int n) {
    __shared__ Compensated of_warps[32];
    Compensated mine = {0.0, 0.0};
    for (int i = threadIdx.x; i < n; i += blockDim.x) mine = add(mine, in[i]);
    for (int offset = 16; offset > 0; offset >>= 1) {
        const double sum = __shfl_down_sync(0xffffffffu, mine.sum, offset);
        const double lost = __shfl_down_sync(0xffffffffu, mine.lost, offset);
        mine = add(mine, sum);
        mine.lost += lost;
    }
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = mine;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (unsigned warp = 1; warp < blockDim.x / 32; ++warp) {
        mine = add(mine, of_warps[warp].sum);
        mine.lost += of_warps[warp].lost;
    }
    *out = mine.sum + mine.lost;
}

__device__ __noinline__ float pairwise(const float* values, int n) {
    if (n <= 8) {
        float sum = 0.0f;
        for (int i = 0; i < n; ++i) sum += values[i];
        return sum;
    }
    return pairwise(values, n / 2) + pairwise(values + n / 2, n - n / 2);
}

// A row per thread.
extern "C" __global__ void sum_pairwise(const float* rows, float* out, int columns, int n) {
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row < n) out[row] = pairwise(rows + static_cast<size_t>(row) * columns, columns);
}
