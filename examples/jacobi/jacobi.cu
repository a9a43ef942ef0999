// One block per row. Reads only x and writes only x_new, so the order of the blocks does not matter.
extern "C" __global__ void jacobi_round(const float *a, const float *b, const float *x, float *x_new, int n) {
    extern __shared__ float partial[];
    int row = blockIdx.x;
    float sum = 0.0f;
    for (int column = threadIdx.x; column < n; column += blockDim.x)
        if (column != row) sum += a[(size_t)row * n + column] * x[column];
    partial[threadIdx.x] = sum;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) x_new[row] = (b[row] - partial[0]) / a[(size_t)row * n + row];
}
