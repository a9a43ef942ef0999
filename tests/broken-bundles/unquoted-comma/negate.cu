extern "C" __global__ void negate(const int *x, int *z, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) z[i] = -x[i];
}
