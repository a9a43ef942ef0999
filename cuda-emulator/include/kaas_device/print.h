// printf in kernels. It stands in the way of the host's by a macro, so that `::printf` and `std::printf` mean it too;
// <cstdio>, which would take the macro away, is included before.
#pragma once

// Not inlined, so that an image that prints has the function's name: by that KaaS's pool knows it.
// Answers the number of arguments, -1 where there is no format, -2 where the buffer is full, as CUDA does.
template <class... Arguments>
[[gnu::noinline]] static int kaas_printf(const char* format, Arguments... arguments) {
    if (!format) return -1;
    const int status = kaas_device::running->runtime->print(kaas_device::running, format, arguments...);
    return status ? -2 : static_cast<int>(sizeof...(arguments));
}

namespace std {
using ::kaas_printf;
}

#define printf kaas_printf
