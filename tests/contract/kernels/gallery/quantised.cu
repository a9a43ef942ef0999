// Products of bytes, four at a time with sums of 32 bits, and back to floats with a scale per row.

extern "C" __global__ void quantised_matvec(const int* __restrict__ weights, const int* __restrict__ x,
                                            const float* __restrict__ scales, float* __restrict__ out, int rows,
                                            int words) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    int sum = 0;
    for (int i = threadIdx.x; i < words; i += warpSize) sum = __dp4a(weights[row * words + i], x[i], sum);
    for (int offset = 16; offset > 0; offset >>= 1) sum += __shfl_down_sync(0xffffffffu, sum, offset);
    if (threadIdx.x == 0) out[row] = scales[row] * static_cast<float>(sum);
}
