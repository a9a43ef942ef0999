// The types half and half2 and what converts to and from them.
#pragma once

#include "half_bits.h"

struct __half_raw {
    unsigned short x;
};

struct alignas(4) __half2_raw {
    unsigned short x, y;
};

struct __half;

// One of the four roundings of a conversion from a type that double holds, or that overflows half where it does not.
#define KAAS_TO_HALF(name, type)                                                                              \
    static inline __half __##name##2half_rn(type value);                                                      \
    static inline __half __##name##2half_rz(type value);                                                      \
    static inline __half __##name##2half_rd(type value);                                                      \
    static inline __half __##name##2half_ru(type value);
KAAS_TO_HALF(short, short)
KAAS_TO_HALF(ushort, unsigned short)
KAAS_TO_HALF(int, int)
KAAS_TO_HALF(uint, unsigned)
KAAS_TO_HALF(ll, long long)
KAAS_TO_HALF(ull, unsigned long long)
KAAS_TO_HALF(float, float)
#undef KAAS_TO_HALF
static inline __half __double2half(double value);

// The constructors and conversions are CUDA's, so that what is ambiguous there is ambiguous here.
struct alignas(2) __half {
    __half() = default;
    constexpr __half(const __half_raw& raw) : __x(raw.x) {}
    __half(float value) : __x(kaas_device::float_to_half_bits<kaas_device::Rounding::nearest_even>(value)) {}
    __half(double value) : __x(kaas_device::double_to_half_bits<kaas_device::Rounding::nearest_even>(value)) {}
    __half(short value) : __half(static_cast<float>(value)) {}
    __half(unsigned short value) : __half(static_cast<float>(value)) {}
    __half(int value) : __half(static_cast<double>(value)) {}
    __half(unsigned value) : __half(static_cast<double>(value)) {}
    __half(long value) : __half(static_cast<double>(value)) {}
    __half(unsigned long value) : __half(static_cast<double>(value)) {}
    __half(long long value) : __half(static_cast<double>(value)) {}
    __half(unsigned long long value) : __half(static_cast<double>(value)) {}

    constexpr operator __half_raw() const { return {__x}; }
    operator __half_raw() const volatile { return {__x}; }
    operator float() const { return kaas_device::half_bits_to_float(__x); }
    constexpr operator bool() const { return (__x & 0x7fff) != 0; }
    operator signed char() const { return to<signed char>(); }
    operator unsigned char() const { return to<unsigned char>(); }
    operator char() const { return to<char>(); }
    operator short() const { return to<short>(); }
    operator unsigned short() const { return to<unsigned short>(); }
    operator int() const { return to<int>(); }
    operator unsigned() const { return to<unsigned>(); }
    operator long() const { return to<long>(); }
    operator unsigned long() const { return to<unsigned long>(); }
    operator long long() const { return to<long long>(); }
    operator unsigned long long() const { return to<unsigned long long>(); }

    __half& operator=(const __half_raw& raw) { return __x = raw.x, *this; }
    volatile __half& operator=(const __half_raw& raw) volatile { return __x = raw.x, *this; }
    __half& operator=(float value) { return *this = __half(value); }
    __half& operator=(double value) { return *this = __half(value); }
    __half& operator=(short value) { return *this = __half(value); }
    __half& operator=(unsigned short value) { return *this = __half(value); }
    __half& operator=(int value) { return *this = __half(value); }
    __half& operator=(unsigned value) { return *this = __half(value); }
    __half& operator=(long long value) { return *this = __half(value); }
    __half& operator=(unsigned long long value) { return *this = __half(value); }

protected:
    template <class Target>
    Target to() const {
        return kaas_device::saturating<Target>(truncf(static_cast<float>(*this)));
    }
    unsigned short __x;
};

struct alignas(4) __half2 {
    __half x, y;

    __half2() = default;
    constexpr __half2(const __half& x, const __half& y) : x(x), y(y) {}
    constexpr __half2(const __half2_raw& raw) : x(__half_raw{raw.x}), y(__half_raw{raw.y}) {}
    __half2& operator=(const __half2_raw& raw) { return *this = __half2(raw); }
    constexpr operator __half2_raw() const {
        return {static_cast<__half_raw>(x).x, static_cast<__half_raw>(y).x};
    }
};

typedef __half half;
typedef __half2 half2;
typedef __half __nv_half;
typedef __half2 __nv_half2;
typedef __half nv_half;
typedef __half2 nv_half2;
typedef __half_raw __nv_half_raw;
typedef __half2_raw __nv_half2_raw;

static inline constexpr half __ushort_as_half(unsigned short bits) { return __half_raw{bits}; }
static inline constexpr half __short_as_half(short bits) { return __half_raw{static_cast<unsigned short>(bits)}; }
static inline constexpr unsigned short __half_as_ushort(half value) { return static_cast<__half_raw>(value).x; }
static inline constexpr short __half_as_short(half value) { return static_cast<short>(__half_as_ushort(value)); }

