extern "C" void clamp_all(int *x, int low, int high, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] = min(max(x[i], low), high);
}
