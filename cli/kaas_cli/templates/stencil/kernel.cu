// One round. Reads only `heat` and writes only `next`, so the order of the blocks does not matter.
extern "C" __global__ void KERNEL(float rate, const float *heat, float *next, int width, int height) {
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    size_t at = (size_t)y * width + x;
    float here = heat[at];
    if (x > 0 && y > 0 && x < width - 1 && y < height - 1)
        here += rate * (heat[at - 1] + heat[at + 1] + heat[at - width] + heat[at + width] - 4 * here);
    next[at] = here;
}
