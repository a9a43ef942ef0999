extern "C" __global__ void logarithm(float *x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] = logf(x[i]);
}
