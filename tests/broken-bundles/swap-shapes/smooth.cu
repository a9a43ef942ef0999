extern "C" __global__ void smooth(const float *x, float *next, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float left = x[i > 0 ? i - 1 : i], right = x[i < n - 1 ? i + 1 : i];
    next[i] = 0.25f * left + 0.5f * x[i] + 0.25f * right;
}
