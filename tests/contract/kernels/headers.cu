// Headers of the C and C++ libraries that kernels include: on a GPU they are the pool's own, in part.

#include <assert.h>
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
