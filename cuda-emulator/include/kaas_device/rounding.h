// Arithmetic and conversions rounded in a direction that the name ends with: to zero, up, down. The processor's own
// rounding is changed for that one operation; the empty assembly keeps the compiler from moving it out of there.
#pragma once

#include "half_bits.h"

namespace kaas_device {

class RoundingMode {
public:
    explicit RoundingMode(Rounding rounding) : before_(__builtin_ia32_stmxcsr()) {
        __builtin_ia32_ldmxcsr((before_ & ~0x6000u) | static_cast<unsigned>(rounding) << 13);
    }
    ~RoundingMode() { __builtin_ia32_ldmxcsr(before_); }
    RoundingMode(const RoundingMode&) = delete;

private:
    const unsigned before_;
};

template <class T>
static inline void hold(T& value) {
    if constexpr (std::is_floating_point_v<T>) __asm__ volatile("" : "+x"(value));
    else __asm__ volatile("" : "+r"(value));
}

template <Rounding rounding, class Compute, class... T>
static inline auto rounded(Compute compute, T... operands) {
    const RoundingMode mode(rounding);
    (hold(operands), ...);
    auto result = compute(operands...);
    hold(result);
    return result;
}

}  // namespace kaas_device

#define KAAS_DIRECTED(name, mode)                                                                             \
    KAAS_DIRECTED_ARITHMETIC(__f, __fmaf_, float, name, mode)                                                 \
    KAAS_DIRECTED_ARITHMETIC(__d, __fma_, double, name, mode)                                                 \
    KAAS_DIRECTED_CONVERSION(int2float, int, float, name, mode)                                               \
    KAAS_DIRECTED_CONVERSION(uint2float, unsigned, float, name, mode)                                         \
    KAAS_DIRECTED_CONVERSION(ll2float, long long, float, name, mode)                                          \
    KAAS_DIRECTED_CONVERSION(ull2float, unsigned long long, float, name, mode)                                \
    KAAS_DIRECTED_CONVERSION(ll2double, long long, double, name, mode)                                        \
    KAAS_DIRECTED_CONVERSION(ull2double, unsigned long long, double, name, mode)                              \
    KAAS_DIRECTED_CONVERSION(double2float, double, float, name, mode)

#define KAAS_DIRECTED_ARITHMETIC(prefix, fused, type, name, mode)                                             \
    static inline type prefix##add_##name(type a, type b) {                                                   \
        return kaas_device::rounded<kaas_device::Rounding::mode>([](type x, type y) { return x + y; }, a, b); \
    }                                                                                                         \
    static inline type prefix##sub_##name(type a, type b) {                                                   \
        return kaas_device::rounded<kaas_device::Rounding::mode>([](type x, type y) { return x - y; }, a, b); \
    }                                                                                                         \
    static inline type prefix##mul_##name(type a, type b) {                                                   \
        return kaas_device::rounded<kaas_device::Rounding::mode>([](type x, type y) { return x * y; }, a, b); \
    }                                                                                                         \
    static inline type prefix##div_##name(type a, type b) {                                                   \
        return kaas_device::rounded<kaas_device::Rounding::mode>([](type x, type y) { return x / y; }, a, b); \
    }                                                                                                         \
    static inline type prefix##rcp_##name(type a) { return prefix##div_##name(1, a); }                        \
    static inline type prefix##sqrt_##name(type a) {                                                          \
        return kaas_device::rounded<kaas_device::Rounding::mode>([](type x) { return std::sqrt(x); }, a); \
    }                                                                                                         \
    static inline type fused##name(type a, type b, type c) {                                                  \
        return kaas_device::rounded<kaas_device::Rounding::mode>(                                             \
            [](type x, type y, type z) { return std::fma(x, y, z); }, a, b, c);                               \
    }

#define KAAS_DIRECTED_CONVERSION(conversion, from, to, name, mode)                                            \
    static inline to __##conversion##_##name(from value) {                                                    \
        return kaas_device::rounded<kaas_device::Rounding::mode>([](from x) { return static_cast<to>(x); }, value); \
    }

KAAS_DIRECTED(rz, to_zero)
KAAS_DIRECTED(ru, up)
KAAS_DIRECTED(rd, down)
#undef KAAS_DIRECTED
#undef KAAS_DIRECTED_ARITHMETIC
#undef KAAS_DIRECTED_CONVERSION
