extern "C" __global__ void blend(const float *x, const float *y, float *z, float t, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) z[i] = x[i] + t * (y[i] - x[i]);
}
