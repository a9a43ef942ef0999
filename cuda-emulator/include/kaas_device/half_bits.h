// Conversions between binary16, as sixteen bits, and the host's types: by the processor's instructions where it has
// them (F16C), else bit by bit. What is rounded twice is rounded to odd first, so that the result is that of one
// rounding: float has more than twice the digits of half, double more than twice those of float.
#pragma once

namespace kaas_device {

// Numbered as the instructions' operand is.
enum class Rounding : int { nearest_even = 0, down = 1, up = 2, to_zero = 3 };

constexpr unsigned short half_infinity = 0x7c00, half_most = 0x7bff;
constexpr unsigned short half_nan = 0x7fff;  // the only NaN that a GPU's arithmetic answers

static inline float half_bits_to_float_portable(unsigned short bits) {
    const unsigned sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31, mantissa = bits & 0x3ffu;
    if (exponent == 31) return from_bits<float>(sign | 0x7f800000u | mantissa << 13);
    if (exponent) return from_bits<float>(sign | (exponent + 112) << 23 | mantissa << 13);
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
}

template <Rounding rounding>
static inline unsigned short float_to_half_bits_portable(float value) {
    const auto bits = from_bits<unsigned>(to_bits(value));
    const unsigned magnitude = bits & 0x7fffffffu, sign = bits >> 16 & 0x8000u;
    if (magnitude > 0x7f800000u) return half_nan;
    if (magnitude == 0x7f800000u) return static_cast<unsigned short>(sign | half_infinity);
    const bool away = rounding == (sign ? Rounding::down : Rounding::up);
    const int exponent = static_cast<int>(magnitude >> 23) - 127;
    unsigned result;
    if (exponent > 15) {
        result = rounding == Rounding::nearest_even || away ? half_infinity : half_most;
    } else {
        const bool normal = exponent >= -14;
        const int drop = normal ? 13 : exponent < -26 ? 25 : -1 - exponent;
        const unsigned digits = (magnitude & 0x7fffffu) | (magnitude >> 23 ? 0x800000u : 0);
        const unsigned rest = digits & ((1u << drop) - 1), middle = 1u << (drop - 1);
        result = digits >> drop;
        if (normal) result += static_cast<unsigned>(exponent + 14) << 10;
        const bool up = rounding == Rounding::nearest_even ? rest > middle || (rest == middle && (result & 1))
                                                           : away && rest;
        result += up;
    }
    return static_cast<unsigned short>(sign | result);
}

#ifdef __F16C__
static inline float half_bits_to_float(unsigned short bits) {
    typedef short Eight __attribute__((vector_size(16)));
    return __builtin_ia32_vcvtph2ps(Eight{static_cast<short>(bits)})[0];
}

template <Rounding rounding>
static inline unsigned short float_to_half_bits(float value) {
    typedef float Four __attribute__((vector_size(16)));
    if (value != value) return half_nan;
    return static_cast<unsigned short>(__builtin_ia32_vcvtps2ph(Four{value}, static_cast<int>(rounding))[0]);
}
#else
static inline float half_bits_to_float(unsigned short bits) { return half_bits_to_float_portable(bits); }

template <Rounding rounding>
static inline unsigned short float_to_half_bits(float value) {
    return float_to_half_bits_portable<rounding>(value);
}
#endif

template <Rounding rounding>
static inline unsigned short double_to_half_bits(double value) {
    const auto bits = from_bits<uint64_t>(to_bits(value));
    constexpr uint64_t dropped = (uint64_t{1} << 29) - 1;
    auto odd = from_bits<double>((bits & ~dropped) | (bits & dropped ? dropped + 1 : 0));
    // Below what float can hold, any other number that is next to zero among halves.
    if (value != 0 && __builtin_fabs(value) < 0x1p-100) odd = __builtin_copysign(0x1p-100, value);
    return float_to_half_bits<rounding>(static_cast<float>(odd));
}

}  // namespace kaas_device
