// One pass of a radix sort by four bits: counts per block, their offsets digit by digit, and a scatter that is stable.

#define DIGITS 16

extern "C" __global__ void count_digits(const unsigned* keys, unsigned* counts, int shift, int n) {
    __shared__ unsigned mine[DIGITS];
    if (threadIdx.x < DIGITS) mine[threadIdx.x] = 0;
    __syncthreads();
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) atomicAdd(&mine[keys[i] >> shift & (DIGITS - 1)], 1u);
    __syncthreads();
    if (threadIdx.x < DIGITS) counts[threadIdx.x * gridDim.x + blockIdx.x] = mine[threadIdx.x];
}

// In one block: the exclusive scan of up to any number of counts, a chunk at a time.
extern "C" __global__ void scan_counts(unsigned* counts, int n) {
    extern __shared__ unsigned chunk[];
    __shared__ unsigned before;
    if (threadIdx.x == 0) before = 0;
    for (int start = 0; start < n; start += blockDim.x) {
        const int i = start + threadIdx.x;
        const unsigned mine = i < n ? counts[i] : 0;
        chunk[threadIdx.x] = mine;
        __syncthreads();
        for (unsigned offset = 1; offset < blockDim.x; offset <<= 1) {
            const unsigned other = threadIdx.x >= offset ? chunk[threadIdx.x - offset] : 0;
            __syncthreads();
            chunk[threadIdx.x] += other;
            __syncthreads();
        }
        if (i < n) counts[i] = before + chunk[threadIdx.x] - mine;
        __syncthreads();
        if (threadIdx.x == blockDim.x - 1) before += chunk[threadIdx.x];
        __syncthreads();
    }
}

extern "C" __global__ void scatter(const unsigned* keys, const unsigned* values, const unsigned* offsets, unsigned* keys_out,
                                   unsigned* values_out, int shift, int n) {
    extern __shared__ unsigned char digits[];
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const unsigned digit = i < n ? keys[i] >> shift & (DIGITS - 1) : DIGITS;
    digits[threadIdx.x] = static_cast<unsigned char>(digit);
    __syncthreads();
    if (i >= n) return;
    unsigned rank = 0;
    for (unsigned before = 0; before < threadIdx.x; ++before) rank += digits[before] == digit;
    const unsigned to = offsets[digit * gridDim.x + blockIdx.x] + rank;
    keys_out[to] = keys[i];
    values_out[to] = values[i];
}
