// What is positive, and how much of it there is: in any order with one atomic per warp, or in order by a scan.

__device__ __forceinline__ unsigned lanes_before() { return (1u << (threadIdx.x % 32)) - 1u; }

extern "C" __global__ void compact_atomic(const int* in, int* out, unsigned* count, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const int value = i < n ? in[i] : 0;
    const unsigned chosen = __ballot_sync(0xffffffffu, value > 0);
    unsigned base = 0;
    if (threadIdx.x % 32 == 0 && chosen != 0) base = atomicAdd(count, static_cast<unsigned>(__popc(chosen)));
    base = __shfl_sync(0xffffffffu, base, 0);
    if (value > 0) out[base + __popc(chosen & lanes_before())] = value;
}

extern "C" __global__ void count_blocks(const int* in, int* counts, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const int count = __syncthreads_count(i < n && in[i] > 0);
    if (threadIdx.x == 0) counts[blockIdx.x] = count;
}

// One thread is enough for the blocks' counts; `counts[blocks]` becomes the total.
extern "C" __global__ void offsets_of_blocks(int* counts, int blocks) {
    int sum = 0;
    for (int block = 0; block <= blocks; ++block) {
        const int count = block < blocks ? counts[block] : 0;
        counts[block] = sum;
        sum += count;
    }
}

extern "C" __global__ void compact_stable(const int* in, const int* offsets, int* out, int n) {
    __shared__ int of_warps[32];
    const int i = blockIdx.x * blockDim.x + threadIdx.x, warp = threadIdx.x / 32;
    const bool is_chosen = i < n && in[i] > 0;
    const unsigned chosen = __ballot_sync(0xffffffffu, is_chosen);
    if (threadIdx.x % 32 == 0) of_warps[warp] = __popc(chosen);
    __syncthreads();
    int at = offsets[blockIdx.x] + __popc(chosen & lanes_before());
    for (int before = 0; before < warp; ++before) at += of_warps[before];
    if (is_chosen) out[at] = in[i];
}
