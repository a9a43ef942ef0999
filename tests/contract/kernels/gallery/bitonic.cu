// Bitonic sort of a power of two: the host walks over (size, stride), or one block does a whole sort by itself.

__device__ __forceinline__ void order(unsigned& a, unsigned& b, bool ascending) {
    if ((a > b) == ascending) {
        const unsigned moved = a;
        a = b;
        b = moved;
    }
}

extern "C" __global__ void bitonic_step(unsigned* keys, int size, int stride, int n) {
    const int pair = blockIdx.x * blockDim.x + threadIdx.x;
    const int low = 2 * stride * (pair / stride) + pair % stride;
    if (low + stride < n) order(keys[low], keys[low + stride], (low & size) == 0);
}

// Two keys per thread, any block size that is a power of two.
extern "C" __global__ void bitonic_block(unsigned* keys) {
    extern __shared__ unsigned sorted[];
    const unsigned n = 2 * blockDim.x;
    keys += blockIdx.x * n;
    sorted[threadIdx.x] = keys[threadIdx.x];
    sorted[threadIdx.x + blockDim.x] = keys[threadIdx.x + blockDim.x];
    for (unsigned size = 2; size <= n; size <<= 1) {
        for (unsigned stride = size / 2; stride > 0; stride >>= 1) {
            __syncthreads();
            const unsigned low = 2 * stride * (threadIdx.x / stride) + threadIdx.x % stride;
            order(sorted[low], sorted[low + stride], (low & size) == 0);
        }
    }
    __syncthreads();
    keys[threadIdx.x] = sorted[threadIdx.x];
    keys[threadIdx.x + blockDim.x] = sorted[threadIdx.x + blockDim.x];
}
