// Run-length encoding: the heads of runs, their numbers by a scan, and from the heads' places the lengths.

extern "C" __global__ void mark_heads(const unsigned char* in, int* heads, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) heads[i] = i == 0 || in[i] != in[i - 1];
}

// `numbers` is the inclusive scan of the heads: run `numbers[i] - 1` holds element i.
extern "C" __global__ void write_runs(const unsigned char* in, const int* numbers, unsigned char* values, int* starts,
                                      int* count, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const int run = numbers[i] - 1;
    if (i == 0 || numbers[i - 1] - 1 != run) {
        values[run] = in[i];
        starts[run] = i;
    }
    if (i == n - 1) {
        starts[run + 1] = n;
        *count = run + 1;
    }
}

extern "C" __global__ void lengths_of_runs(const int* starts, int* lengths, const int* count) {
    const int run = blockIdx.x * blockDim.x + threadIdx.x;
    if (run < *count) lengths[run] = starts[run + 1] - starts[run];
}
