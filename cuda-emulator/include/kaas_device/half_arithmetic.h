// Arithmetic, comparisons and functions of half and half2. Sums, products, quotients and roots are computed in float
// and rounded once more, which is exact (half_bits.h); the fused product and sum in double.
#pragma once

#include "half.h"

namespace kaas_device {

// 0 up to 1; a NaN is 0.
static inline half saturate(half value) {
    const float number = value;
    return number > 0.0f ? number < 1.0f ? value : __ushort_as_half(0x3c00) : __ushort_as_half(0);
}

static inline half relu(half value) {
    const float number = value;
    return number < 0.0f ? __ushort_as_half(0) : number != number ? __ushort_as_half(half_nan) : value;
}

static inline bool is_nan(half value) { return (__half_as_ushort(value) & 0x7fff) > half_infinity; }

// Zeros are ordered by their sign.
static inline bool is_less(half a, half b) {
    const float x = a, y = b;
    return x < y || (x == y && __half_as_ushort(a) > __half_as_ushort(b) && x == 0.0f);
}

static inline half greater_of(half a, half b, bool propagate) {
    if (is_nan(a) || is_nan(b)) {
        if (propagate || (is_nan(a) && is_nan(b))) return __ushort_as_half(half_nan);
        return is_nan(a) ? b : a;
    }
    return is_less(a, b) ? b : a;
}

static inline half negated(half value) {
    return is_nan(value) ? __ushort_as_half(half_nan) : __ushort_as_half(__half_as_ushort(value) ^ 0x8000);
}

}  // namespace kaas_device

// ***** one at a time *****

static inline half __hadd(half a, half b) { return __float2half(__half2float(a) + __half2float(b)); }
static inline half __hsub(half a, half b) { return __float2half(__half2float(a) - __half2float(b)); }
static inline half __hmul(half a, half b) { return __float2half(__half2float(a) * __half2float(b)); }
static inline half __hdiv(half a, half b) { return __float2half(__half2float(a) / __half2float(b)); }
static inline half __hfma(half a, half b, half c) {
    return __double2half(double{__half2float(a)} * __half2float(b) + __half2float(c));
}
static inline half __hadd_rn(half a, half b) { return __hadd(a, b); }
static inline half __hsub_rn(half a, half b) { return __hsub(a, b); }
static inline half __hmul_rn(half a, half b) { return __hmul(a, b); }
static inline half __hadd_sat(half a, half b) { return kaas_device::saturate(__hadd(a, b)); }
static inline half __hsub_sat(half a, half b) { return kaas_device::saturate(__hsub(a, b)); }
static inline half __hmul_sat(half a, half b) { return kaas_device::saturate(__hmul(a, b)); }
static inline half __hfma_sat(half a, half b, half c) { return kaas_device::saturate(__hfma(a, b, c)); }
static inline half __hfma_relu(half a, half b, half c) { return kaas_device::relu(__hfma(a, b, c)); }
static inline half __hneg(half a) { return kaas_device::negated(a); }
static inline half __habs(half a) { return __half_as_ushort(a) & 0x8000 ? kaas_device::negated(a) : a; }
static inline half __hmax(half a, half b) { return kaas_device::greater_of(a, b, false); }
static inline half __hmin(half a, half b) { return __hneg(__hmax(__hneg(a), __hneg(b))); }
static inline half __hmax_nan(half a, half b) { return kaas_device::greater_of(a, b, true); }
static inline half __hmin_nan(half a, half b) { return __hneg(__hmax_nan(__hneg(a), __hneg(b))); }
static inline bool __hisnan(half a) { return kaas_device::is_nan(a); }
static inline int __hisinf(half a) {
    return __half_as_ushort(a) == 0x7c00 ? 1 : __half_as_ushort(a) == 0xfc00 ? -1 : 0;
}

#define KAAS_HALF_FUNCTION(name, function)                                                                    \
    static inline half h##name(half a) { return __float2half(function(__half2float(a))); }                    \
    static inline half2 h2##name(half2 a) { return {h##name(a.x), h##name(a.y)}; }
