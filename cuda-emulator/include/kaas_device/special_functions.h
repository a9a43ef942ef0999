// Functions of mathematics that neither C nor C++ has: inverses of the error function, Bessel functions, norms.
#pragma once

namespace kaas_device {

constexpr double two_over_root_pi = 1.12837916709551257390;

// Halley's iteration triples the digits that are right; it starts from more than two.
static inline double inverse_erfc(double z) {
    if (!(z >= 0 && z <= 2)) return __builtin_nan("");
    if (z == 0 || z == 2) return z == 0 ? __builtin_inf() : -__builtin_inf();
    const double tail = z < 1 ? z : 2 - z, t = sqrt(-2 * log(tail / 2));
    // Abramowitz and Stegun, Handbook of Mathematical Functions, 26.2.22.
    double x = M_SQRT1_2 * (t - (2.30753 + t * 0.27061) / (1 + t * (0.99229 + t * 0.04481)));
    for (int round = 0; round < 3; ++round) {
        const double miss = erfc(x) - tail;
        x += miss / (two_over_root_pi * exp(-x * x) - x * miss);
    }
    return z < 1 ? x : -x;
}

static inline double inverse_erf(double y) {
    if (!(y > -0.5 && y < 0.5)) return y < 0 ? -inverse_erfc(1 + y) : inverse_erfc(1 - y);
    double x = y / two_over_root_pi * (1 + pi / 12 * y * y);
    for (int round = 0; round < 3; ++round) {
        const double miss = erf(x) - y;
        x -= miss / (two_over_root_pi * exp(-x * x) + x * miss);
    }
    return x;
}

// The modified Bessel function of the first kind: its series, whose terms are all positive, or beyond 40 the
// asymptotic one, whose terms fall below any digit of the sum before they grow.
template <int order>
static inline double bessel_i(double x) {
    const double size = fabs(x);
    if (size != size) return x;
    double term = 1, sum = 0;
    if (size <= 40) {
        for (int k = 1; sum + term != sum; ++k) {
            sum += term;
            term *= size / 2 / k * (size / 2 / (k + order));
        }
        return order ? x / 2 * sum : sum;
    }
    for (int k = 1; sum + term != sum && k < 60; ++k) {
        sum += term;
        term *= ((2 * k - 1) * (2 * k - 1) - 4 * order) / (8 * size * k);
    }
    // In two factors, since the first alone overflows before the product does.
    const double root = exp(size / 2), value = root * (sum / sqrt(2 * pi * size)) * root;
    return order && x < 0 ? -value : value;
}

static inline double scaled_erfc(double x) {
    if (x < 25) return exp(x * x) * erfc(x);
    const double q = 1 / (2 * x * x);
    return 0.5 * two_over_root_pi / x * (1 - q * (1 - 3 * q * (1 - 5 * q)));
}

template <class T>
static __forceinline__ double length(int count, const T* values) {
    double result = 0;
    for (int index = 0; index < count; ++index) result = hypot(result, static_cast<double>(values[index]));
    return result;
}

}  // namespace kaas_device

#define KAAS_SPECIAL(name, function)                                                                          \
    static inline double name(double x) { return kaas_device::function(x); }                                  \
    static inline float name##f(float x) { return static_cast<float>(kaas_device::function(x)); }             \
    static inline float name(float x) { return name##f(x); }
KAAS_SPECIAL(erfinv, inverse_erf)
KAAS_SPECIAL(erfcinv, inverse_erfc)
KAAS_SPECIAL(erfcx, scaled_erfc)
KAAS_SPECIAL(cyl_bessel_i0, bessel_i<0>)
KAAS_SPECIAL(cyl_bessel_i1, bessel_i<1>)
#undef KAAS_SPECIAL

static inline double normcdfinv(double p) { return -M_SQRT2 * kaas_device::inverse_erfc(2 * p); }
static inline float normcdfinvf(float p) { return static_cast<float>(normcdfinv(double{p})); }
static inline float normcdfinv(float p) { return normcdfinvf(p); }

static __forceinline__ double norm(int count, const double* values) { return kaas_device::length(count, values); }
static __forceinline__ double rnorm(int count, const double* values) { return 1 / norm(count, values); }
static __forceinline__ float normf(int count, const float* values) {
    return static_cast<float>(kaas_device::length(count, values));
}
static __forceinline__ float rnormf(int count, const float* values) {
    return static_cast<float>(1 / kaas_device::length(count, values));
}
