#include "entry_points.h"

#include <cstring>

#include "entry_point_list.h"
#include "types.h"

// Only their addresses are used here, so their arguments do not matter.
#define KAAS_DECLARE(name, since, function) extern "C" int function();
KAAS_ENTRY_POINTS(KAAS_DECLARE)
#undef KAAS_DECLARE

namespace kaas {
namespace {

// Takes any arguments and looks at none.
extern "C" int kaas_unsupported() { return not_supported; }

struct Row {
    const char* name;
    int since;
    int (*function)();
};

#define KAAS_ROW(name, since, function) {#name, since, &::function},
#define KAAS_ABSENT_ROW(name, since) {#name, since, &kaas_unsupported},
constexpr Row rows[] = {
    KAAS_ENTRY_POINTS(KAAS_ROW)
    KAAS_ABSENT_ENTRY_POINTS(KAAS_ABSENT_ROW)
    // Contexts that are limited to some processors; takes other arguments.
    {"cuCtxCreate", 11040, &kaas_unsupported},
};
#undef KAAS_ROW
#undef KAAS_ABSENT_ROW

}  // namespace

EntryPoint entry_point(const char* name, int version) {
    const Row* latest = nullptr;
    bool known = false;
    for (const Row& row : rows) {
        if (std::strcmp(row.name, name) != 0) continue;
        known = true;
        if (row.since <= version && (!latest || row.since > latest->since)) latest = &row;
    }
    if (latest) return {EntryPointStatus::found, latest->function};
    return {known ? EntryPointStatus::version_not_sufficient : EntryPointStatus::symbol_not_found, nullptr};
}

}  // namespace kaas
