// CUDA's vector types: plain structures with CUDA's alignment, and the functions that make them.
#pragma once

#define KAAS_VECTORS(type, name, align2, align4)                                                              \
    struct name##1 {                                                                                          \
        type x;                                                                                               \
    };                                                                                                        \
    struct __attribute__((aligned(align2))) name##2 {                                                         \
        type x, y;                                                                                            \
    };                                                                                                        \
    struct name##3 {                                                                                          \
        type x, y, z;                                                                                         \
    };                                                                                                        \
    struct __attribute__((aligned(align4))) name##4 {                                                         \
        type x, y, z, w;                                                                                      \
    };                                                                                                        \
    constexpr name##1 make_##name##1(type x) { return {x}; }                                                  \
    constexpr name##2 make_##name##2(type x, type y) { return {x, y}; }                                       \
    constexpr name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }                            \
    constexpr name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }

KAAS_VECTORS(signed char, char, 2, 4)
KAAS_VECTORS(unsigned char, uchar, 2, 4)
KAAS_VECTORS(short, short, 4, 8)
KAAS_VECTORS(unsigned short, ushort, 4, 8)
KAAS_VECTORS(int, int, 8, 16)
KAAS_VECTORS(unsigned int, uint, 8, 16)
KAAS_VECTORS(long, long, 16, 16)
KAAS_VECTORS(unsigned long, ulong, 16, 16)
KAAS_VECTORS(long long, longlong, 16, 16)
KAAS_VECTORS(unsigned long long, ulonglong, 16, 16)
KAAS_VECTORS(float, float, 8, 16)
KAAS_VECTORS(double, double, 16, 16)

#undef KAAS_VECTORS

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
    constexpr operator uint3() const { return {x, y, z}; }
};
