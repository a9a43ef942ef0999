extern "C" __global__ void roots(const float *x, float *z, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) z[i] = sqrtf(x[i]);
}
