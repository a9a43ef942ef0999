__device__ int clamp_index(int i, int last) { return i < 0 ? 0 : i > last ? last : i; }

extern "C" __global__ void blur_rows(const unsigned char *image, float *rows, int width, int height, int radius) {
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    float sum = 0.0f;
    for (int d = -radius; d <= radius; ++d) sum += image[(size_t)y * width + clamp_index(x + d, width - 1)];
    rows[(size_t)y * width + x] = sum / (2 * radius + 1);
}

extern "C" __global__ void blur_columns(const float *rows, unsigned char *blurred, int width, int height, int radius) {
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    float sum = 0.0f;
    for (int d = -radius; d <= radius; ++d) sum += rows[(size_t)clamp_index(y + d, height - 1) * width + x];
    blurred[(size_t)y * width + x] = (unsigned char)(sum / (2 * radius + 1) + 0.5f);
}
