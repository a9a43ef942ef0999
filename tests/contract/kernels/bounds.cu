// Kernels that go over the ends of their buffers by as little as their arguments say.
#include <cuda_fp16.h>

struct Body {
    float mass, place[8];
};

extern "C" __global__ void read_byte(const char* from, char* to, int at) { *to = from[at]; }

extern "C" __global__ void write_byte(char* to, int at) { to[at] = 1; }

extern "C" __global__ void read_half(const half* from, half* to, int at) { *to = from[at]; }

extern "C" __global__ void write_float(float* to, int at) { to[at] = 1; }

extern "C" __global__ void write_double(double* to, int at) { to[at] = 1; }

extern "C" __global__ void read_vector(const float4* from, float4* to, int at) { *to = from[at]; }

extern "C" __global__ void write_vector(float4* to, int at) { to[at] = make_float4(1, 2, 3, 4); }

extern "C" __global__ void copy_body(const Body* from, Body* to, int at) { *to = from[at]; }

extern "C" __global__ void copy_bytes(const char* from, char* to, int count) { memcpy(to, from, count); }

extern "C" __global__ void copy_twelve(const char* from, char* to, int at) { memcpy(to, from + at, 12); }

extern "C" __global__ void fill_bytes(char* to, int count) { memset(to, 0, count); }

extern "C" __global__ void add_int(int* to, int at) { atomicAdd(to + at, 1); }

extern "C" __global__ void add_float(float* to, int at) { atomicAdd(to + at, 1.0f); }

extern "C" __global__ void swap_long(unsigned long long* to, int at) { atomicCAS(to + at, 0ull, 1ull); }

extern "C" __global__ void add_half(half* to, int at) { atomicAdd(to + at, __float2half(1)); }

extern "C" __global__ void load_once(const float* from, float* to, int at) { *to = __ldg(from + at); }

__device__ void scale_all(float* values, int n) {
    for (int i = threadIdx.x + blockIdx.x * blockDim.x; i <= n; i += blockDim.x * gridDim.x)
        values[i] *= 2;  // here
}

extern "C" __global__ void scale(float* values, int n) { scale_all(values, n); }

extern "C" __global__ void after_wait(float* values, int n) {
    __shared__ float all[64];
    all[threadIdx.x] = threadIdx.x;
    __syncthreads();
    if (threadIdx.x == 5) values[n] = all[63 - threadIdx.x];  // here
}

// What the loop over the threads could move out of itself.
extern "C" __global__ void write_fixed(float* to, int) { to[5] = 1; }

extern "C" __global__ void write_both(float* to, int) { to[0] = 1, to[4] = 2; }

extern "C" __global__ void write_five(float* to, int) { for (int i = 0; i < 5; ++i) to[i] = i; }

extern "C" __global__ void add_often(float* to, int at) {
    for (int i = 0; i < at; ++i)
        to[at] += 1;  // here
}

__constant__ float weights[3] = {1, 2, 4};
__device__ int counter;

// Everything that is memory and no buffer: static and dynamic shared memory, constants, variables, local arrays.
extern "C" __global__ void use_everything(float* out, int n) {
    extern __shared__ float part[];
    __shared__ float whole[32];
    float own[8];
    for (int i = 0; i < 8; ++i) own[(i + threadIdx.x) % 8] = i;
    part[threadIdx.x] = own[threadIdx.x % 8];
    whole[threadIdx.x] = weights[threadIdx.x % 3];
    atomicAdd(&counter, 1);
    __syncthreads();
    memcpy(&own[0], &whole[threadIdx.x / 8 * 8], sizeof own);
    if (threadIdx.x < n) out[threadIdx.x] = part[31 - threadIdx.x] + own[threadIdx.x % 8] * 8 + (counter > 0);
}
