// Prefix sums: of a block by shuffles or by Blelloch's sweeps, and of any length with a second kernel.

#define FULL 0xffffffffu

__device__ int warp_inclusive(int value) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int offset = 1; offset < 32; offset <<= 1) {
        const int before = __shfl_up_sync(FULL, value, offset);
        if (lane >= offset) value += before;
    }
    return value;
}

__device__ int block_inclusive(int value) {
    __shared__ int of_warps[32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    value = warp_inclusive(value);
    if (lane == 31) of_warps[warp] = value;
    __syncthreads();
    if (warp == 0) {
        const int total = lane < static_cast<int>(blockDim.x / 32) ? of_warps[lane] : 0;
        of_warps[lane] = warp_inclusive(total);
    }
    __syncthreads();
    return warp > 0 ? value + of_warps[warp - 1] : value;
}

// The inclusive scan within each block, and each block's total. The block is a multiple of a warp.
extern "C" __global__ void scan_blocks(const int* in, int* out, int* totals, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const int value = block_inclusive(i < n ? in[i] : 0);
    if (i < n) out[i] = value;
    if (threadIdx.x == blockDim.x - 1) totals[blockIdx.x] = value;
}

// Adds what the blocks before it came to; `totals` is scanned by then.
extern "C" __global__ void add_totals(int* out, const int* totals, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (blockIdx.x > 0 && i < n) out[i] += totals[blockIdx.x - 1];
}

// An exclusive scan of up to two elements per thread, in one block of a power of two.
extern "C" __global__ void scan_exclusive(const int* in, int* out, int n) {
    extern __shared__ int values[];
    const int thread = threadIdx.x, size = 2 * blockDim.x;
    values[2 * thread] = 2 * thread < n ? in[2 * thread] : 0;
    values[2 * thread + 1] = 2 * thread + 1 < n ? in[2 * thread + 1] : 0;
    int stride = 1;
    for (int active = blockDim.x; active > 0; active >>= 1, stride <<= 1) {
        __syncthreads();
        if (thread < active) values[stride * (2 * thread + 2) - 1] += values[stride * (2 * thread + 1) - 1];
    }
    if (thread == 0) values[size - 1] = 0;
    for (int active = 1; active < size; active <<= 1) {
        stride >>= 1;
        __syncthreads();
        if (thread < active) {
            const int low = stride * (2 * thread + 1) - 1, high = stride * (2 * thread + 2) - 1;
            const int moved = values[low];
            values[low] = values[high];
            values[high] += moved;
        }
    }
    __syncthreads();
    if (2 * thread < n) out[2 * thread] = values[2 * thread];
    if (2 * thread + 1 < n) out[2 * thread + 1] = values[2 * thread + 1];
}

// Hillis and Steele's scan between two halves of shared memory, with a product of 2x2 matrices as the operation.
struct Matrix {
    unsigned a, b, c, d;
};

__device__ Matrix operator*(const Matrix& p, const Matrix& q) {
    return {p.a * q.a + p.b * q.c, p.a * q.b + p.b * q.d, p.c * q.a + p.d * q.c, p.c * q.b + p.d * q.d};
}

extern "C" __global__ void scan_matrices(const Matrix* in, Matrix* out) {
    extern __shared__ Matrix buffers[];
    const unsigned i = threadIdx.x, n = blockDim.x;
    Matrix *from = buffers, *to = buffers + n;
    from[i] = in[i];
    __syncthreads();
    for (unsigned offset = 1; offset < n; offset <<= 1) {
        to[i] = i >= offset ? from[i - offset] * from[i] : from[i];
        __syncthreads();
        Matrix* const swapped = from;
        from = to;
        to = swapped;
    }
    out[i] = from[i];
}
