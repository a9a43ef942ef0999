// Headers of the C and C++ libraries that kernels include: on a GPU they are the pool's own, in part.

#include <assert.h>
#include <cooperative_groups.h>
#include <cuda_runtime.h>
#include <math.h>
#include <math_constants.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <cassert>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

// After <stdint.h>, some of whose types CUDA's headers for this define themselves.
#include <cooperative_groups/memcpy_async.h>

template <typename T>
__device__ std::enable_if_t<std::is_floating_point_v<T>, T> halved(T x) {
    return x / 2;
}

template <typename T>
__device__ std::enable_if_t<std::is_integral_v<T>, T> halved(T x) {
    return x >> 1;
}

extern "C" __global__ void whole(uint64_t* out, const std::int32_t* in) {
    assert(in != nullptr);
    uint8_t bytes[8];
    memcpy(bytes, in, sizeof bytes);
    int row = 0;
    out[row++] = UINT64_MAX;
    out[row++] = (uint64_t)INT64_MIN;
    out[row++] = INT_MAX - (long long)INT_MIN;
    out[row++] = SIZE_MAX;
    out[row++] = std::numeric_limits<uint32_t>::max() + (uint64_t)std::numeric_limits<int>::max();
    out[row++] = (uint64_t)std::numeric_limits<short>::lowest();
    out[row++] = std::max(std::min(in[0], 5), in[1]);
    out[row++] = bytes[4] + 256 * bytes[0];
    out[row++] = std::abs(in[2]) + halved(9);
    out[row++] = std::is_same_v<std::conditional_t<(sizeof(std::size_t) > 4), int, float>, int>;
    out[row++] = std::is_signed<float>::value + 2 * std::is_unsigned_v<unsigned char> + 4 * std::is_pointer_v<int*>;
    int first = 1, second = 2;
    std::swap(first, second);
    out[row++] = first * 10 + second;
    out[row++] = offsetof(uint4, z) + CHAR_BIT;
}

// What each of 64 threads finds in the other half of its block's copy, and all of them count.
extern "C" __global__ void together(uint64_t* out, const uint64_t* in, std::uintptr_t* sum, int64_t* most) {
    __shared__ uint64_t part[64];
    const auto block = cooperative_groups::this_thread_block();
    cooperative_groups::memcpy_async(block, part, in, sizeof part);
    cooperative_groups::wait(block);
    out[threadIdx.x] = part[threadIdx.x ^ 32];
    atomicAdd(sum, part[threadIdx.x]);
    atomicMax(most, static_cast<int64_t>(part[threadIdx.x]));
}

extern "C" __global__ void floating(double* out, float x) {
    int row = 0;
    out[row++] = M_PI;
    out[row++] = M_SQRT2;
    out[row++] = FLT_MAX;
    out[row++] = DBL_EPSILON;
    out[row++] = INFINITY;
    out[row++] = isnan(NAN);
    out[row++] = CUDART_PI;
    out[row++] = std::sqrt(x) + std::fabs(-x) + std::pow(x, 2.0f) + std::max(x, 2.5f);
    out[row++] = std::numeric_limits<float>::infinity();
    out[row++] = std::numeric_limits<double>::lowest();
    out[row++] = halved(x) + std::isfinite(x);
    out[row++] = std::numeric_limits<float>::epsilon() + std::clamp(x, 5.0f, 6.0f);
}
