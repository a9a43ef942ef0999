#include "settings.h"

#include <sched.h>

#include <cstdlib>
#include <cstring>

#include "error.h"

namespace kaas {
namespace {

[[noreturn]] void refuse(const char* variable, const char* text, const char* wanted) {
    report("%s is \"%s\"; it must be %s", variable, text, wanted);
    throw Error(invalid_value);
}

std::size_t read_number(const char* variable, std::size_t otherwise, std::size_t least, std::size_t most) {
    const char* text = std::getenv(variable);
    if (!text || !*text) return otherwise;
    char* end;
    unsigned long long value = std::strtoull(text, &end, 10);
    if (end == text || *end || *text == '-' || value < least || value > most)
        refuse(variable, text, "a whole number in range");
    return value;
}

std::size_t read_bytes(const char* variable, std::size_t otherwise) {
    const char* text = std::getenv(variable);
    if (!text || !*text) return otherwise;
    constexpr const char* wanted = "a number of bytes, such as 1073741824, 512M or 2G";
    char* end;
    unsigned long long value = std::strtoull(text, &end, 10);
    if (end == text || *text == '-') refuse(variable, text, wanted);
    unsigned shift = 0;
    if (*end) {
        switch (*end++ | 0x20) {
            case 'k': shift = 10; break;
            case 'm': shift = 20; break;
            case 'g': shift = 30; break;
            default: refuse(variable, text, wanted);
        }
    }
    if (*end || value == 0 || value > (1ULL << 46) >> shift) refuse(variable, text, wanted);
    return static_cast<std::size_t>(value) << shift;
}

void read_capability(Settings& settings) {
    constexpr const char* variable = "KAAS_EMULATOR_COMPUTE_CAPABILITY";
    const char* text = std::getenv(variable);
    if (!text || !*text) text = "9.0";
    char* dot;
    char* end = nullptr;
    long major = std::strtol(text, &dot, 10);
    long minor = *dot == '.' ? std::strtol(dot + 1, &end, 10) : -1;
    if (major < 5 || major > 99 || minor < 0 || minor > 9 || *end || end == dot + 1)
        refuse(variable, text, "MAJOR.MINOR, such as 8.0 or 9.0, at least 5.0");
    settings.capability_major = static_cast<int>(major);
    settings.capability_minor = static_cast<int>(minor);
}

unsigned available_processors() {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? static_cast<unsigned>(count) : 1;
}

}  // namespace

Settings read_settings() {
    Settings settings;
    settings.devices = static_cast<int>(read_number("KAAS_EMULATOR_DEVICES", 1, 0, 64));
    settings.memory_bytes = read_bytes("KAAS_EMULATOR_MEMORY", std::size_t{2} << 30);
    const char* name = std::getenv("KAAS_EMULATOR_NAME");
    settings.name = name && *name ? name : "KaaS Emulated Device";
    read_capability(settings);
    settings.workers = static_cast<unsigned>(read_number("KAAS_EMULATOR_WORKERS", available_processors(), 1, 256));
    return settings;
}

}  // namespace kaas
