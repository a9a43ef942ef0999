// The driver's functions by name and version.
#pragma once

namespace kaas {

// Numbers of CUdriverProcAddressQueryResult.
enum class EntryPointStatus : int { found = 0, symbol_not_found = 1, version_not_sufficient = 2 };

struct EntryPoint {
    EntryPointStatus status;
    int (*function)();  // of its own type; null where it was not found
};

// The function that `name` means in CUDA version `version`, 1000 * major + 10 * minor.
EntryPoint entry_point(const char* name, int version);

}  // namespace kaas
