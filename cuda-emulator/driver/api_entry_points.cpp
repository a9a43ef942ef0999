// Exported functions: the driver's functions by name and version.
#include "api.h"
#include "entry_points.h"

using namespace kaas;

namespace {

// Values of CUdriverProcAddress_flags.
enum SearchFlag : std::uint64_t { legacy_stream = 1, per_thread_default_stream = 2 };

int search(const char* name, void** result, int version, std::uint64_t flags, EntryPointStatus& status) {
    return guarded([&] {
        require(name && result && version > 0 && flags <= per_thread_default_stream);
        *result = nullptr;
        // Those for per-thread default streams would act in another stream than the caller means.
        require(flags != per_thread_default_stream, not_supported);
        const EntryPoint found = entry_point(name, version);
        status = found.status;
        *result = reinterpret_cast<void*>(found.function);
    });
}

}  // namespace

KAAS_EXPORT cuGetProcAddress_v2(const char* name, void** result, int version, std::uint64_t flags, int* status) {
    EntryPointStatus found{};
    const int code = search(name, result, version, flags, found);
    if (code == success && status) *status = static_cast<int>(found);
    return code;
}

// As it was up to CUDA 11: what is not there is an error.
KAAS_EXPORT cuGetProcAddress(const char* name, void** result, int version, std::uint64_t flags) {
    EntryPointStatus found{};
    const int code = search(name, result, version, flags, found);
    return code == success && found != EntryPointStatus::found ? not_found : code;
}
