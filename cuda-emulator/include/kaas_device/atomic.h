// Atomic functions. Blocks run on several processors, so they are the host's atomic instructions, relaxed as CUDA's are.
// For long as well, which is what uint64_t is here.
#pragma once

namespace kaas_device {

// Replaces *address by change(*address) and answers what was there before.
template <class T, class Change>
static __forceinline__ T atomic_update(T* address, Change change) {
    T old, updated;
    __atomic_load(address, &old, __ATOMIC_RELAXED);
    do {
        updated = change(old);
    } while (!__atomic_compare_exchange(address, &old, &updated, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}

}  // namespace kaas_device

#define KAAS_ATOMIC_OPERATION(name, type, operation)                                                          \
    static __forceinline__ type name(type* a, type v) { return operation(a, v, __ATOMIC_RELAXED); }

#define KAAS_ATOMIC_INTEGER(type, suffix)                                                                     \
    KAAS_ATOMIC_OPERATION(atomicAdd##suffix, type, __atomic_fetch_add)                                        \
    KAAS_ATOMIC_OPERATION(atomicSub##suffix, type, __atomic_fetch_sub)                                        \
    KAAS_ATOMIC_OPERATION(atomicExch##suffix, type, __atomic_exchange_n)                                      \
    KAAS_ATOMIC_OPERATION(atomicAnd##suffix, type, __atomic_fetch_and)                                        \
    KAAS_ATOMIC_OPERATION(atomicOr##suffix, type, __atomic_fetch_or)                                          \
    KAAS_ATOMIC_OPERATION(atomicXor##suffix, type, __atomic_fetch_xor)                                        \
    static __forceinline__ type atomicMin##suffix(type* a, type v) {                                          \
        return kaas_device::atomic_update(a, [=](type old) { return old < v ? old : v; });                    \
    }                                                                                                         \
    static __forceinline__ type atomicMax##suffix(type* a, type v) {                                          \
        return kaas_device::atomic_update(a, [=](type old) { return old > v ? old : v; });                    \
    }                                                                                                         \
    static __forceinline__ type atomicCAS##suffix(type* a, type expected, type v) {                           \
        __atomic_compare_exchange_n(a, &expected, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);              \
        return expected;                                                                                      \
    }

#define KAAS_ATOMIC_FLOAT(type, suffix)                                                                       \
    static __forceinline__ type atomicAdd##suffix(type* a, type v) {                                          \
        return kaas_device::atomic_update(a, [=](type old) { return old + v; });                              \
    }

#define KAAS_ATOMICS(suffix)                                                                                  \
    KAAS_ATOMIC_INTEGER(int, suffix)                                                                          \
    KAAS_ATOMIC_INTEGER(unsigned, suffix)                                                                     \
    KAAS_ATOMIC_INTEGER(long, suffix)                                                                         \
    KAAS_ATOMIC_INTEGER(unsigned long, suffix)                                                                \
    KAAS_ATOMIC_INTEGER(long long, suffix)                                                                    \
    KAAS_ATOMIC_INTEGER(unsigned long long, suffix)                                                           \
    KAAS_ATOMIC_FLOAT(float, suffix)                                                                          \
    KAAS_ATOMIC_FLOAT(double, suffix)                                                                         \
    static __forceinline__ float atomicExch##suffix(float* a, float v) {                                      \
        float old;                                                                                            \
        __atomic_exchange(a, &v, &old, __ATOMIC_RELAXED);                                                     \
        return old;                                                                                           \
    }                                                                                                         \
    static __forceinline__ unsigned short atomicCAS##suffix(unsigned short* a, unsigned short expected,       \
                                                            unsigned short v) {                               \
        __atomic_compare_exchange_n(a, &expected, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);              \
        return expected;                                                                                      \
    }                                                                                                         \
    static __forceinline__ unsigned atomicInc##suffix(unsigned* a, unsigned most) {                           \
        return kaas_device::atomic_update(a, [=](unsigned old) { return old >= most ? 0u : old + 1; });       \
    }                                                                                                         \
    static __forceinline__ unsigned atomicDec##suffix(unsigned* a, unsigned most) {                           \
        return kaas_device::atomic_update(                                                                    \
            a, [=](unsigned old) { return old == 0 || old > most ? most : old - 1; });                        \
    }

KAAS_ATOMICS()
KAAS_ATOMICS(_block)
KAAS_ATOMICS(_system)

#undef KAAS_ATOMICS
#undef KAAS_ATOMIC_FLOAT
#undef KAAS_ATOMIC_INTEGER
#undef KAAS_ATOMIC_OPERATION
