#include "pixels.cuh"

// The binomial weights of five by five pixels.
extern "C" __global__ void blur(const unsigned short *image, float *result, int width, int height) {
    const Pixels pixels = {image, width, height};
    const float weights[] = {1.0f / 16, 4.0f / 16, 6.0f / 16, 4.0f / 16, 1.0f / 16};
    int x = pixel_x(), y = pixel_y();
    if (x >= width || y >= height) return;
    float sum = 0.0f;
    for (int dy = 0; dy < 5; ++dy)
        for (int dx = 0; dx < 5; ++dx) sum += weights[dy] * weights[dx] * pixels.at(x + dx - 2, y + dy - 2);
    result[(size_t)y * width + x] = sum;
}
