// printf in kernels. It stands in the way of the host's by a macro, so that `::printf` and `std::printf` mean it too;
// <cstdio>, which would take the macro away, is included before.
#pragma once

namespace kaas_device {

#ifdef KAAS_CHECKED
namespace checked {

// An argument of printf, as far as it matters here.
struct Printed {
    const void* pointer = nullptr;
    int number = 0;
};

template <class T>
static inline Printed printed(T value) {
    if constexpr (std::is_pointer_v<T>) return {(const void*)value, 0};
    else if constexpr (std::is_integral_v<T>) return {nullptr, static_cast<int>(value)};
    else return {};
}

// Each byte of a text, up to its end, or `most` of them.
static inline void check_text(const char* text, size_t most, const void* place) {
    for (size_t at = 0; text && at < most; ++at) {
        check(text + at, 1, false, place);
        if (!text[at]) return;
    }
}

// What formatting reads, and what %n writes.
[[gnu::noinline]] static void check_printed(const char* format, const Printed* next, size_t left, const void* place) {
    const auto take = [&] { return left ? --left, *next++ : Printed(); };
    check_text(format, ~size_t{0}, place);
    while ((format = strchr(format, '%'))) {
        format += 1 + strspn(format + 1, "-+ #0'");
        if (*format == '*') take();
        format += strspn(format, "*0123456789");
        size_t most = ~size_t{0};
        if (*format == '.') {
            const int precision = format[1] == '*' ? take().number : atoi(format + 1);
            if (precision >= 0) most = precision;
            format += 1 + strspn(format + 1, "*0123456789");
        }
        const size_t length = strspn(format, "hlLqjzt");
        const bool is_short = *format == 'h';
        format += length;
        if (*format == 's') check_text(static_cast<const char*>(take().pointer), most, place);
        else if (*format == 'n') check(take().pointer, !length ? 4 : !is_short ? 8 : length == 2 ? 1 : 2, true, place);
        else if (*format != '%') take();
        if (*format) ++format;
    }
}

}  // namespace checked

template <class... Arguments>
static inline void check_printed(const char* format, const void* place, Arguments... arguments) {
    const checked::Printed all[] = {checked::printed(arguments)..., {}};
    checked::check_printed(format, all, sizeof...(arguments), place);
}
#else
template <class... Arguments>
static inline void check_printed(const char*, const void*, Arguments...) {}
#endif

}  // namespace kaas_device

// Not inlined, so that an image that prints has the function's name: by that KaaS's pool knows it.
// Answers the number of arguments, -1 where there is no format, -2 where the buffer is full, as CUDA does.
template <class... Arguments>
[[gnu::noinline]] static int kaas_printf(const char* format, Arguments... arguments) {
    if (!format) return -1;
    kaas_device::check_printed(format, __builtin_return_address(0), arguments...);
    const int status = kaas_device::running->runtime->print(kaas_device::running, format, arguments...);
    return status ? -2 : static_cast<int>(sizeof...(arguments));
}

namespace std {
using ::kaas_printf;
}

#define printf kaas_printf
