// Half precision: row r of the output is function r of the inputs.

#include <cuda_fp16.h>

extern "C" __global__ void of_one(const half* in, half* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const half x = in[i];
    int row = 0;
    auto put = [&](half value) { out[row++ * n + i] = value; };
    put(-x);
    put(__hneg(x));
    put(__habs(x));
    put(hsqrt(x));
    put(hceil(x));
    put(hfloor(x));
    put(htrunc(x));
    put(hrint(x));
    put(__float2half(__half2float(x) * 0.3f));
    put(__double2half((double)__half2float(x) * 0.3));
}

// A GPU approximates these.
extern "C" __global__ void approximations(const half* in, half* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const half x = in[i];
    int row = 0;
    auto put = [&](half value) { out[row++ * n + i] = value; };
    put(hexp(x));
    put(hexp2(x));
    put(hexp10(x));
    put(hlog(x));
    put(hlog2(x));
    put(hlog10(x));
    put(hsin(x));
    put(hcos(x));
    put(hrcp(x));
    put(hrsqrt(x));
}

extern "C" __global__ void of_two(const half* a, const half* b, half* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const half x = a[i], y = b[i];
    int row = 0;
    auto put = [&](half value) { out[row++ * n + i] = value; };
    put(x + y);
    put(x - y);
    put(x * y);
    put(x / y);
    put(__hadd_rn(x, y));
    put(__hmul_rn(x, y));
    put(__hadd_sat(x, y));
    put(__hfma(x, y, x));
    put(__hfma(x, x, y));
    put(__hfma_relu(x, y, x));
    put(__hmax(x, y));
    put(__hmin(x, y));
    half sum = x;
    sum += y;
    sum *= y;
    put(sum);
    half count = x;
    ++count;
    put(count--);
    put(count);
}

extern "C" __global__ void comparisons(const half* a, const half* b, unsigned* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const half x = a[i], y = b[i];
    const bool all[] = {x == y, x != y, x < y, x <= y, x > y, x >= y, __heq(x, y), __hne(x, y), __hlt(x, y),
                        __hle(x, y), __hgt(x, y), __hge(x, y), __hequ(x, y), __hneu(x, y), __hltu(x, y), __hleu(x, y),
                        __hgtu(x, y), __hgeu(x, y), __hisnan(x), __hisinf(x) == 1, __hisinf(x) == -1, (bool)x};
    unsigned bits = 0;
    for (int bit = 0; bit < 22; ++bit) bits |= (unsigned)all[bit] << bit;
    out[i] = bits;
}

extern "C" __global__ void roundings(const float* in, half* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float x = in[i];
    out[i] = __float2half_rn(x);
    out[n + i] = __float2half_rz(x);
    out[2 * n + i] = __float2half_rd(x);
    out[3 * n + i] = __float2half_ru(x);
    out[4 * n + i] = x;
}

extern "C" __global__ void doubles(const double* in, half* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = __double2half(in[i]);
}

extern "C" __global__ void whole_numbers(const half* in, long long* out, const long long* whole, half* halves, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const half x = in[i];
    int row = 0;
    auto put = [&](long long value) { out[row++ * n + i] = value; };
    put(__half2int_rn(x));
    put(__half2int_rz(x));
    put(__half2int_rd(x));
    put(__half2int_ru(x));
    put(__half2short_rz(x));
    put(__half2ushort_rn(x));
    put(__half2uint_rz(x));
    put(__half2ll_rz(x));
    put((int)x);
    put(__half_as_ushort(x));
    halves[i] = __int2half_rn((int)whole[i]);
    halves[n + i] = __ll2half_rn(whole[i]);
    halves[2 * n + i] = __uint2half_rz((unsigned)whole[i]);
    halves[3 * n + i] = __int2half_rd((int)whole[i]);
    halves[4 * n + i] = (half)(int)whole[i];
}

extern "C" __global__ void pairs(const half2* a, const half2* b, half2* out, unsigned* masks, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const half2 x = a[i], y = b[i];
    int row = 0;
    auto put = [&](half2 value) { out[row++ * n + i] = value; };
    put(__hadd2(x, y));
    put(x - y);
    put(__hmul2(x, y));
    put(__h2div(x, y));
    put(__hfma2(x, y, x));
    put(__hmax2(x, y));
    put(h2sqrt(__habs2(x)));
    put(__lowhigh2highlow(x));
    put(__halves2half2(__high2half(y), __low2half(x)));
    put(__floats2half2_rn(__low2float(x), __high2float(y)));
    put(__float22half2_rn(__half22float2(x)));
    put(__float2half2_rn(0.1f));
    put(make_half2(x.x, y.y));
    put(__heq2(x, y));
    put(__hcmadd(x, y, y));
    put(__half2half2(x.y));
    masks[i] = __hlt2_mask(x, y) ^ (unsigned)__hbge2(x, y);
}

// A dot product over warps, in half and by pairs, to shared memory and out by an atomic.
extern "C" __global__ void dot(const half2* a, const half2* b, half* sums, float* total) {
    __shared__ half of_warps[32];
    extern __shared__ half2 products[];
    const int lane = threadIdx.x % 32, i = blockIdx.x * blockDim.x + threadIdx.x;
    products[threadIdx.x] = __ldg(&a[i]) * b[i];
    __syncthreads();
    half2 pair = products[threadIdx.x ^ 1];
    for (int delta = 16; delta; delta /= 2) pair += __shfl_down_sync(0xffffffff, pair, delta);
    half sum = pair.x + pair.y;
    sum = __shfl_sync(0xffffffff, sum, 0);
    if (lane == 0) of_warps[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x < blockDim.x / 32) {
        sums[blockIdx.x * blockDim.x / 32 + threadIdx.x] = of_warps[threadIdx.x];
        atomicAdd(total, (float)of_warps[threadIdx.x]);
    }
}

extern "C" __global__ void count(half* one, half2* two) {
    atomicAdd(one, half(1.0f));
    atomicAdd(two, make_half2(1.0f, 0.5f));
}
