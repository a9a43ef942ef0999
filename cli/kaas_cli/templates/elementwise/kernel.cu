extern "C" __global__ void KERNEL(float scale, const float *x, float *z, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) z[i] = scale * x[i];
}
