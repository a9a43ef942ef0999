// Arithmetic on the two halves or four bytes of a word.
#pragma once

namespace kaas_device {

template <class Lane, class Compute, class... Word>
static inline unsigned by_lanes(Compute compute, Word... words) {
    constexpr unsigned bits = sizeof(Lane) * 8, mask = (1u << bits) - 1;
    unsigned result = 0;
    for (unsigned shift = 0; shift < 32; shift += bits)
        result |= (static_cast<unsigned>(compute(static_cast<int>(static_cast<Lane>(words >> shift))...)) & mask) << shift;
    return result;
}

template <class Lane>
static inline int clamp_to(int value) {
    constexpr int bits = sizeof(Lane) * 8, most = Lane(-1) < 0 ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
    constexpr int least = Lane(-1) < 0 ? -most - 1 : 0;
    return value < least ? least : value > most ? most : value;
}

}  // namespace kaas_device

#define KAAS_SIMD_WIDTH(name, width, lane, parameters, arguments, expression)                                 \
    static inline unsigned name##width parameters {                                                           \
        using Lane = lane;                                                                                    \
        return kaas_device::by_lanes<Lane>([](auto... values) {                                               \
            const int both[] = {static_cast<int>(values)...}, x = both[0], y = both[sizeof...(values) - 1];   \
            static_cast<void>(x), static_cast<void>(y);                                                       \
            return static_cast<int>(expression);                                                              \
        }, arguments);                                                                                        \
    }
#define KAAS_ONE(...) __VA_ARGS__
#define KAAS_SIMD(name, sign, expression)                                                                     \
    KAAS_SIMD_WIDTH(name, 2, sign##int16_t, (unsigned a, unsigned b), KAAS_ONE(a, b), expression)             \
    KAAS_SIMD_WIDTH(name, 4, sign##int8_t, (unsigned a, unsigned b), KAAS_ONE(a, b), expression)
#define KAAS_SIMD_OF_ONE(name, expression)                                                                    \
    KAAS_SIMD_WIDTH(name, 2, int16_t, (unsigned a), a, expression)                                            \
    KAAS_SIMD_WIDTH(name, 4, int8_t, (unsigned a), a, expression)
#define KAAS_SIMD_COMPARISON(name, sign, op)                                                                  \
    KAAS_SIMD(__vcmp##name, sign, x op y ? -1 : 0)                                                            \
    KAAS_SIMD(__vset##name, sign, x op y)

KAAS_SIMD(__vadd, u, x + y)
KAAS_SIMD(__vsub, u, x - y)
KAAS_SIMD(__vaddss, , kaas_device::clamp_to<Lane>(x + y))
KAAS_SIMD(__vsubss, , kaas_device::clamp_to<Lane>(x - y))
KAAS_SIMD(__vaddus, u, kaas_device::clamp_to<Lane>(x + y))
KAAS_SIMD(__vsubus, u, kaas_device::clamp_to<Lane>(x - y))
KAAS_SIMD(__vabsdiffs, , x < y ? y - x : x - y)
KAAS_SIMD(__vabsdiffu, u, x < y ? y - x : x - y)
KAAS_SIMD(__vavgu, u, (x + y + 1) >> 1)
KAAS_SIMD(__vhaddu, u, (x + y) >> 1)
KAAS_SIMD(__vmaxs, , x < y ? y : x)
KAAS_SIMD(__vmaxu, u, x < y ? y : x)
KAAS_SIMD(__vmins, , y < x ? y : x)
KAAS_SIMD(__vminu, u, y < x ? y : x)
KAAS_SIMD_COMPARISON(eq, u, ==)
KAAS_SIMD_COMPARISON(ne, u, !=)
KAAS_SIMD_COMPARISON(ges, , >=)
KAAS_SIMD_COMPARISON(geu, u, >=)
KAAS_SIMD_COMPARISON(gts, , >)
KAAS_SIMD_COMPARISON(gtu, u, >)
KAAS_SIMD_COMPARISON(les, , <=)
KAAS_SIMD_COMPARISON(leu, u, <=)
KAAS_SIMD_COMPARISON(lts, , <)
KAAS_SIMD_COMPARISON(ltu, u, <)
KAAS_SIMD_OF_ONE(__vabs, x < 0 ? -x : x)
KAAS_SIMD_OF_ONE(__vneg, -x)
KAAS_SIMD_OF_ONE(__vabsss, kaas_device::clamp_to<Lane>(x < 0 ? -x : x))
KAAS_SIMD_OF_ONE(__vnegss, kaas_device::clamp_to<Lane>(-x))

#undef KAAS_SIMD
#undef KAAS_SIMD_OF_ONE
#undef KAAS_SIMD_COMPARISON
#undef KAAS_SIMD_WIDTH
#undef KAAS_ONE

// Sums of absolute differences.
namespace kaas_device {
template <class Lane>
static inline unsigned sum_of_differences(unsigned a, unsigned b) {
    unsigned sum = 0;
    for (unsigned shift = 0; shift < 32; shift += sizeof(Lane) * 8) {
        const int x = static_cast<Lane>(a >> shift), y = static_cast<Lane>(b >> shift);
        sum += x < y ? y - x : x - y;
    }
    return sum;
}
}  // namespace kaas_device

static inline unsigned __vsads2(unsigned a, unsigned b) { return kaas_device::sum_of_differences<int16_t>(a, b); }
static inline unsigned __vsads4(unsigned a, unsigned b) { return kaas_device::sum_of_differences<int8_t>(a, b); }
static inline unsigned __vsadu2(unsigned a, unsigned b) { return kaas_device::sum_of_differences<uint16_t>(a, b); }
static inline unsigned __vsadu4(unsigned a, unsigned b) { return kaas_device::sum_of_differences<uint8_t>(a, b); }
