extern "C" __global__ void points(const double *step, double *points, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) points[i] = i * *step;
}
