// A sparse matrix in compressed rows times a vector: a thread per row, and a warp per row.

extern "C" __global__ void spmv_scalar(const int* starts, const int* columns, const double* values, const double* x,
                                       double* y, int rows) {
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    double sum = 0.0;
    for (int k = starts[row]; k < starts[row + 1]; ++k) sum += values[k] * x[columns[k]];
    y[row] = sum;
}

extern "C" __global__ void spmv_warp(const int* __restrict__ starts, const int* __restrict__ columns,
                                     const double* __restrict__ values, const double* __restrict__ x, double* y,
                                     int rows) {
    const int row = (blockIdx.x * blockDim.x + threadIdx.x) / warpSize, lane = threadIdx.x % warpSize;
    if (row >= rows) return;
    double sum = 0.0;
    for (int k = starts[row] + lane; k < starts[row + 1]; k += warpSize) sum += values[k] * __ldg(&x[columns[k]]);
    for (int offset = warpSize / 2; offset > 0; offset >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (lane == 0) y[row] = sum;
}
