#pragma once

// A 16-bit image, which beyond its edge goes on as the edge is.
struct Pixels {
    const unsigned short *values;
    int width, height;

    __device__ float at(int x, int y) const {
        x = min(max(x, 0), width - 1);
        y = min(max(y, 0), height - 1);
        return values[(size_t)y * width + x];
    }
};

__device__ inline int pixel_x() { return blockIdx.x * blockDim.x + threadIdx.x; }
__device__ inline int pixel_y() { return blockIdx.y * blockDim.y + threadIdx.y; }
