// Kernels whose threads never wait for each other.

extern "C" __global__ void saxpy(float a, const float* __restrict__ x, const float* y, float* z, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) z[i] = a * x[i] + y[i];
}

// Every index that there is, from a launch of three dimensions.
extern "C" __global__ void indices(unsigned* out) {
    const unsigned x = blockIdx.x * blockDim.x + threadIdx.x;
    const unsigned y = blockIdx.y * blockDim.y + threadIdx.y;
    const unsigned z = blockIdx.z * blockDim.z + threadIdx.z;
    const unsigned width = gridDim.x * blockDim.x, height = gridDim.y * blockDim.y;
    out[(z * height + y) * width + x] = x + 1000 * y + 1000000 * z;
}

extern "C" __global__ void __launch_bounds__(128) grid_stride(double* values, unsigned long long n) {
    const unsigned long long step = (unsigned long long)gridDim.x * blockDim.x;
    for (unsigned long long i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) values[i] = 2 * values[i] + i;
}

// Arguments of every size, so that each must be found at its own alignment.
extern "C" __global__ void mixed_arguments(char a, double b, short c, const int* d, bool e, float4 f, unsigned char g,
                                           long long h, double* out) {
    out[0] = a;
    out[1] = b;
    out[2] = c;
    out[3] = *d;
    out[4] = e;
    out[5] = f.x + 10 * f.y + 100 * f.z + 1000 * f.w;
    out[6] = g;
    out[7] = (double)h;
}

struct Pair {
    int first;
    double second;
};

extern "C" __global__ void pair_argument(Pair pair, double* out) { *out = pair.first + pair.second; }

__device__ __noinline__ unsigned fibonacci(unsigned n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

extern "C" __global__ void recursive(unsigned* out) { out[threadIdx.x] = fibonacci(threadIdx.x); }

extern "C" __global__ void transpose4(const float4* in, float4* out) {
    // Four rows of four per thread, as vectors.
    const unsigned i = (blockIdx.x * blockDim.x + threadIdx.x) * 4;
    const float4 a = in[i], b = in[i + 1], c = in[i + 2], d = in[i + 3];
    out[i] = make_float4(a.x, b.x, c.x, d.x);
    out[i + 1] = make_float4(a.y, b.y, c.y, d.y);
    out[i + 2] = make_float4(a.z, b.z, c.z, d.z);
    out[i + 3] = make_float4(a.w, b.w, c.w, d.w);
}

extern "C" __global__ void gray(const uchar4* pixels, unsigned char* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const uchar4 p = pixels[i];
    out[i] = (unsigned char)((p.x * 77 + p.y * 151 + p.z * 28) >> 8);
}

namespace numbers {

template <typename T, int times>
__global__ void repeat_add(const T* in, T* out) {
    T sum = 0;
    for (int round = 0; round < times; ++round) sum += in[threadIdx.x];
    out[threadIdx.x] = sum;
}

__global__ void negate(int* values) { values[threadIdx.x] = -values[threadIdx.x]; }

}  // namespace numbers
