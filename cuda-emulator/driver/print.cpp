#include "print.h"

#include <array>
#include <cstdarg>
#include <cstdio>
#include <utility>
#include <vector>

#include "error.h"

namespace kaas {

Output*& current_output() {
    static thread_local Output* output = nullptr;
    return output;
}

bool Output::append(const char* text, std::size_t bytes) {
    std::lock_guard lock(mutex_);
    waiting_.store(true, std::memory_order_release);
    if (text_.size() + bytes > limit_.load(std::memory_order_relaxed)) {
        ++dropped_;
        return false;
    }
    text_.append(text, bytes);
    return true;
}

void Output::write() {
    std::string text;
    std::size_t dropped;
    {
        std::lock_guard lock(mutex_);
        text.swap(text_);
        dropped = std::exchange(dropped_, 0);
        waiting_.store(false, std::memory_order_release);
    }
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
    if (dropped)
        report("what %zu calls of printf in kernels wrote is lost: more than %zu bytes before the host waited", dropped,
               limit_.load(std::memory_order_relaxed));
}

int print(kaas_abi::Block*, const char* format, ...) {
    if (!format) return -1;
    // No lock is held while the arguments are read: one that is no address ends the block here.
    std::array<char, 1024> line;
    std::va_list arguments;
    va_start(arguments, format);
    const int length = std::vsnprintf(line.data(), line.size(), format, arguments);
    va_end(arguments);
    if (length < 0) return -1;
    const auto bytes = static_cast<std::size_t>(length);
    if (bytes < line.size()) return current_output()->append(line.data(), bytes) ? 0 : -1;
    std::vector<char> longer(bytes + 1);
    va_start(arguments, format);
    std::vsnprintf(longer.data(), longer.size(), format, arguments);
    va_end(arguments);
    return current_output()->append(longer.data(), bytes) ? 0 : -1;
}

}  // namespace kaas
