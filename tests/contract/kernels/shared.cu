// Kernels whose threads share memory and wait for each other.

#define TILE 16

extern "C" __global__ void sgemm(const float* a, const float* b, float* c, int n) {
    __shared__ float left[TILE][TILE], right[TILE][TILE];
    const int column = blockIdx.x * TILE + threadIdx.x, row = blockIdx.y * TILE + threadIdx.y;
    float sum = 0;
    for (int tile = 0; tile < (n + TILE - 1) / TILE; ++tile) {
        const int k = tile * TILE;
        left[threadIdx.y][threadIdx.x] = row < n && k + threadIdx.x < n ? a[row * n + k + threadIdx.x] : 0.0f;
        right[threadIdx.y][threadIdx.x] = k + threadIdx.y < n && column < n ? b[(k + threadIdx.y) * n + column] : 0.0f;
        __syncthreads();
        for (int i = 0; i < TILE; ++i) sum += left[threadIdx.y][i] * right[i][threadIdx.x];
        __syncthreads();
    }
    if (row < n && column < n) c[row * n + column] = sum;
}

// One step over a line, the neighbours through dynamic shared memory.
extern "C" __global__ void relax(const float* in, float* out, int n) {
    extern __shared__ float line[];
    const int i = blockIdx.x * blockDim.x + threadIdx.x, at = threadIdx.x + 1;
    line[at] = i < n ? in[i] : 0.0f;
    if (threadIdx.x == 0) line[0] = i > 0 ? in[i - 1] : 0.0f;
    if (threadIdx.x == blockDim.x - 1) line[at + 1] = i + 1 < n ? in[i + 1] : 0.0f;
    __syncthreads();
    if (i < n) out[i] = 0.25f * line[at - 1] + 0.5f * line[at] + 0.25f * line[at + 1];
}

extern "C" __global__ void block_sums(const int* in, int* out, int n) {
    extern __shared__ __align__(16) unsigned char bytes[];
    int* sums = reinterpret_cast<int*>(bytes);
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    sums[threadIdx.x] = i < n ? in[i] : 0;
    __syncthreads();
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) out[blockIdx.x] = sums[0];
}

extern "C" __global__ void histogram(const unsigned char* in, unsigned* bins, int n) {
    __shared__ unsigned local[256];
    for (unsigned bin = threadIdx.x; bin < 256; bin += blockDim.x) local[bin] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&local[in[i]], 1u);
    __syncthreads();
    for (unsigned bin = threadIdx.x; bin < 256; bin += blockDim.x) atomicAdd(&bins[bin], local[bin]);
}

// Threads that end before the barrier do not hold up the others.
extern "C" __global__ void early_return(int* out, unsigned most) {
    __shared__ int last;
    if (threadIdx.x >= most) return;
    if (threadIdx.x == most - 1) last = 41;
    __syncthreads();
    if (threadIdx.x % 2) return;
    out[threadIdx.x] = last + 1;
}

extern "C" __global__ void transpose(const float* in, float* out, int width, int height) {
    __shared__ float tile[TILE][TILE + 1];
    int x = blockIdx.x * TILE + threadIdx.x, y = blockIdx.y * TILE + threadIdx.y;
    if (x < width && y < height) tile[threadIdx.y][threadIdx.x] = in[y * width + x];
    __syncthreads();
    x = blockIdx.y * TILE + threadIdx.x;
    y = blockIdx.x * TILE + threadIdx.y;
    if (x < height && y < width) out[y * height + x] = tile[threadIdx.x][threadIdx.y];
}

__device__ int* shared_counter() {
    __shared__ int counter;
    return &counter;
}

// Shared memory of a device function, and barriers below the kernel.
__device__ void wait_for_all() { __syncthreads(); }

extern "C" __global__ void through_functions(int* out) {
    if (threadIdx.x == 0) *shared_counter() = 0;
    wait_for_all();
    atomicAdd(shared_counter(), 1);
    wait_for_all();
    out[blockIdx.x * blockDim.x + threadIdx.x] = *shared_counter();
}

extern "C" __global__ void barrier_votes(const int* in, int* out) {
    const int value = in[threadIdx.x];
    const int count = __syncthreads_count(value > 0);
    const int all = __syncthreads_and(value > 0);
    const int any = __syncthreads_or(value > 0);
    out[threadIdx.x] = count * 100 + all * 10 + any;
}
