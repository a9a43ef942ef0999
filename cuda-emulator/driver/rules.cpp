#include "rules.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "error.h"

namespace kaas {
namespace {

// Longest of a wait, in seconds: a week. Anything longer is a slip.
constexpr double most_seconds = 7 * 24 * 3600;

std::mutex& refusal_mutex() {
    static auto* mutex = new std::mutex;
    return *mutex;
}
std::string& refusal() {
    static auto* text = new std::string;
    return *text;
}

std::string trimmed(const std::string& text) {
    const std::size_t start = text.find_first_not_of(" \t\n");
    if (start == std::string::npos) return {};
    return text.substr(start, text.find_last_not_of(" \t\n") - start + 1);
}

std::vector<std::string> split(const std::string& text, char separator) {
    std::vector<std::string> parts;
    std::size_t start = 0;
    for (;;) {
        const std::size_t end = text.find(separator, start);
        parts.push_back(trimmed(text.substr(start, end - start)));
        if (end == std::string::npos) return parts;
        start = end + 1;
    }
}

template <class Items, class Name>
std::string listed(const Items& items, Name&& name) {
    std::string text;
    for (const auto& item : items) text += (text.empty() ? "" : ", ") + name(item);
    return text;
}

// A decimal number that is not negative; answers where it ends, null where there is none.
const char* read_number(const std::string& text, double& value) {
    if (text.empty() || !std::strchr("0123456789.", text[0])) return nullptr;
    char* end;
    value = std::strtod(text.c_str(), &end);
    return end == text.c_str() || !std::isfinite(value) ? nullptr : end;
}

}  // namespace

void refuse_setting(const char* variable, const std::string& text, const std::string& wanted) {
    const std::string told = std::string(variable) + " is \"" + text + "\"; it must be " + wanted;
    report("%s", told.c_str());
    std::lock_guard lock(refusal_mutex());
    refusal() = told;
    throw Error(invalid_value);
}

std::string refused_setting() {
    std::lock_guard lock(refusal_mutex());
    return refusal();
}

std::size_t parse_bytes(const char* variable, const std::string& text) {
    constexpr const char* wanted = "a number of bytes, such as 1073741824, 512M or 2G";
    const char* start = text.c_str();
    char* end;
    const unsigned long long value = std::strtoull(start, &end, 10);
    if (end == start || *start == '-') refuse_setting(variable, text, wanted);
    unsigned shift = 0;
    if (*end) {
        switch (*end++ | 0x20) {
            case 'k': shift = 10; break;
            case 'm': shift = 20; break;
            case 'g': shift = 30; break;
            default: refuse_setting(variable, text, wanted);
        }
    }
    if (*end || value == 0 || value > (1ULL << 46) >> shift) refuse_setting(variable, text, wanted);
    return static_cast<std::size_t>(value) << shift;
}

std::vector<Rule> Rule::read(const char* variable, const Names& names) {
    const char* given = std::getenv(variable);
    std::vector<Rule> rules;
    if (!given || trimmed(given).empty()) return rules;
    for (const std::string& part : split(given, ';')) {
        if (part.empty()) continue;
        Rule rule;
        rule.variable_ = variable;
        rule.text_ = part;
        const std::size_t colon = part.find(':');
        rule.name_ = trimmed(part.substr(0, colon));
        const auto known = names.find(rule.name_);
        if (known == names.end())
            rule.refuse("NAME:KEY=VALUE,..., where the name is one of " +
                        listed(names, [](const auto& entry) { return entry.first; }));
        const auto& keys = known->second;
        const std::string rest = colon == std::string::npos ? "" : part.substr(colon + 1);
        for (const std::string& assignment : split(rest, ',')) {
            const std::size_t equals = assignment.find('=');
            const std::string key = trimmed(assignment.substr(0, equals));
            bool found = equals != std::string::npos && !rule.values_.count(key);
            if (found) {
                found = false;
                for (const std::string& one : keys) found |= one == key;
            }
            if (!found)
                rule.refuse(rule.name_ + ":KEY=VALUE,..., each key once, of " +
                            listed(keys, [](const std::string& one) { return one; }));
            rule.values_[key] = trimmed(assignment.substr(equals + 1));
        }
        rules.push_back(std::move(rule));
    }
    return rules;
}

void Rule::refuse(const std::string& wanted) const { refuse_setting(variable_, text_, wanted); }

std::uint64_t Rule::count(const std::string& key, std::uint64_t otherwise) const {
    if (!has(key)) return otherwise;
    char* end;
    const std::string& value = text(key);
    const unsigned long long number = std::strtoull(value.c_str(), &end, 10);
    if (value.empty() || *end || value[0] == '-' || number == 0 || number > 1ULL << 62)
        refuse("a rule whose " + key + " is a whole number from 1 on");
    return number;
}

double Rule::probability(const std::string& key) const {
    double value;
    const char* end = read_number(text(key), value);
    if (!end || *end || value > 1) refuse("a rule whose " + key + " is a number from 0 to 1");
    return value;
}

std::int64_t Rule::nanoseconds(const std::string& key, std::int64_t otherwise) const {
    if (!has(key)) return otherwise;
    double value;
    const char* unit = read_number(text(key), value);
    double seconds = -1;
    if (unit && std::strcmp(unit, "us") == 0) seconds = value * 1e-6;
    if (unit && std::strcmp(unit, "ms") == 0) seconds = value * 1e-3;
    if (unit && std::strcmp(unit, "s") == 0) seconds = value;
    if (seconds < 0 || seconds > most_seconds) refuse("a rule whose " + key + " is a time, such as 10us, 5ms or 2s");
    return std::llround(seconds * 1e9);
}

std::size_t Rule::bytes(const std::string& key, std::size_t otherwise) const {
    return has(key) ? parse_bytes(variable_, text(key)) : otherwise;
}

}  // namespace kaas
