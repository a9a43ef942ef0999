#include "pixels.cuh"

#ifndef AXIS
#error "AXIS is 0 for the gradient across and 1 for that down"
#endif

// Sobel's gradient along AXIS.
extern "C" __global__ void gradient(const unsigned short *image, float *result, int width, int height) {
    const Pixels pixels = {image, width, height};
    int x = pixel_x(), y = pixel_y();
    if (x >= width || y >= height) return;
    float sum = 0.0f;
    for (int side = -1; side <= 1; ++side) {
        float weight = side == 0 ? 2.0f : 1.0f;
        sum += AXIS == 0 ? weight * (pixels.at(x + 1, y + side) - pixels.at(x - 1, y + side))
                         : weight * (pixels.at(x + side, y + 1) - pixels.at(x + side, y - 1));
    }
    result[(size_t)y * width + x] = sum;
}
