// A product of half matrices with sums in float; the result is rounded once.

#include <cuda_fp16.h>

#define TILE 16

extern "C" __global__ void half_gemm(const __half* __restrict__ a, const __half* __restrict__ b, __half* __restrict__ c,
                                     int rows, int inner, int columns) {
    __shared__ __half left[TILE][TILE], right[TILE][TILE];
    const int x = threadIdx.x, y = threadIdx.y;
    const int row = blockIdx.y * TILE + y, column = blockIdx.x * TILE + x;
    const __half zero = __float2half(0.0f);
    float sum = 0.0f;
    for (int k = 0; k < inner; k += TILE) {
        left[y][x] = row < rows && k + x < inner ? a[row * inner + k + x] : zero;
        right[y][x] = k + y < inner && column < columns ? b[(k + y) * columns + column] : zero;
        __syncthreads();
        for (int i = 0; i < TILE; ++i) sum += __half2float(left[y][i]) * __half2float(right[i][x]);
        __syncthreads();
    }
    if (row < rows && column < columns) c[row * columns + column] = __float2half_rn(sum);
}

// z = a * x + y by pairs, each operation rounded to half; n pairs.
extern "C" __global__ void half_axpy(__half a, const __half2* x, const __half2* y, __half2* z, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) z[i] = __hadd2(__hmul2_rn(__half2half2(a), x[i]), y[i]);
}
