// Dynamic shared memory with a type of its own in each kernel, and cut into arrays of two types.

extern "C" __global__ void median_of_block(const float* in, float* out) {
    extern __shared__ float floats[];
    const unsigned n = blockDim.x;
    floats[threadIdx.x] = in[blockIdx.x * n + threadIdx.x];
    __syncthreads();
    const float mine = floats[threadIdx.x];
    unsigned rank = 0;
    for (unsigned i = 0; i < n; ++i) rank += floats[i] < mine || (floats[i] == mine && i < threadIdx.x);
    if (rank == n / 2) out[blockIdx.x] = mine;
}

extern "C" __global__ void reverse_block(unsigned short* values) {
    extern __shared__ unsigned short shorts[];
    values += blockIdx.x * blockDim.x;
    shorts[threadIdx.x] = values[threadIdx.x];
    __syncthreads();
    values[threadIdx.x] = shorts[blockDim.x - 1 - threadIdx.x];
}

// The mean of the values with each key, both staged in shared memory: doubles first, so that both are aligned.
extern "C" __global__ void means_by_key(const double* values, const unsigned char* keys, double* means, int n) {
    extern __shared__ __align__(16) unsigned char bytes[];
    double* const staged = reinterpret_cast<double*>(bytes);
    unsigned char* const labels = bytes + n * sizeof(double);
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        staged[i] = values[i];
        labels[i] = keys[i];
    }
    __syncthreads();
    double sum = 0.0;
    int count = 0;
    for (int i = 0; i < n; ++i) {
        if (labels[i] == threadIdx.x) {
            sum += staged[i];
            ++count;
        }
    }
    means[threadIdx.x] = count > 0 ? sum / count : 0.0;
}