KAAS_HALF_FUNCTION(sqrt, sqrtf)
KAAS_HALF_FUNCTION(rsqrt, rsqrtf)
KAAS_HALF_FUNCTION(rcp, 1.0f /)
KAAS_HALF_FUNCTION(exp, expf)
KAAS_HALF_FUNCTION(exp2, exp2f)
KAAS_HALF_FUNCTION(exp10, exp10f)
KAAS_HALF_FUNCTION(log, logf)
KAAS_HALF_FUNCTION(log2, log2f)
KAAS_HALF_FUNCTION(log10, log10f)
KAAS_HALF_FUNCTION(sin, sinf)
KAAS_HALF_FUNCTION(cos, cosf)
KAAS_HALF_FUNCTION(tanh, tanhf)
KAAS_HALF_FUNCTION(tanh_approx, tanhf)
KAAS_HALF_FUNCTION(ceil, ceilf)
KAAS_HALF_FUNCTION(floor, floorf)
KAAS_HALF_FUNCTION(trunc, truncf)
KAAS_HALF_FUNCTION(rint, rintf)
#undef KAAS_HALF_FUNCTION

// ***** two at a time *****

#define KAAS_HALF2_OF_ONE(name2, name)                                                                        \
    static inline half2 name2(half2 a) { return {name(a.x), name(a.y)}; }
#define KAAS_HALF2_OF_TWO(name2, name)                                                                        \
    static inline half2 name2(half2 a, half2 b) { return {name(a.x, b.x), name(a.y, b.y)}; }
#define KAAS_HALF2_OF_THREE(name2, name)                                                                      \
    static inline half2 name2(half2 a, half2 b, half2 c) { return {name(a.x, b.x, c.x), name(a.y, b.y, c.y)}; }
KAAS_HALF2_OF_ONE(__hneg2, __hneg)
KAAS_HALF2_OF_ONE(__habs2, __habs)
KAAS_HALF2_OF_TWO(__hadd2, __hadd)
KAAS_HALF2_OF_TWO(__hsub2, __hsub)
KAAS_HALF2_OF_TWO(__hmul2, __hmul)
KAAS_HALF2_OF_TWO(__h2div, __hdiv)
KAAS_HALF2_OF_TWO(__hadd2_rn, __hadd)
KAAS_HALF2_OF_TWO(__hsub2_rn, __hsub)
KAAS_HALF2_OF_TWO(__hmul2_rn, __hmul)
KAAS_HALF2_OF_TWO(__hadd2_sat, __hadd_sat)
KAAS_HALF2_OF_TWO(__hsub2_sat, __hsub_sat)
KAAS_HALF2_OF_TWO(__hmul2_sat, __hmul_sat)
KAAS_HALF2_OF_TWO(__hmax2, __hmax)
KAAS_HALF2_OF_TWO(__hmin2, __hmin)
KAAS_HALF2_OF_TWO(__hmax2_nan, __hmax_nan)
KAAS_HALF2_OF_TWO(__hmin2_nan, __hmin_nan)
KAAS_HALF2_OF_THREE(__hfma2, __hfma)
KAAS_HALF2_OF_THREE(__hfma2_sat, __hfma_sat)
KAAS_HALF2_OF_THREE(__hfma2_relu, __hfma_relu)
#undef KAAS_HALF2_OF_ONE
#undef KAAS_HALF2_OF_TWO
#undef KAAS_HALF2_OF_THREE
static inline half2 __hisnan2(half2 a) { return {half(float{__hisnan(a.x)}), half(float{__hisnan(a.y)})}; }

// c + a * b as complex numbers, x the real part.
static inline half2 __hcmadd(half2 a, half2 b, half2 c) {
    return {__hfma(__hneg(a.y), b.y, __hfma(a.x, b.x, c.x)), __hfma(a.y, b.x, __hfma(a.x, b.y, c.y))};
}

// ***** comparisons *****
// The plain ones do not hold where either is a NaN, those that end in u do.

