// A table with open addressing: keys are claimed by compare and swap, counts are added. The capacity is a power of two.

#define EMPTY 0xffffffffu

__device__ __forceinline__ unsigned hash(unsigned key) {
    key ^= key >> 16;
    key *= 0x7feb352du;
    key ^= key >> 15;
    key *= 0x846ca68bu;
    return key ^ key >> 16;
}

extern "C" __global__ void count_keys(const unsigned* in, unsigned* keys, unsigned* counts, unsigned capacity, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const unsigned key = in[i];
    for (unsigned slot = hash(key) & (capacity - 1);; slot = (slot + 1) & (capacity - 1)) {
        const unsigned found = atomicCAS(&keys[slot], EMPTY, key);
        if (found == EMPTY || found == key) {
            atomicAdd(&counts[slot], 1u);
            return;
        }
    }
}

extern "C" __global__ void look_up(const unsigned* wanted, const unsigned* keys, const unsigned* counts, unsigned* out,
                                   unsigned capacity, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned slot = hash(wanted[i]) & (capacity - 1);
    while (keys[slot] != EMPTY && keys[slot] != wanted[i]) slot = (slot + 1) & (capacity - 1);
    out[i] = keys[slot] == EMPTY ? 0 : counts[slot];
}
