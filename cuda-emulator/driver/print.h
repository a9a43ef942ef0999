// What kernels print: kept until the host next waits for the context, as CUDA's buffer is.
#pragma once

#include <atomic>
#include <cstddef>
#include <mutex>
#include <string>

#include "kaas_emulator_abi.h"

namespace kaas {

class Output {
public:
    // The text of one printf, whole or, where it does not fit any more, not at all. Answers whether it is kept.
    bool append(const char* text, std::size_t bytes);
    // Writes what is kept to the process's standard output.
    void flush() {
        if (waiting_.load(std::memory_order_acquire)) write();
    }
    // The most bytes kept between two flushes; CUDA's is 1 MiB unless cuCtxSetLimit changes it.
    void set_limit(std::size_t bytes) { limit_.store(bytes, std::memory_order_relaxed); }

private:
    void write();

    std::mutex mutex_;
    std::string text_;          // guarded by the mutex
    std::size_t dropped_ = 0;   // calls since the last flush; guarded by the mutex
    std::atomic<bool> waiting_{false};
    std::atomic<std::size_t> limit_{std::size_t{1} << 20};
};

// Where the blocks that the calling worker runs print to.
Output*& current_output();

// printf of a kernel: formats on the calling fibre. Answers 0, or -1 where nothing was kept.
[[gnu::format(printf, 2, 3)]] int print(kaas_abi::Block*, const char* format, ...);

}  // namespace kaas
