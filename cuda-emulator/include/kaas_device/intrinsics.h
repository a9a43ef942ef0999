// Intrinsic functions: approximations, rounding modes, conversions, bits, clocks, loads with a cache hint.
#pragma once

// ***** approximations: here as exact as the plain functions *****
// glibc declares some of these names itself, so they are macros.

static inline float __fdividef(float a, float b) { return a / b; }
static inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
#define __expf(x) expf(x)
#define __exp10f(x) exp10f(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __log10f(x) log10f(x)
#define __powf(x, y) powf(x, y)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __tanf(x) tanf(x)
#define __tanhf(x) tanhf(x)
#define __sincosf(x, s, c) sincosf(x, s, c)

// ***** arithmetic that is not to be contracted, rounded to nearest *****
// The empty assembly keeps the compiler from fusing the operation with a neighbour.

namespace kaas_device {
template <class T>
static inline T uncontracted(T value) {
    __asm__("" : "+x"(value));
    return value;
}
}  // namespace kaas_device

#define KAAS_ROUNDED(prefix, type, root)                                                                      \
    static inline type prefix##add_rn(type a, type b) { return kaas_device::uncontracted(a + b); }            \
    static inline type prefix##sub_rn(type a, type b) { return kaas_device::uncontracted(a - b); }            \
    static inline type prefix##mul_rn(type a, type b) { return kaas_device::uncontracted(a * b); }            \
    static inline type prefix##div_rn(type a, type b) { return a / b; }                                       \
    static inline type prefix##rcp_rn(type a) { return type(1) / a; }                                         \
    static inline type prefix##sqrt_rn(type a) { return root(a); }
KAAS_ROUNDED(__f, float, sqrtf)
KAAS_ROUNDED(__d, double, sqrt)
#undef KAAS_ROUNDED
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
static inline float __frsqrt_rn(float a) { return 1.0f / sqrtf(a); }

// ***** conversions *****
// Out of range values saturate and a NaN becomes zero, as CUDA defines.

namespace kaas_device {
template <class Target, class Source>
static inline Target saturating(Source value) {
    constexpr bool is_signed = Target(-1) < Target(0);
    constexpr Target most = is_signed ? Target((1ULL << (sizeof(Target) * 8 - 1)) - 1) : Target(-1);
    constexpr Target least = is_signed ? Target(-most - 1) : Target(0);
    // `most` may round up to one more than it when converted, which is why the comparisons include equality.
    if (value != value) return 0;
    if (value >= static_cast<Source>(most)) return most;
    if (value <= static_cast<Source>(least)) return least;
    return static_cast<Target>(value);
}
}  // namespace kaas_device

#define KAAS_CONVERSIONS(source_name, source, target_name, target, nearest, zero, up, down)                   \
    static inline target __##source_name##2##target_name##_rn(source x) {                                     \
        return kaas_device::saturating<target>(nearest(x));                                                   \
    }                                                                                                         \
    static inline target __##source_name##2##target_name##_rz(source x) {                                     \
        return kaas_device::saturating<target>(zero(x));                                                      \
    }                                                                                                         \
    static inline target __##source_name##2##target_name##_ru(source x) {                                     \
        return kaas_device::saturating<target>(up(x));                                                        \
    }                                                                                                         \
    static inline target __##source_name##2##target_name##_rd(source x) {                                     \
        return kaas_device::saturating<target>(down(x));                                                      \
    }
#define KAAS_CONVERSIONS_TO(target_name, target)                                                              \
    KAAS_CONVERSIONS(float, float, target_name, target, rintf, truncf, ceilf, floorf)                         \
    KAAS_CONVERSIONS(double, double, target_name, target, rint, trunc, ceil, floor)
KAAS_CONVERSIONS_TO(int, int)
KAAS_CONVERSIONS_TO(uint, unsigned)
KAAS_CONVERSIONS_TO(ll, long long)
KAAS_CONVERSIONS_TO(ull, unsigned long long)
#undef KAAS_CONVERSIONS_TO
#undef KAAS_CONVERSIONS

