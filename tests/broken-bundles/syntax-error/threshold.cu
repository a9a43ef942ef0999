extern "C" __global__ void threshold(const float *x, unsigned char *mask, float at, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x
    if (i < n) mask[i] = x[i] > at;
}
