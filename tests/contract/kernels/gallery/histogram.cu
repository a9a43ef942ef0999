// Histograms: straight into global memory, and a private one per block in shared memory.

extern "C" __global__ void histogram_global(const unsigned short* in, unsigned* bins, int count, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) atomicAdd(&bins[in[i] % count], 1u);
}

extern "C" __global__ void histogram_shared(const unsigned short* in, unsigned* bins, int count, int n) {
    extern __shared__ unsigned mine[];
    for (int bin = threadIdx.x; bin < count; bin += blockDim.x) mine[bin] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&mine[in[i] % count], 1u);
    __syncthreads();
    for (int bin = threadIdx.x; bin < count; bin += blockDim.x) {
        if (mine[bin] > 0) atomicAdd(&bins[bin], mine[bin]);
    }
}
