// Mathematical functions that CUDA has beyond those of <math.h>.
#pragma once

#include <type_traits>
#include <utility>

namespace kaas_device {

// Two whole numbers or two floating ones, as CUDA's overloads have it: a mixture is ambiguous there.
template <class A, class B>
using Common = std::enable_if_t<(std::is_integral_v<A> && std::is_integral_v<B>) ||
                                    (std::is_floating_point_v<A> && std::is_floating_point_v<B>),
                                decltype(A() + B())>;

constexpr double pi = 3.14159265358979323846;

}  // namespace kaas_device

// Of a number and a NaN, CUDA's min() and max() answer the number.
template <class A, class B>
static inline kaas_device::Common<A, B> min(A a, B b) {
    using T = decltype(a + b);
    if constexpr (std::is_same_v<T, float>) return fminf(a, b);
    else if constexpr (std::is_floating_point_v<T>) return fmin(a, b);
    else return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(a) : static_cast<T>(b);
}

template <class A, class B>
static inline kaas_device::Common<A, B> max(A a, B b) {
    using T = decltype(a + b);
    if constexpr (std::is_same_v<T, float>) return fmaxf(a, b);
    else if constexpr (std::is_floating_point_v<T>) return fmax(a, b);
    else return static_cast<T>(a) > static_cast<T>(b) ? static_cast<T>(a) : static_cast<T>(b);
}

static inline unsigned umin(unsigned a, unsigned b) { return a < b ? a : b; }
static inline unsigned umax(unsigned a, unsigned b) { return a > b ? a : b; }
static inline long long llmin(long long a, long long b) { return a < b ? a : b; }
static inline long long llmax(long long a, long long b) { return a > b ? a : b; }
static inline unsigned long long ullmin(unsigned long long a, unsigned long long b) { return a < b ? a : b; }
static inline unsigned long long ullmax(unsigned long long a, unsigned long long b) { return a > b ? a : b; }

// C23 has functions of these names, too, and C libraries declare them: glibc from 2.41 and, of rsqrt, from 2.42.
#define cospi cuda_cospi
#define cospif cuda_cospif
#define rsqrt cuda_rsqrt
#define rsqrtf cuda_rsqrtf
#define sinpi cuda_sinpi
#define sinpif cuda_sinpif

static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / sqrt(x); }
static inline float rsqrt(float x) { return rsqrtf(x); }
static inline float rcbrtf(float x) { return 1.0f / cbrtf(x); }
static inline double rcbrt(double x) { return 1.0 / cbrt(x); }

// The argument is brought into [-1, 1] first, so that large ones stay exact.
static inline double sinpi(double x) { return sin(kaas_device::pi * remainder(x, 2.0)); }
static inline double cospi(double x) { return cos(kaas_device::pi * remainder(x, 2.0)); }
static inline float sinpif(float x) { return static_cast<float>(sinpi(x)); }
static inline float cospif(float x) { return static_cast<float>(cospi(x)); }
static __forceinline__ void sincospi(double x, double* s, double* c) { *s = sinpi(x), *c = cospi(x); }
static __forceinline__ void sincospif(float x, float* s, float* c) { *s = sinpif(x), *c = cospif(x); }

static inline float normcdff(float x) { return static_cast<float>(0.5 * erfc(-double{x} * M_SQRT1_2)); }
static inline double normcdf(double x) { return 0.5 * erfc(-x * M_SQRT1_2); }

static inline float norm3df(float x, float y, float z) { return sqrtf(x * x + y * y + z * z); }
static inline double norm3d(double x, double y, double z) { return sqrt(x * x + y * y + z * z); }
static inline float norm4df(float x, float y, float z, float w) { return sqrtf(x * x + y * y + z * z + w * w); }
static inline double norm4d(double x, double y, double z, double w) { return sqrt(x * x + y * y + z * z + w * w); }
static inline float rhypotf(float x, float y) { return 1.0f / hypotf(x, y); }
static inline double rhypot(double x, double y) { return 1.0 / hypot(x, y); }
static inline float rnorm3df(float x, float y, float z) { return 1.0f / norm3df(x, y, z); }
static inline double rnorm3d(double x, double y, double z) { return 1.0 / norm3d(x, y, z); }
static inline float rnorm4df(float x, float y, float z, float w) { return 1.0f / norm4df(x, y, z, w); }
static inline double rnorm4d(double x, double y, double z, double w) { return 1.0 / norm4d(x, y, z, w); }
static inline float fdividef(float a, float b) { return a / b; }
static inline double fdivide(double a, double b) { return a / b; }

// What is overloaded for float in CUDA.
static inline float rcbrt(float x) { return rcbrtf(x); }
static inline float sinpi(float x) { return sinpif(x); }
static inline float cospi(float x) { return cospif(x); }
static __forceinline__ void sincospi(float x, float* s, float* c) { sincospif(x, s, c); }
static inline float normcdf(float x) { return normcdff(x); }
static inline float norm3d(float x, float y, float z) { return norm3df(x, y, z); }
static inline float norm4d(float x, float y, float z, float w) { return norm4df(x, y, z, w); }
static inline float rhypot(float x, float y) { return rhypotf(x, y); }
static inline float rnorm3d(float x, float y, float z) { return rnorm3df(x, y, z); }
static inline float rnorm4d(float x, float y, float z, float w) { return rnorm4df(x, y, z, w); }
static __forceinline__ void sincos(float x, float* s, float* c) { sincosf(x, s, c); }
