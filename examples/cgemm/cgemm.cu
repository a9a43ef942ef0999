#define TILE 32
#define ROWS 8                          // of threads in a block
#define EACH (TILE / ROWS)              // elements of c per thread

__device__ float2 operator+(float2 a, float2 b) { return make_float2(a.x + b.x, a.y + b.y); }
__device__ float2 operator*(float2 a, float2 b) { return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x); }

// sum += a * b, in four fused operations.
__device__ void accumulate(float2 &sum, float2 a, float2 b) {
    sum.x = fmaf(a.x, b.x, fmaf(-a.y, b.y, sum.x));
    sum.y = fmaf(a.x, b.y, fmaf(a.y, b.x, sum.y));
}

// One block computes one TILE x TILE tile of c; any m, n, k: what lies outside counts as zero.
extern "C" __global__ void cgemm(float2 alpha, const float2 *a, const float2 *b, float2 beta, float2 *c, int m, int n,
                                 int k) {
    extern __shared__ float2 tiles[];
    float2 *tile_a = tiles, *tile_b = tiles + TILE * TILE;
    int x = threadIdx.x, top = blockIdx.y * TILE, column = blockIdx.x * TILE + x;
    float2 sums[EACH] = {};
    for (int start = 0; start < k; start += TILE) {
        for (int y = threadIdx.y; y < TILE; y += ROWS) {
            int row = top + y, inner = start + y;
            bool in_a = row < m && start + x < k, in_b = inner < k && column < n;
            tile_a[y * TILE + x] = in_a ? a[(size_t)row * k + start + x] : make_float2(0.0f, 0.0f);
            tile_b[y * TILE + x] = in_b ? b[(size_t)inner * n + column] : make_float2(0.0f, 0.0f);
        }
        __syncthreads();
        for (int i = 0; i < TILE; ++i) {
            float2 of_b = tile_b[i * TILE + x];
#pragma unroll
            for (int e = 0; e < EACH; ++e) accumulate(sums[e], tile_a[(threadIdx.y + e * ROWS) * TILE + i], of_b);
        }
        __syncthreads();
    }
#pragma unroll
    for (int e = 0; e < EACH; ++e) {
        int row = top + threadIdx.y + e * ROWS;
        if (row < m && column < n) {
            size_t at = (size_t)row * n + column;
            c[at] = alpha * sums[e] + beta * c[at];
        }
    }
}
