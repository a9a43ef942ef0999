// Every kernel has one thread per pixel.
static __device__ bool pixel(int width, int height, int &x, int &y) {
    x = blockIdx.x * blockDim.x + threadIdx.x;
    y = blockIdx.y * blockDim.y + threadIdx.y;
    return x < width && y < height;
}

extern "C" __global__ void KERNEL_grey(const unsigned char *image, float *grey, int width, int height) {
    int x, y;
    if (!pixel(width, height, x, y)) return;
    size_t at = (size_t)y * width + x;
    grey[at] = 0.299f * image[3 * at] + 0.587f * image[3 * at + 1] + 0.114f * image[3 * at + 2];
}

// Sobel's operator; the image's edge repeats. `peak` becomes the largest strength: the bits of floats that are not
// negative are in the order of the floats.
extern "C" __global__ void KERNEL_strength(const float *grey, float *strength, unsigned int *peak, int width,
                                           int height) {
    int x, y;
    if (!pixel(width, height, x, y)) return;
    float window[3][3];
    for (int dy = -1; dy <= 1; ++dy)
        for (int dx = -1; dx <= 1; ++dx) {
            int column = min(max(x + dx, 0), width - 1), row = min(max(y + dy, 0), height - 1);
            window[dy + 1][dx + 1] = grey[(size_t)row * width + column];
        }
    float across = window[0][2] + 2 * window[1][2] + window[2][2] - window[0][0] - 2 * window[1][0] - window[2][0];
    float down = window[2][0] + 2 * window[2][1] + window[2][2] - window[0][0] - 2 * window[0][1] - window[0][2];
    float length = sqrtf(across * across + down * down);
    strength[(size_t)y * width + x] = length;
    atomicMax(peak, __float_as_uint(length));
}

extern "C" __global__ void KERNEL_scale(const float *strength, const unsigned int *peak, unsigned char *edges,
                                        int width, int height) {
    int x, y;
    if (!pixel(width, height, x, y)) return;
    size_t at = (size_t)y * width + x;
    float most = __uint_as_float(peak[0]);
    edges[at] = most > 0 ? (unsigned char)(255.0f * strength[at] / most + 0.5f) : 0;
}
