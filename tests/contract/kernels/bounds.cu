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

// What functions of the C library write through a pointer.
extern "C" __global__ void frexp_float(int* to, int at) { frexpf(at, to + at); }

extern "C" __global__ void frexp_double(int* to, int at) { frexp(1.0 * at, to + at); }

extern "C" __global__ void modf_float(float* to, int at) { modff(at, to + at); }

extern "C" __global__ void modf_double(double* to, int at) { modf(to[0], to + at); }

extern "C" __global__ void remquo_float(int* to, int at) { remquof(at, 3, to + at); }

extern "C" __global__ void remquo_double(int* to, int at) { remquo(1.0 * at, 3.0, to + at); }

extern "C" __global__ void sincos_float(float* to, int at) { sincosf(to[0], to, to + at); }

extern "C" __global__ void sincos_double(double* to, int at) { sincos(to[0], to + at, to); }

extern "C" __global__ void sincospi_float(float* to, int at) { sincospif(to[0], to + at, to); }

extern "C" __global__ void sincospi_double(double* to, int at) { sincospi(to[0], to, to + at); }

extern "C" __global__ void length_float(float* to, int count) { to[0] = normf(count, to); }

// What printf reads; it prints blanks at most. The last writes.
extern "C" __global__ void print_text(char* text, int at) {
    text[0] = 0;
    printf("%2c%-1s", ' ', text + at);  // here
}

extern "C" __global__ void print_part(char* text, int count) {
    text[0] = text[1] = text[2] = ' ';
    printf("%*s%.*s", 2, " ", count, text);  // here
}

extern "C" __global__ void print_as(char* format, int at) {
    format[0] = 0;
    printf(format + at);  // here
}

extern "C" __global__ void print_count(short* to, int at) { printf("%hn", to + at); }

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
