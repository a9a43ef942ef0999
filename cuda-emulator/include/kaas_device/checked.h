// Checked mode: what runs before each access to memory. The compiler (GCC's -fsanitize=kernel-address) and the linker
// (--wrap) call these functions by names of their own; nothing of a sanitizer's run-time library takes part.
#pragma once

#ifndef KAAS_CHECKED

namespace kaas_device {
constexpr kaas_abi::DeviceMemory* device_memory = nullptr;
}

#else

#define KAAS_UNCHECKED __attribute__((no_sanitize("kernel-address")))
#define KAAS_CALLED(symbol) __asm__(symbol) __attribute__((used, noinline, visibility("hidden")))

namespace kaas_device::checked {

static kaas_abi::DeviceMemory memory;

// True where the bytes from `offset` on, which is in the device's memory, are one buffer's. A buffer begins at a multiple
// of 8, and there is room between two.
KAAS_UNCHECKED static inline bool in_buffer(uint64_t offset, size_t bytes) {
    if (bytes > memory.bytes - offset) return false;
    const uint8_t* accessible = memory.accessible + offset / 8;
    uint64_t end = offset % 8 + bytes;
    for (; end > 8; end -= 8)
        if (*accessible++ != 8) return false;
    return end <= *accessible;
}

// Shared memory, variables and the host's memory are not the device's, and pass.
KAAS_UNCHECKED static inline void check(const void* start, size_t bytes, bool write, const void* place) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(start);
    const uint64_t offset = address - memory.start;
    if (offset >= memory.bytes || !bytes || in_buffer(offset, bytes)) return;
    running->runtime->refuse(running, linear_thread(), address, bytes, write, place);
}

#define KAAS_ACCESS(name, bytes, write)                                             \
    void name##bytes(const void* start) KAAS_CALLED("__asan_" #name #bytes "_noabort"); \
    KAAS_UNCHECKED void name##bytes(const void* start) { check(start, bytes, write, __builtin_return_address(0)); }
KAAS_ACCESS(load, 1, false)
KAAS_ACCESS(load, 2, false)
KAAS_ACCESS(load, 4, false)
KAAS_ACCESS(load, 8, false)
KAAS_ACCESS(load, 16, false)
KAAS_ACCESS(store, 1, true)
KAAS_ACCESS(store, 2, true)
KAAS_ACCESS(store, 4, true)
KAAS_ACCESS(store, 8, true)
KAAS_ACCESS(store, 16, true)
#undef KAAS_ACCESS

void load(const void* start, size_t bytes) KAAS_CALLED("__asan_loadN_noabort");
KAAS_UNCHECKED void load(const void* start, size_t bytes) { check(start, bytes, false, __builtin_return_address(0)); }

void store(const void* start, size_t bytes) KAAS_CALLED("__asan_storeN_noabort");
KAAS_UNCHECKED void store(const void* start, size_t bytes) { check(start, bytes, true, __builtin_return_address(0)); }

// Of no interest here.
void leave() KAAS_CALLED("__asan_handle_no_return");
KAAS_UNCHECKED void leave() {}
void begin_variables(const char*) KAAS_CALLED("__asan_before_dynamic_init");
KAAS_UNCHECKED void begin_variables(const char*) {}
void end_variables() KAAS_CALLED("__asan_after_dynamic_init");
KAAS_UNCHECKED void end_variables() {}

// Into the functions of the C library the compiler does not look.
#define KAAS_WRAPPED(result, name, parameters, arguments, ...)         \
    result real_##name parameters __asm__("__real_" #name);            \
    result checked_##name parameters KAAS_CALLED("__wrap_" #name);     \
    KAAS_UNCHECKED result checked_##name parameters {                  \
        const void* const place = __builtin_return_address(0);         \
        __VA_ARGS__;                                                   \
        return real_##name arguments;                                  \
    }
#define KAAS_COPY(name)                                                                                       \
    KAAS_WRAPPED(void*, name, (void* to, const void* from, size_t bytes), (to, from, bytes),                  \
                 check(from, bytes, false, place), check(to, bytes, true, place))
#define KAAS_RESULTS(type, suffix)                                                                            \
    KAAS_WRAPPED(type, frexp##suffix, (type x, int* exponent), (x, exponent), written(exponent, place))       \
    KAAS_WRAPPED(type, modf##suffix, (type x, type* whole), (x, whole), written(whole, place))                \
    KAAS_WRAPPED(type, remquo##suffix, (type x, type y, int* quotient), (x, y, quotient), written(quotient, place)) \
    KAAS_WRAPPED(void, sincos##suffix, (type x, type* s, type* c), (x, s, c), written(s, place), written(c, place))

template <class T>
KAAS_UNCHECKED static inline void written(const T* result, const void* place) {
    check(result, sizeof(T), true, place);
}

KAAS_COPY(memcpy)
KAAS_COPY(memmove)
KAAS_WRAPPED(void*, memset, (void* to, int value, size_t bytes), (to, value, bytes), check(to, bytes, true, place))
KAAS_RESULTS(double, )
KAAS_RESULTS(float, f)
#undef KAAS_RESULTS
#undef KAAS_COPY
#undef KAAS_WRAPPED

}  // namespace kaas_device::checked

namespace kaas_device {
constexpr kaas_abi::DeviceMemory* device_memory = &checked::memory;
}

#undef KAAS_CALLED
#undef KAAS_UNCHECKED

#endif
