// Small stages for several streams: make a part, change it, join the parts.

extern "C" __global__ void make_part(unsigned* part, unsigned seed, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) part[i] = seed * 2654435761u + i;
}

extern "C" __global__ void mix(const unsigned* in, unsigned* out, int rounds, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned value = in[i];
    for (int round = 0; round < rounds; ++round) value = (value ^ (value >> 13)) * 1274126177u + round;
    out[i] = value;
}

extern "C" __global__ void join_parts(const unsigned* parts, unsigned* out, int count, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned value = 0;
    for (int part = 0; part < count; ++part) value = value * 31u + parts[part * n + i];
    out[i] = value;
}
