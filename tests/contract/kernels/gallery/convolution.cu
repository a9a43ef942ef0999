// A convolution of a plane, the filter in constant memory and the image's tile with its halo in shared memory.

#define TILE 16
#define MOST_RADIUS 4
#define MOST_SIDE (2 * MOST_RADIUS + 1)

__constant__ float weights[MOST_SIDE * MOST_SIDE];

// The image is continued by its border.
extern "C" __global__ void convolve(const float* __restrict__ in, float* __restrict__ out, int width, int height,
                                    int radius) {
    __shared__ float tile[TILE + 2 * MOST_RADIUS][TILE + 2 * MOST_RADIUS];
    const int left = blockIdx.x * TILE - radius, top = blockIdx.y * TILE - radius, side = TILE + 2 * radius;
    for (int row = threadIdx.y; row < side; row += TILE) {
        for (int column = threadIdx.x; column < side; column += TILE) {
            const int x = min(max(left + column, 0), width - 1), y = min(max(top + row, 0), height - 1);
            tile[row][column] = in[y * width + x];
        }
    }
    __syncthreads();
    const int x = blockIdx.x * TILE + threadIdx.x, y = blockIdx.y * TILE + threadIdx.y;
    if (x >= width || y >= height) return;
    const int span = 2 * radius + 1;
    float sum = 0.0f;
    for (int row = 0; row < span; ++row) {
        for (int column = 0; column < span; ++column) {
            sum += weights[row * span + column] * tile[threadIdx.y + row][threadIdx.x + column];
        }
    }
    out[y * width + x] = sum;
}
