// Where the greatest value is, the first of equal ones: value and place in one word of 64 bits, kept by atomicMax.

// A float's bits as an unsigned number with the same order.
__device__ unsigned ordered(float value) {
    const unsigned bits = __float_as_uint(value);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

extern "C" __global__ void argmax(const float* in, unsigned long long* best, int n) {
    __shared__ unsigned long long of_block;
    if (threadIdx.x == 0) of_block = 0;
    __syncthreads();
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) atomicMax(&of_block, static_cast<unsigned long long>(ordered(in[i])) << 32 | (0xffffffffu - i));
    __syncthreads();
    if (threadIdx.x == 0) atomicMax(best, of_block);
}

extern "C" __global__ void unpack(const unsigned long long* best, float* value, int* place) {
    const unsigned bits = static_cast<unsigned>(*best >> 32);
    *value = __uint_as_float(bits & 0x80000000u ? bits ^ 0x80000000u : ~bits);
    *place = static_cast<int>(0xffffffffu - static_cast<unsigned>(*best));
}
