#include "inlined.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "bytes.h"

namespace kaas {
namespace {

// Names of the standard, chapter 7.5.
enum Tag : std::uint64_t { inlined_subroutine = 0x1d };
enum Attribute : std::uint64_t {
    stmt_list = 0x10,
    low_pc = 0x11,
    high_pc = 0x12,
    ranges = 0x55,
    call_file = 0x58,
    call_line = 0x59,
};
constexpr std::uint64_t form_of_address = 0x01;

// What an entry of the information consists of.
struct Abbreviation {
    std::uint64_t tag = 0;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> attributes;  // with their forms
};

std::map<std::uint64_t, Abbreviation> read_abbreviations(Bytes table) {
    std::map<std::uint64_t, Abbreviation> found;
    while (const std::uint64_t code = table.number()) {
        Abbreviation& one = found[code];
        one.tag = table.number();
        table.fixed<std::uint8_t>();  // whether entries stand below it
        for (;;) {
            const std::uint64_t attribute = table.number(), form = table.number();
            if (!attribute) break;
            one.attributes.emplace_back(attribute, form);
        }
    }
    return found;
}

// The value of a form, 0 where it is no number; none where the form is not known.
std::optional<std::uint64_t> read_value(Bytes& unit, std::uint64_t form) {
    auto skip = [&](std::uint64_t bytes) {
        unit.take(bytes);
        return 0;
    };
    switch (form) {
        case form_of_address: case 0x07: case 0x14: case 0x20: return unit.fixed<std::uint64_t>();
        case 0x03: return skip(unit.fixed<std::uint16_t>());
        case 0x04: return skip(unit.fixed<std::uint32_t>());
        case 0x05: case 0x12: return unit.fixed<std::uint16_t>();
        case 0x06: case 0x0e: case 0x10: case 0x13: case 0x17: return unit.fixed<std::uint32_t>();
        case 0x08: unit.text(); return 0;
        case 0x09: case 0x18: return skip(unit.number());
        case 0x0a: return skip(unit.fixed<std::uint8_t>());
        case 0x0b: case 0x0c: case 0x11: return unit.fixed<std::uint8_t>();
        case 0x0d: return static_cast<std::uint64_t>(unit.signed_number());
        case 0x0f: case 0x15: return unit.number();
        case 0x19: return 1;
        default: return std::nullopt;
    }
}

// What matters of an entry.
struct Entry {
    std::uint64_t start = 0, end = 0, table = 0, file = 0, line = 0;
    std::optional<std::uint64_t> ranges;
};

bool read_entry(Bytes& unit, const Abbreviation& abbreviation, Entry& entry) {
    bool is_end = false;
    for (const auto& [attribute, form] : abbreviation.attributes) {
        const std::optional<std::uint64_t> value = read_value(unit, form);
        if (!value) return false;
        switch (attribute) {
            case low_pc: entry.start = *value; break;
            case high_pc: entry.end = *value, is_end = form == form_of_address; break;
            case ranges: entry.ranges = *value; break;
            case stmt_list: entry.table = *value; break;
            case call_file: entry.file = *value; break;
            case call_line: entry.line = *value; break;
        }
    }
    if (!is_end) entry.end += entry.start;
    return !unit.failed;
}

bool in_ranges(std::string_view section, std::uint64_t offset, std::uint64_t base, std::uint64_t address) {
    Bytes list(section);
    list.take(offset);
    while (list.more()) {
        const auto start = list.fixed<std::uint64_t>(), end = list.fixed<std::uint64_t>();
        if (!start && !end) break;
        if (start == ~std::uint64_t{0}) base = end;
        else if (base + start <= address && address < base + end) return true;
    }
    return false;
}

}  // namespace

std::vector<Call> InlinedCalls::at(std::uint64_t address) const {
    std::vector<Call> calls;
    Bytes section(info_);
    while (section.more()) {
        const auto length = section.fixed<std::uint32_t>();
        Bytes unit(section.take(length));
        if (unit.fixed<std::uint16_t>() > 4) continue;
        Bytes table(abbreviations_);
        table.take(unit.fixed<std::uint32_t>());
        const auto abbreviations = read_abbreviations(table);
        unit.fixed<std::uint8_t>();  // bytes of an address
        std::optional<Entry> whole;
        while (unit.more()) {
            const std::uint64_t code = unit.number();
            if (!code) continue;  // the end of those below an entry
            const auto abbreviation = abbreviations.find(code);
            Entry entry;
            if (abbreviation == abbreviations.end() || !read_entry(unit, abbreviation->second, entry)) break;
            if (!whole) whole = entry;
            if (abbreviation->second.tag != inlined_subroutine) continue;
            // Those that hold the address stand below each other.
            if (entry.ranges ? in_ranges(ranges_, *entry.ranges, whole->start, address)
                             : entry.start <= address && address < entry.end)
                calls.push_back({whole->table, entry.file, static_cast<std::int64_t>(entry.line)});
        }
    }
    std::reverse(calls.begin(), calls.end());
    return calls;
}

}  // namespace kaas
