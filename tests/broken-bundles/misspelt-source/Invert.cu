extern "C" __global__ void invert(unsigned char *x, int height, int width) {
    int column = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y * blockDim.y + threadIdx.y;
    if (row < height && column < width) x[row * width + column] ^= 255;
}
