#ifndef TILE
#define TILE 16
#endif

// One block computes one TILE x TILE tile of c; any m, n, k: what lies outside counts as zero.
extern "C" __global__ void KERNEL(float alpha, const float *a, const float *b, float beta, float *c, int m, int n,
                                  int k) {
    __shared__ float tile_a[TILE][TILE];
    __shared__ float tile_b[TILE][TILE];
    int x = threadIdx.x, y = threadIdx.y;
    int row = blockIdx.y * TILE + y, column = blockIdx.x * TILE + x;
    float sum = 0.0f;
    for (int start = 0; start < k; start += TILE) {
        tile_a[y][x] = row < m && start + x < k ? a[(size_t)row * k + start + x] : 0.0f;
        tile_b[y][x] = start + y < k && column < n ? b[(size_t)(start + y) * n + column] : 0.0f;
        __syncthreads();
        for (int i = 0; i < TILE; ++i) sum += tile_a[y][i] * tile_b[i][x];
        __syncthreads();
    }
    if (row < m && column < n) {
        size_t at = (size_t)row * n + column;
        // As in BLAS: with beta 0, what c held does not matter, not even a NaN.
        c[at] = alpha * sum + (beta == 0.0f ? 0.0f : beta * c[at]);
    }
}
