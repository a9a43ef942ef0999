extern "C" __global__ void parity(const unsigned *x, unsigned char *z, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) z[i] = __popc(x[i]) & 1;
}