#define KAAS_TO_HALF_ROUNDED(name, type, rounding, mode, by)                                                  \
    static inline half __##name##2half_##rounding(type value) {                                               \
        return __ushort_as_half(kaas_device::by##_to_half_bits<kaas_device::Rounding::mode>(value));          \
    }
#define KAAS_TO_HALF(name, type, by)                                                                          \
    KAAS_TO_HALF_ROUNDED(name, type, rn, nearest_even, by)                                                    \
    KAAS_TO_HALF_ROUNDED(name, type, rz, to_zero, by)                                                         \
    KAAS_TO_HALF_ROUNDED(name, type, rd, down, by)                                                            \
    KAAS_TO_HALF_ROUNDED(name, type, ru, up, by)
KAAS_TO_HALF(short, short, float)
KAAS_TO_HALF(ushort, unsigned short, float)
KAAS_TO_HALF(int, int, double)
KAAS_TO_HALF(uint, unsigned, double)
KAAS_TO_HALF(ll, long long, double)
KAAS_TO_HALF(ull, unsigned long long, double)
KAAS_TO_HALF(float, float, float)
#undef KAAS_TO_HALF
#undef KAAS_TO_HALF_ROUNDED
static inline half __float2half(float value) { return __float2half_rn(value); }
static inline half __double2half(double value) { return half(value); }

static inline float __half2float(half value) { return value; }

// A NaN is zero, but the sign bit alone among the types of 64 bits.
#define KAAS_FROM_HALF_ROUNDED(name, type, rounding, round, of_nan)                                           \
    static inline type __half2##name##_##rounding(half value) {                                               \
        const float number = value;                                                                           \
        return number != number ? static_cast<type>(of_nan) : kaas_device::saturating<type>(round(number));   \
    }
#define KAAS_FROM_HALF(name, type, of_nan)                                                                    \
    KAAS_FROM_HALF_ROUNDED(name, type, rn, rintf, of_nan)                                                     \
    KAAS_FROM_HALF_ROUNDED(name, type, rz, truncf, of_nan)                                                    \
    KAAS_FROM_HALF_ROUNDED(name, type, rd, floorf, of_nan)                                                    \
    KAAS_FROM_HALF_ROUNDED(name, type, ru, ceilf, of_nan)
KAAS_FROM_HALF(short, short, 0)
KAAS_FROM_HALF(ushort, unsigned short, 0)
KAAS_FROM_HALF(int, int, 0)
KAAS_FROM_HALF(uint, unsigned, 0)
KAAS_FROM_HALF(ll, long long, 1ULL << 63)
KAAS_FROM_HALF(ull, unsigned long long, 1ULL << 63)
KAAS_FROM_HALF_ROUNDED(char, signed char, rz, truncf, 0)
KAAS_FROM_HALF_ROUNDED(uchar, unsigned char, rz, truncf, 0)
#undef KAAS_FROM_HALF
#undef KAAS_FROM_HALF_ROUNDED

// ***** pairs *****

static inline half2 make_half2(half x, half y) { return {x, y}; }
static inline half2 __halves2half2(half x, half y) { return {x, y}; }
static inline half2 __half2half2(half value) { return {value, value}; }
static inline half2 __float2half2_rn(float value) { return __half2half2(__float2half(value)); }
static inline half2 __floats2half2_rn(float x, float y) { return {__float2half(x), __float2half(y)}; }
static inline half2 __float22half2_rn(float2 value) { return __floats2half2_rn(value.x, value.y); }
static inline float2 __half22float2(half2 value) { return {__half2float(value.x), __half2float(value.y)}; }
static inline float __low2float(half2 value) { return __half2float(value.x); }
static inline float __high2float(half2 value) { return __half2float(value.y); }
static inline half __low2half(half2 value) { return value.x; }
static inline half __high2half(half2 value) { return value.y; }
static inline half2 __low2half2(half2 value) { return {value.x, value.x}; }
static inline half2 __high2half2(half2 value) { return {value.y, value.y}; }
static inline half2 __lows2half2(half2 a, half2 b) { return {a.x, b.x}; }
static inline half2 __highs2half2(half2 a, half2 b) { return {a.y, b.y}; }
static inline half2 __lowhigh2highlow(half2 value) { return {value.y, value.x}; }

#define CUDART_INF_FP16 __ushort_as_half(0x7c00)
#define CUDART_NAN_FP16 __ushort_as_half(0x7fff)
#define CUDART_MIN_DENORM_FP16 __ushort_as_half(0x0001)
#define CUDART_MAX_NORMAL_FP16 __ushort_as_half(0x7bff)
#define CUDART_NEG_ZERO_FP16 __ushort_as_half(0x8000)
#define CUDART_ZERO_FP16 __ushort_as_half(0x0000)
#define CUDART_ONE_FP16 __ushort_as_half(0x3c00)
