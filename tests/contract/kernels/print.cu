// printf in kernels.

extern "C" __global__ void hello(int n, float step) {
    const int i = threadIdx.x;
    if (i < n) printf("thread %d of %d: %6.2f %s %c|%5d|%-5u|%llx\n", i, n, i * step, "text", 'a' + i, -i, i, 1ull << 40);
}

extern "C" __global__ void counts(int* out) {
    out[0] = printf("no arguments, 100 %%\n");
    out[1] = printf("%d %f\n", 1, 2.0f);
    out[2] = printf(nullptr);
}

extern "C" __global__ void fill(int lines) {
    for (int line = 0; line < lines; ++line) printf("block %3d thread %3d line %6d\n", blockIdx.x, threadIdx.x, line);
}

extern "C" __global__ void longer_than_a_line() {
    printf("%2000d|\n", 7);
}

extern "C" __global__ void between_barriers(int* order) {
    if (threadIdx.x == 1) printf("first\n");
    __syncthreads();
    if (threadIdx.x == 0) printf("second\n");
}

extern "C" __global__ void before_a_fault(int* null) {
    printf("before\n");
    *null = 1;
}

extern "C" __global__ void of_no_address(const char* text) { printf("%s\n", text); }
