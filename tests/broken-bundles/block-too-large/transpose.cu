extern "C" __global__ void transpose(const double *x, double *z, int rows, int columns) {
    int column = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y * blockDim.y + threadIdx.y;
    if (row < rows && column < columns) z[column * rows + row] = x[row * columns + column];
}