static inline float __int2float_rn(int x) { return static_cast<float>(x); }
static inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
static inline float __ll2float_rn(long long x) { return static_cast<float>(x); }
static inline float __ull2float_rn(unsigned long long x) { return static_cast<float>(x); }
static inline double __int2double_rn(int x) { return x; }
static inline double __uint2double_rn(unsigned x) { return x; }
static inline double __ll2double_rn(long long x) { return static_cast<double>(x); }
static inline double __ull2double_rn(unsigned long long x) { return static_cast<double>(x); }
static inline float __double2float_rn(double x) { return static_cast<float>(x); }

static inline int __float_as_int(float x) { return kaas_device::from_bits<int>(kaas_device::to_bits(x)); }
static inline unsigned __float_as_uint(float x) { return kaas_device::from_bits<unsigned>(kaas_device::to_bits(x)); }
static inline float __int_as_float(int x) { return kaas_device::from_bits<float>(kaas_device::to_bits(x)); }
static inline float __uint_as_float(unsigned x) { return kaas_device::from_bits<float>(kaas_device::to_bits(x)); }
static inline long long __double_as_longlong(double x) {
    return kaas_device::from_bits<long long>(kaas_device::to_bits(x));
}
static inline double __longlong_as_double(long long x) {
    return kaas_device::from_bits<double>(kaas_device::to_bits(x));
}
static inline int __double2hiint(double x) { return static_cast<int>(__double_as_longlong(x) >> 32); }
static inline int __double2loint(double x) { return static_cast<int>(__double_as_longlong(x)); }
static inline double __hiloint2double(int high, int low) {
    return __longlong_as_double(static_cast<long long>(static_cast<uint64_t>(static_cast<uint32_t>(high)) << 32 |
                                                       static_cast<uint32_t>(low)));
}

// ***** bits and integers *****

