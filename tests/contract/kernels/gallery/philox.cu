// Counter-based random numbers, Philox 4x32 with ten rounds, and what can be estimated with them.

__device__ uint4 philox(uint4 counter, uint2 key) {
    for (int round = 0; round < 10; ++round) {
        const unsigned low0 = 0xD2511F53u * counter.x, high0 = __umulhi(0xD2511F53u, counter.x);
        const unsigned low1 = 0xCD9E8D57u * counter.z, high1 = __umulhi(0xCD9E8D57u, counter.z);
        counter = make_uint4(high1 ^ counter.y ^ key.x, low1, high0 ^ counter.w ^ key.y, low0);
        key.x += 0x9E3779B9u;
        key.y += 0xBB67AE85u;
    }
    return counter;
}

extern "C" __global__ void random_words(uint4* out, unsigned long long seed, unsigned long long first, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const unsigned long long at = first + i;
    const uint4 counter = make_uint4(static_cast<unsigned>(at), static_cast<unsigned>(at >> 32), 0u, 0u);
    out[i] = philox(counter, make_uint2(static_cast<unsigned>(seed), static_cast<unsigned>(seed >> 32)));
}

// How many of 2 * n points of the unit square lie in the circle's quarter, counted exactly on a grid of 2**24.
extern "C" __global__ void points_in_circle(unsigned long long* inside, unsigned long long seed, int n) {
    unsigned mine = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        const uint4 word = philox(make_uint4(i, 0u, 0u, 0u),
                                  make_uint2(static_cast<unsigned>(seed), static_cast<unsigned>(seed >> 32)));
        const unsigned long long x0 = word.x >> 8, y0 = word.y >> 8, x1 = word.z >> 8, y1 = word.w >> 8;
        mine += x0 * x0 + y0 * y0 < (1ull << 48);
        mine += x1 * x1 + y1 * y1 < (1ull << 48);
    }
    for (int offset = 16; offset > 0; offset >>= 1) mine += __shfl_down_sync(0xffffffffu, mine, offset);
    if (threadIdx.x % 32 == 0) atomicAdd(inside, static_cast<unsigned long long>(mine));
}