#define KAAS_HALF_COMPARISON(name, op)                                                                        \
    static inline bool __h##name(half a, half b) {                                                            \
        return !__hisnan(a) && !__hisnan(b) && __half2float(a) op __half2float(b);                            \
    }                                                                                                         \
    static inline bool __h##name##u(half a, half b) {                                                         \
        return __hisnan(a) || __hisnan(b) || __half2float(a) op __half2float(b);                              \
    }                                                                                                         \
    KAAS_HALF2_COMPARISON(name)                                                                               \
    KAAS_HALF2_COMPARISON(name##u)
#define KAAS_HALF2_COMPARISON(name)                                                                           \
    static inline bool __hb##name##2(half2 a, half2 b) { return __h##name(a.x, b.x) && __h##name(a.y, b.y); } \
    static inline half2 __h##name##2(half2 a, half2 b) {                                                      \
        return {half(float{__h##name(a.x, b.x)}), half(float{__h##name(a.y, b.y)})};                          \
    }                                                                                                         \
    static inline unsigned __h##name##2_mask(half2 a, half2 b) {                                              \
        return (__h##name(a.x, b.x) ? 0xffffu : 0) | (__h##name(a.y, b.y) ? 0xffff0000u : 0);                 \
    }
KAAS_HALF_COMPARISON(eq, ==)
KAAS_HALF_COMPARISON(ne, !=)
KAAS_HALF_COMPARISON(lt, <)
KAAS_HALF_COMPARISON(le, <=)
KAAS_HALF_COMPARISON(gt, >)
KAAS_HALF_COMPARISON(ge, >=)
#undef KAAS_HALF_COMPARISON
#undef KAAS_HALF2_COMPARISON

// ***** operators *****

#define KAAS_HALF_OPERATORS(type, suffix, divide, all)                                                        \
    static inline type operator+(const type& a, const type& b) { return __hadd##suffix(a, b); }               \
    static inline type operator-(const type& a, const type& b) { return __hsub##suffix(a, b); }               \
    static inline type operator*(const type& a, const type& b) { return __hmul##suffix(a, b); }               \
    static inline type operator/(const type& a, const type& b) { return divide(a, b); }                       \
    static inline type& operator+=(type& a, const type& b) { return a = a + b; }                              \
    static inline type& operator-=(type& a, const type& b) { return a = a - b; }                              \
    static inline type& operator*=(type& a, const type& b) { return a = a * b; }                              \
    static inline type& operator/=(type& a, const type& b) { return a = a / b; }                              \
    static inline type operator+(const type& a) { return a; }                                                 \
    static inline type operator-(const type& a) { return __hneg##suffix(a); }                                 \
    static inline type& operator++(type& a) { return a = __hadd##suffix(a, kaas_device::one_of<type>()); }    \
    static inline type& operator--(type& a) { return a = __hsub##suffix(a, kaas_device::one_of<type>()); }    \
    static inline type operator++(type& a, int) {                                                             \
        const type old = a;                                                                                   \
        ++a;                                                                                                  \
        return old;                                                                                           \
    }                                                                                                         \
    static inline type operator--(type& a, int) {                                                             \
        const type old = a;                                                                                   \
        --a;                                                                                                  \
        return old;                                                                                           \
    }                                                                                                         \
    static inline bool operator==(const type& a, const type& b) { return all##eq##suffix(a, b); }             \
    static inline bool operator!=(const type& a, const type& b) { return all##neu##suffix(a, b); }            \
    static inline bool operator<(const type& a, const type& b) { return all##lt##suffix(a, b); }              \
    static inline bool operator<=(const type& a, const type& b) { return all##le##suffix(a, b); }             \
    static inline bool operator>(const type& a, const type& b) { return all##gt##suffix(a, b); }              \
    static inline bool operator>=(const type& a, const type& b) { return all##ge##suffix(a, b); }

namespace kaas_device {
template <class T>
static inline T one_of();
template <>
inline half one_of<half>() {
    return __ushort_as_half(0x3c00);
}
template <>
inline half2 one_of<half2>() {
    return __half2half2(one_of<half>());
}
}  // namespace kaas_device

KAAS_HALF_OPERATORS(half, , __hdiv, __h)
KAAS_HALF_OPERATORS(half2, 2, __h2div, __hb)
#undef KAAS_HALF_OPERATORS

// ***** atomics *****

#define KAAS_HALF_ATOMIC(suffix, type, word)                                                                  \
    static __forceinline__ type atomicAdd##suffix(type* address, type value) {                                \
        return kaas_device::from_bits<type>(                                                                  \
            kaas_device::atomic_update(reinterpret_cast<word*>(address), [=](word old) {                      \
                return kaas_device::from_bits<word>(                                                          \
                    kaas_device::to_bits(kaas_device::from_bits<type>(old) + value));                         \
            }));                                                                                              \
    }
KAAS_HALF_ATOMIC(, half, unsigned short)
KAAS_HALF_ATOMIC(, half2, unsigned)
KAAS_HALF_ATOMIC(_block, half, unsigned short)
KAAS_HALF_ATOMIC(_block, half2, unsigned)
KAAS_HALF_ATOMIC(_system, half, unsigned short)
KAAS_HALF_ATOMIC(_system, half2, unsigned)
#undef KAAS_HALF_ATOMIC
