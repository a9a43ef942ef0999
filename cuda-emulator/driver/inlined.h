// Which calls of functions the compiler replaced by the functions' code, and where.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kaas {

// Where a call stands: a line in a file, by its number in the line table that is at the offset `table` of its section.
struct Call {
    std::uint64_t table = 0, file = 0;
    std::int64_t line = 0;
};

// Reads the sections .debug_info, .debug_abbrev and .debug_ranges of DWARF version 2 to 4 (DWARF Debugging Information
// Format, 2.17, 3.3.8 and 7.5), on demand and without trust: what is damaged answers nothing. Addresses are as in the
// file, not as loaded.
class InlinedCalls {
public:
    InlinedCalls() = default;
    InlinedCalls(std::string info, std::string abbreviations, std::string ranges)
        : info_(std::move(info)), abbreviations_(std::move(abbreviations)), ranges_(std::move(ranges)) {}

    // The calls in whose place the code at `address` stands, the innermost first.
    std::vector<Call> at(std::uint64_t address) const;

private:
    std::string info_, abbreviations_, ranges_;
};

}  // namespace kaas
