#include "sigmoid.cuh"

extern "C" __global__ void apply(float *x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] = sigmoid(x[i]);
}
