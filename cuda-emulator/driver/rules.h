// What the environment asks for in words: `name:key=value,key=value; name:...`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace kaas {

// Reports that a variable's text is wrong and throws Error(invalid_value). `wanted` ends "it must be ...".
[[noreturn]] void refuse_setting(const char* variable, const std::string& text, const std::string& wanted);
// What was refused last, for who cannot see standard error; empty where nothing was.
std::string refused_setting();

// A number of bytes, with K, M or G for powers of 1024. Throws as above.
std::size_t parse_bytes(const char* variable, const std::string& text);

class Rule {
public:
    // The rules in a variable; none where it is unset or empty. `names` are the ones there are, each with its keys.
    // Throws as above.
    using Names = std::map<std::string, std::vector<std::string>>;
    static std::vector<Rule> read(const char* variable, const Names& names);

    const std::string& name() const { return name_; }
    bool has(const std::string& key) const { return values_.count(key) != 0; }
    // Each refuses what it cannot read. Of what is not there they answer `otherwise`.
    std::uint64_t count(const std::string& key, std::uint64_t otherwise) const;    // from 1 on
    double probability(const std::string& key) const;                             // 0 to 1
    std::int64_t nanoseconds(const std::string& key, std::int64_t otherwise) const;  // "10us", "5ms", "2s"
    std::size_t bytes(const std::string& key, std::size_t otherwise) const;
    // Refuses the rule as a whole.
    [[noreturn]] void refuse(const std::string& wanted) const;

private:
    const std::string& text(const std::string& key) const { return values_.at(key); }

    const char* variable_ = nullptr;
    std::string name_, text_;
    std::map<std::string, std::string> values_;
};

}  // namespace kaas
