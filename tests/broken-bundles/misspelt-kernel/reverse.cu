extern "C" __global__ void reverse(const long long *x, long long *z, unsigned n) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) z[n - 1 - i] = x[i];
}
