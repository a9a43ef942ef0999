// What a caller that loads or links code reads of how it went.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>

namespace kaas {

// The log buffers that a caller gave with its options; without writing to them PyCUDA would read what lay there.
class JitLog {
public:
    // Empties them.
    JitLog(unsigned count, const int* options, void** values) {
        for (unsigned index = 0; index < count; ++index) {
            const auto value = reinterpret_cast<std::uintptr_t>(values[index]);
            switch (options[index]) {
                case info_log: info_.text = static_cast<char*>(values[index]); break;
                case error_log: error_.text = static_cast<char*>(values[index]); break;
                case info_log_bytes: info_.size = &values[index]; info_.capacity = static_cast<unsigned>(value); break;
                case error_log_bytes: error_.size = &values[index]; error_.capacity = static_cast<unsigned>(value); break;
                default: break;
            }
        }
        info_.write("");
        error_.write("");
    }
    void explain(const std::string& text) { error_.write(text); }

private:
    // Numbers of CUjit_option.
    enum Option : int { info_log = 3, info_log_bytes = 4, error_log = 5, error_log_bytes = 6 };

    // The size comes in as the capacity and goes out as the length, in the low half of the option's value.
    struct Buffer {
        char* text = nullptr;
        void** size = nullptr;
        unsigned capacity = 0;

        void write(const std::string& message) {
            if (!text || !capacity) return;
            const int length = std::snprintf(text, capacity, "%s", message.c_str());
            const unsigned written = std::min(static_cast<unsigned>(length), capacity - 1);
            *size = reinterpret_cast<void*>(static_cast<std::uintptr_t>(written));
        }
    };
    Buffer info_, error_;
};

}  // namespace kaas
