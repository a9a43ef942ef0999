// From an address in an image to the line of the user's source it came from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace kaas {

// Reads a .debug_line section of DWARF version 2 to 4 (DWARF Debugging Information Format, 6.2), on demand and without
// trust: a damaged section answers nothing. Addresses are as in the file, not as loaded.
class LineTable {
public:
    explicit LineTable(std::string section = {}) : section_(std::move(section)) {}

    // "file:line" of the code at `address`, empty where it is not known. Code of the device language, which stands in
    // files with absolute names, belongs to the line of the user's that comes before it, but not before `function`,
    // the start of its function.
    std::string find(std::uint64_t address, std::uint64_t function) const;

private:
    std::string section_;
};

}  // namespace kaas
