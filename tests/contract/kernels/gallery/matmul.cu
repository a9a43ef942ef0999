// Matrix products of any shape through tiles in shared memory.

#define TILE 16

extern "C" __global__ void matmul(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c,
                                  int rows, int inner, int columns) {
    __shared__ float left[TILE][TILE], right[TILE][TILE];
    const int x = threadIdx.x, y = threadIdx.y;
    const int row = blockIdx.y * TILE + y, column = blockIdx.x * TILE + x;
    float sum = 0.0f;
    for (int k = 0; k < inner; k += TILE) {
        left[y][x] = row < rows && k + x < inner ? a[row * inner + k + x] : 0.0f;
        right[y][x] = k + y < inner && column < columns ? b[(k + y) * columns + column] : 0.0f;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < TILE; ++i) sum += left[y][i] * right[i][x];
        __syncthreads();
    }
    if (row < rows && column < columns) c[row * columns + column] = sum;
}

#define WIDE 32
#define PER_THREAD 4

// Four results per thread in registers: blocks of 32 by 8 threads make tiles of 32 by 32.
extern "C" __global__ void __launch_bounds__(256)
    matmul_registers(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int rows, int inner,
                     int columns) {
    __shared__ float left[WIDE][WIDE + 1], right[WIDE][WIDE];
    const int x = threadIdx.x, y = threadIdx.y;
    const int first_row = blockIdx.y * WIDE, column = blockIdx.x * WIDE + x;
    float sums[PER_THREAD] = {};
    for (int k = 0; k < inner; k += WIDE) {
#pragma unroll
        for (int part = 0; part < PER_THREAD; ++part) {
            const int line = y + part * 8, row = first_row + line;
            left[line][x] = row < rows && k + x < inner ? a[row * inner + k + x] : 0.0f;
            right[line][x] = k + line < inner && column < columns ? b[(k + line) * columns + column] : 0.0f;
        }
        __syncthreads();
        for (int i = 0; i < WIDE; ++i) {
            const float value = right[i][x];
#pragma unroll
            for (int part = 0; part < PER_THREAD; ++part) sums[part] += left[y + part * 8][i] * value;
        }
        __syncthreads();
    }
    for (int part = 0; part < PER_THREAD; ++part) {
        const int row = first_row + y + part * 8;
        if (row < rows && column < columns) c[row * columns + column] = sums[part];
    }
}
