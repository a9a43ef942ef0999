extern "C" __global__ void pick(const float *x, float *z, int every, int kept) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < kept) z[i] = x[i * every];
}
