#include "pixels.cuh"

// Adds detail, which is what blurring takes away, in proportion to the gradient. `where`, if it is not null, scales the
// amount pixel by pixel.
extern "C" __global__ void sharpen(const unsigned short *image, const float *across, const float *down,
                                   const float *blurred, const float *where, unsigned short *sharp, float amount,
                                   int width, int height) {
    int x = pixel_x(), y = pixel_y();
    if (x >= width || y >= height) return;
    size_t i = (size_t)y * width + x;
    float strength = fminf(hypotf(across[i], down[i]) / 65535.0f, 1.0f);
    if (where) strength *= where[i];
    float value = image[i] + amount * strength * (image[i] - blurred[i]);
    sharp[i] = (unsigned short)fminf(fmaxf(value + 0.5f, 0.0f), 65535.0f);
}
