#include "settings.h"

#include <sched.h>

#include <cstdlib>
#include <cstring>

#include "rules.h"

namespace kaas {
namespace {

std::size_t read_number(const char* variable, std::size_t otherwise, std::size_t least, std::size_t most) {
    const char* text = std::getenv(variable);
    if (!text || !*text) return otherwise;
    char* end;
    unsigned long long value = std::strtoull(text, &end, 10);
    if (end == text || *end || *text == '-' || value < least || value > most)
        refuse_setting(variable, text, "a whole number in range");
    return value;
}

std::size_t read_bytes(const char* variable, std::size_t otherwise) {
    const char* text = std::getenv(variable);
    return text && *text ? parse_bytes(variable, text) : otherwise;
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
        refuse_setting(variable, text, "MAJOR.MINOR, such as 8.0 or 9.0, at least 5.0");
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
    settings.checked = read_number("KAAS_EMULATOR_CHECKED", 0, 0, 1) != 0;
    settings.workers = static_cast<unsigned>(read_number("KAAS_EMULATOR_WORKERS", available_processors(), 1, 256));
    constexpr std::size_t week_ms = std::size_t{7} * 24 * 3600 * 1000;
    settings.watchdog_ns =
        static_cast<std::int64_t>(read_number("KAAS_EMULATOR_WATCHDOG_MS", 0, 0, week_ms)) * 1'000'000;
    settings.delays = Delays::read();
    settings.faults = Faults::read();
    return settings;
}

}  // namespace kaas