static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }
static inline unsigned long long __brevll(unsigned long long x) {
    x = __builtin_bswap64(x);
    x = (x >> 4 & 0x0f0f0f0f0f0f0f0fULL) | (x & 0x0f0f0f0f0f0f0f0fULL) << 4;
    x = (x >> 2 & 0x3333333333333333ULL) | (x & 0x3333333333333333ULL) << 2;
    return (x >> 1 & 0x5555555555555555ULL) | (x & 0x5555555555555555ULL) << 1;
}
static inline unsigned __brev(unsigned x) { return static_cast<unsigned>(__brevll(x) >> 32); }
static inline int __mulhi(int a, int b) { return static_cast<int>(static_cast<int64_t>(a) * b >> 32); }
static inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32);
}
static inline long long __mul64hi(long long a, long long b) {
    return static_cast<long long>(static_cast<__int128>(a) * b >> 64);
}
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
static inline int __mul24(int a, int b) { return (a << 8 >> 8) * (b << 8 >> 8); }
static inline unsigned __umul24(unsigned a, unsigned b) { return (a & 0xffffff) * (b & 0xffffff); }
static inline unsigned __sad(int a, int b, unsigned c) { return (a < b ? 0u + b - a : 0u + a - b) + c; }
static inline unsigned __usad(unsigned a, unsigned b, unsigned c) { return (a < b ? b - a : a - b) + c; }
static inline int __hadd(int a, int b) { return static_cast<int>((static_cast<int64_t>(a) + b) >> 1); }
static inline int __rhadd(int a, int b) { return static_cast<int>((static_cast<int64_t>(a) + b + 1) >> 1); }
static inline unsigned __uhadd(unsigned a, unsigned b) { return static_cast<unsigned>((uint64_t{a} + b) >> 1); }
static inline unsigned __urhadd(unsigned a, unsigned b) { return static_cast<unsigned>((uint64_t{a} + b + 1) >> 1); }
static inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((uint64_t{high} << 32 | low) << (shift & 31) >> 32);
}
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((uint64_t{high} << 32 | low) >> (shift & 31));
}
// These two stop at 32 instead of starting again.
static inline unsigned __funnelshift_lc(unsigned low, unsigned high, unsigned shift) {
    return shift >= 32 ? low : __funnelshift_l(low, high, shift);
}
static inline unsigned __funnelshift_rc(unsigned low, unsigned high, unsigned shift) {
    return shift >= 32 ? high : __funnelshift_r(low, high, shift);
}
// The place of the |offset|-th bit set in `mask` from `base` on, upwards where the offset is positive; all ones without.
static inline unsigned __fns(unsigned mask, unsigned base, int offset) {
    if (base >= 32) return ~0u;
    if (offset == 0) return mask >> base & 1 ? base : ~0u;
    const int step = offset < 0 ? -1 : 1;
    for (int place = static_cast<int>(base), left = offset * step; place >= 0 && place < 32; place += step)
        if (mask >> place & 1 && --left == 0) return static_cast<unsigned>(place);
    return ~0u;
}
// Selects four of the eight bytes of b:a; the fourth bit of a selector repeats the byte's sign.
static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
    const uint64_t bytes = uint64_t{b} << 32 | a;
    unsigned result = 0;
    for (int place = 0; place < 4; ++place) {
        const unsigned select = selector >> 4 * place;
        unsigned byte = bytes >> 8 * (select & 7) & 0xff;
        if (select & 8) byte = byte & 0x80 ? 0xff : 0;
        result |= byte << 8 * place;
    }
    return result;
}
static inline int __dp4a(int a, int b, int c) {
    for (int place = 0; place < 4; ++place)
        c += static_cast<signed char>(a >> 8 * place) * static_cast<signed char>(b >> 8 * place);
    return c;
}
static inline unsigned __dp4a(unsigned a, unsigned b, unsigned c) {
    for (int place = 0; place < 4; ++place) c += (a >> 8 * place & 0xff) * (b >> 8 * place & 0xff);
    return c;
}
// Two halves of `a` by two bytes of `b`, its lower or its upper ones.
namespace kaas_device {
template <class Half, class Byte, class Sum>
static inline Sum dot_of_two(Sum a, Sum b, Sum c, int byte) {
    for (int place = 0; place < 2; ++place)
        c += static_cast<Sum>(static_cast<Half>(a >> 16 * place)) * static_cast<Byte>(b >> 8 * (byte + place));
    return c;
}
}  // namespace kaas_device
static inline int __dp2a_lo(int a, int b, int c) { return kaas_device::dot_of_two<int16_t, int8_t>(a, b, c, 0); }
static inline int __dp2a_hi(int a, int b, int c) { return kaas_device::dot_of_two<int16_t, int8_t>(a, b, c, 2); }
static inline unsigned __dp2a_lo(unsigned a, unsigned b, unsigned c) {
    return kaas_device::dot_of_two<uint16_t, uint8_t>(a, b, c, 0);
}
static inline unsigned __dp2a_hi(unsigned a, unsigned b, unsigned c) {
    return kaas_device::dot_of_two<uint16_t, uint8_t>(a, b, c, 2);
}

// ***** clocks and hints *****

static inline long long clock64() { return static_cast<long long>(__builtin_ia32_rdtsc()); }
#define clock() (static_cast<int>(clock64()))

#define KAAS_LOAD(name)                                                                                       \
    template <class T>                                                                                        \
    static __forceinline__ T name(const T* address) {                                                                  \
        return *address;                                                                                      \
    }
KAAS_LOAD(__ldg)
KAAS_LOAD(__ldcg)
KAAS_LOAD(__ldca)
KAAS_LOAD(__ldcs)
KAAS_LOAD(__ldlu)
KAAS_LOAD(__ldcv)
#undef KAAS_LOAD

#define KAAS_STORE(name)                                                                                      \
    template <class T>                                                                                        \
    static __forceinline__ void name(T* address, T value) {                                                            \
        *address = value;                                                                                     \
    }
KAAS_STORE(__stwb)
KAAS_STORE(__stcg)
KAAS_STORE(__stcs)
KAAS_STORE(__stwt)
#undef KAAS_STORE

#define __builtin_assume(condition) static_cast<void>(0)
