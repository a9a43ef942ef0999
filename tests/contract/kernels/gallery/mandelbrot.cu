// The Mandelbrot set in fixed point with 28 binary places, so that every device counts the same rounds.

extern "C" __global__ void mandelbrot(unsigned short* rounds, int width, int height, int left, int top, int step,
                                      int most) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    const long long cx = left + static_cast<long long>(x) * step, cy = top + static_cast<long long>(y) * step;
    long long zx = 0, zy = 0;
    int round = 0;
    while (round < most) {
        const long long xx = zx * zx >> 28, yy = zy * zy >> 28;
        if (xx + yy > 4ll << 28) break;
        zy = (zx * zy >> 27) + cy;
        zx = xx - yy + cx;
        ++round;
    }
    rounds[y * width + x] = static_cast<unsigned short>(round);
}
