// Reading what an image says about itself, without trust.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace kaas {

// Bytes with an end. Past it everything is zero, and `failed` says so.
class Bytes {
public:
    explicit Bytes(std::string_view bytes) : rest_(bytes) {}

    template <class Value>
    Value fixed() {
        Value value{};
        const std::string_view bytes = take(sizeof value);
        if (!failed) std::memcpy(&value, bytes.data(), sizeof value);
        return value;
    }

    std::uint64_t number() {
        std::uint64_t value = 0;
        for (unsigned shift = 0;; shift += 7) {
            const auto byte = fixed<std::uint8_t>();
            if (shift < 64) value |= std::uint64_t{byte & 0x7fu} << shift;
            if (!(byte & 0x80)) return value;
        }
    }

    std::int64_t signed_number() {
        std::uint64_t value = 0;
        unsigned shift = 0;
        std::uint8_t byte;
        do {
            byte = fixed<std::uint8_t>();
            if (shift < 64) value |= std::uint64_t{byte & 0x7fu} << shift;
            shift += 7;
        } while (byte & 0x80);
        if (shift < 64 && (byte & 0x40)) value |= ~std::uint64_t{0} << shift;
        return static_cast<std::int64_t>(value);
    }

    std::string_view text() {
        const std::size_t length = rest_.find('\0');
        if (length == std::string_view::npos) {
            failed = true;
            return {};
        }
        return take(length + 1).substr(0, length);
    }

    std::string_view take(std::uint64_t count) {
        if (count > rest_.size()) {
            failed = true;
            count = rest_.size();
        }
        const std::string_view taken = rest_.substr(0, count);
        rest_.remove_prefix(count);
        return taken;
    }

    bool more() const { return !failed && !rest_.empty(); }
    bool failed = false;

private:
    std::string_view rest_;
};

}  // namespace kaas
