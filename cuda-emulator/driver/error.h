// Errors inside the driver are exceptions; at its border they are numbers.
#pragma once

#include <exception>
#include <new>
#include <type_traits>

#include "types.h"

namespace kaas {

struct Error : std::exception {
    explicit Error(Result code) : code(code) {}
    const char* what() const noexcept override;
    Result code;
};

// Name and sentence of a code, or null where the code is not one of CUDA's.
const char* error_name(int code);
const char* error_text(int code);

// True in a child of fork(): the threads are gone, so nothing can be answered.
bool is_forked_child();

// Writes one line to standard error, in one piece, with the emulator's name before it.
[[gnu::format(printf, 1, 2)]] void report(const char* format, ...);

// Runs the body of an exported function and turns what it throws into a code.
template <class Body>
int guarded(Body&& body) noexcept {
    if (is_forked_child()) return not_initialized;
    try {
        if constexpr (std::is_void_v<decltype(body())>) {
            body();
            return success;
        } else {
            return body();
        }
    } catch (const Error& error) {
        return error.code;
    } catch (const std::bad_alloc&) {
        return out_of_memory;
    } catch (...) {
        return unknown_error;
    }
}

inline void require(bool condition, Result code = invalid_value) {
    if (!condition) throw Error(code);
}

}  // namespace kaas
