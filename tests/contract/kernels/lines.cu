// Kernels of which one line goes over the end of a buffer of 32 bytes, the one whose number is their argument. The
// compiler may want to move it, to do it once for several lines, or to put it in place of a call.
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cuda_fp16.h>

#define HERE (n == __LINE__)
#define AT (HERE ? 8 : 4)
#define AS(type) (reinterpret_cast<type*>(x + AT))

struct Three {
    float x, y, z;
};

extern "C" __global__ void in_turn(float* x, int n) {
    const auto block = cooperative_groups::this_thread_block();
    x[0] = x[AT];
    x[AT] = 1;
    x[AT] += 2;
    x[2] = fmaf(x[3], x[AT], x[4]);
    x[1] = __ldg(x + AT);
    x[0] = __ldcs(AS(float4)).w;
    __stcg(x + AT, x[0]);
    x[0] = x[AT] + x[1];
    atomicAdd(x + AT, 1.0f);
    atomicAdd(AS(half), __float2half(1));
    atomicAdd(AS(half2), __float2half2_rn(1));
    atomicAdd(AS(double), 1.0);
    atomicInc(AS(unsigned), 5);
    atomicCAS(AS(unsigned), 1u, 2u);
    atomicMax(AS(int), 3);
    *AS(float4) = make_float4(1, 2, 3, 4);
    *reinterpret_cast<Three*>(x) = *AS(Three);
    *AS(half2) = __float2half2_rn(x[0]);
    x[0] = normf(2, x + AT - 1);
    x[1] = frexpf(x[0], AS(int));
    x[1] = modff(x[0], x + AT);
    sincosf(x[0], x + 1, x + AT);
    sincospif(x[0], x + AT, x + 1);
    memcpy(x + AT, x, 4);
    cooperative_groups::memcpy_async(block, x + AT, x, 4);
    __match_all_sync(1, 1, AS(int));
    x[0] = cyl_bessel_i0f(x[AT]);
}

extern "C" __global__ void in_loop(float* x, int n) {
    for (int i = 0; i < 2; ++i) {
        x[0] = x[AT + i];
        x[1] = __ldg(x + AT);
        x[3] += x[AT] * x[2];
        atomicAdd(x + AT, 1.0f);
        atomicMin(AS(unsigned), 5u);
        sincospif(x[0], x + AT, x + 1);
        x[0] = rnormf(2, x + AT);
    }
}

// The same on several lines, of which one is done.
extern "C" __global__ void in_branches(float* x, int n) {
    if (HERE) x[0] = x[8];
    if (HERE) x[8] = x[0];
    if (HERE) x[0] = __ldg(x + 8);
    if (HERE) x[8] = 1;
    if (HERE) x[0] = __ldg(x + 8);
    if (HERE) x[0] = x[8];
    if (HERE) atomicAdd(x + 8, 1.0f);
    if (HERE) x[8] = 1;
    if (HERE) x[8] = x[0];
    if (HERE) atomicAdd(x + 8, 1.0f);
    if (HERE) x[0] = normf(9, x);
    if (HERE) x[0] = normf(9, x);
}
