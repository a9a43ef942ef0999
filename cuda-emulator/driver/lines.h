// From an address in an image to the line of the user's source it came from.
#pragma once

#include <cstdint>
#include <string>

#include "inlined.h"

namespace kaas {

// Reads a .debug_line section of DWARF version 2 to 4 (DWARF Debugging Information Format, 6.2), on demand and without
// trust: a damaged section answers nothing. Addresses are as in the file, not as loaded.
class LineTable {
public:
    explicit LineTable(std::string section = {}) : section_(std::move(section)) {}

    // Where code is from: "file:line", empty where it is not known.
    struct Place {
        std::string line;
        bool exact = false;
    };

    // The line of the user's that the code at `address` is from, where it is from one. Else, as for code of the device
    // language, which stands in files with absolute names, the one that comes before it, but not before `function`, the
    // start of its function.
    Place find(std::uint64_t address, std::uint64_t function) const;

    // "file:line" of a call, empty where it stands in no file of the user's.
    std::string users_line(const Call& call) const;

private:
    std::string section_;
};

}  // namespace kaas
