extern "C" __global__ void doubled(const float *x, float *z) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    z[i] = x[i] + x[i];
}
