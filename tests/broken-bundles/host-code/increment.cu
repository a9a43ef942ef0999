#include <cstdio>
#include <vector>

__global__ void increment(int *x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] += 1;
}

int main() {
    std::vector<int> x(1000);
    int *d;
    cudaMalloc(&d, x.size() * sizeof(int));
    increment<<<4, 256>>>(d, 1000);
    cudaMemcpy(x.data(), d, x.size() * sizeof(int), cudaMemcpyDeviceToHost);
    printf("%d\n", x[0]);
}
