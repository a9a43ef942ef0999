extern "C" __global__ void maxima(const int *x, int *z, int n, int tile) {
    int first = blockIdx.x * tile, found = x[first];
    for (int i = first; i < min(first + tile, n); ++i) found = max(found, x[i]);
    z[blockIdx.x] = found;
}
