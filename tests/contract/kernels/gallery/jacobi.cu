// Laplace's equation between two buffers that the host swaps, so that no thread reads what another writes.

extern "C" __global__ void jacobi(const double* __restrict__ in, double* __restrict__ out, unsigned long long* change,
                                  int width, int height) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    const int i = y * width + x;
    if (x == 0 || y == 0 || x == width - 1 || y == height - 1) {
        out[i] = in[i];
        return;
    }
    const double value = 0.25 * (in[i - 1] + in[i + 1] + in[i - width] + in[i + width]);
    out[i] = value;
    // The bits of numbers that are not negative are ordered as the numbers are.
    atomicMax(change, static_cast<unsigned long long>(__double_as_longlong(fabs(value - in[i]))));
}
