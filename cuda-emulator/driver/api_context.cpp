// Exported functions: contexts.
#include <algorithm>
#include <cstdio>
#include <string>

#include "api.h"
#include "rules.h"
#include "capture.h"

using namespace kaas;

namespace {

constexpr unsigned known_flags = 0xff;
constexpr int printf_fifo_bytes = 1;    // CU_LIMIT_PRINTF_FIFO_SIZE
constexpr unsigned api_version = 3020;  // what cuCtxGetApiVersion answers for cuCtxCreate_v2

Context* create(Device& device, unsigned flags) {
    require(!device.lost(), unknown_error);
    sleep_ns(device.settings().delays.context);
    return Handles<Context>::create(std::make_unique<Context>(device, flags));
}

void drop_from_stack(Context* context) {
    auto& stack = context_stack();
    if (!stack.empty() && stack.back() == context) stack.pop_back();
}

Context& of(Context* handle) { return Handles<Context>::get(handle, invalid_context); }

}  // namespace

KAAS_EXPORT cuCtxCreate_v2(Context** result, unsigned flags, DeviceOrdinal ordinal) {
    return guarded([&] {
        require(result && !(flags & ~known_flags));
        *result = create(device(ordinal), flags);
        context_stack().push_back(*result);
    });
}

KAAS_EXPORT cuCtxDestroy_v2(Context* handle) {
    return guarded([&] {
        devices();
        require(of(handle).device.primary != handle, invalid_context);
        Context::destroy(handle);
        drop_from_stack(handle);
    });
}

// Old names of what a context is created with: a count of one.
KAAS_EXPORT cuCtxAttach(Context** result, unsigned flags) {
    return guarded([&] {
        require(result && flags == 0);
        *result = &Context::current_or_failed();
    });
}

KAAS_EXPORT cuCtxDetach(Context* handle) { return cuCtxDestroy_v2(handle); }

KAAS_EXPORT cuCtxPushCurrent_v2(Context* handle) {
    return guarded([&] {
        devices();
        context_stack().push_back(&of(handle));
    });
}

KAAS_EXPORT cuCtxPopCurrent_v2(Context** result) {
    return guarded([&] {
        devices();
        auto& stack = context_stack();
        require(!stack.empty() && stack.back(), invalid_context);
        if (result) *result = stack.back();
        stack.pop_back();
    });
}

KAAS_EXPORT cuCtxSetCurrent(Context* handle) {
    return guarded([&] {
        devices();
        if (handle) of(handle);
        auto& stack = context_stack();
        if (!stack.empty()) stack.pop_back();
        if (handle) stack.push_back(handle);
    });
}

KAAS_EXPORT cuCtxGetCurrent(Context** result) {
    return guarded([&] {
        devices();
        require(result);
        auto& stack = context_stack();
        *result = stack.empty() ? nullptr : stack.back();
    });
}

KAAS_EXPORT cuCtxGetDevice(DeviceOrdinal* result) {
    return guarded([&] {
        require(result);
        *result = Context::current_or_failed().device.ordinal;
    });
}

KAAS_EXPORT cuCtxGetFlags(unsigned* flags) {
    return guarded([&] {
        require(flags);
        *flags = Context::current_or_failed().flags;
    });
}

KAAS_EXPORT cuCtxGetApiVersion(Context* handle, unsigned* version) {
    return guarded([&] {
        require(version);
        if (handle) of(handle);
        else Context::current_or_failed();
        *version = api_version;
    });
}

KAAS_EXPORT cuCtxSynchronize() {
    return guarded([] {
        Context& context = Context::current();
        refuse_in_capturing_context(context);
        context.synchronise();
        context.check();
    });
}

// Limits, cache and bank preferences are kept and answered; nothing here depends on them but what kernels may print.
KAAS_EXPORT cuCtxSetLimit(int limit, std::size_t value) {
    return guarded([&] {
        Context& context = Context::current();
        require(limit >= 0 && static_cast<std::size_t>(limit) < context.limits.size());
        context.limits[static_cast<std::size_t>(limit)] = value;
        if (limit == printf_fifo_bytes) context.output.set_limit(value);
    });
}

KAAS_EXPORT cuCtxGetLimit(std::size_t* value, int limit) {
    return guarded([&] {
        Context& context = Context::current();
        require(value && limit >= 0 && static_cast<std::size_t>(limit) < context.limits.size());
        *value = context.limits[static_cast<std::size_t>(limit)];
    });
}

KAAS_EXPORT cuCtxSetCacheConfig(int config) {
    return guarded([&] { Context::current().cache_config = config; });
}

KAAS_EXPORT cuCtxGetCacheConfig(int* config) {
    return guarded([&] {
        require(config);
        *config = Context::current().cache_config;
    });
}

KAAS_EXPORT cuCtxSetSharedMemConfig(int config) {
    return guarded([&] { Context::current().shared_config = config; });
}

KAAS_EXPORT cuCtxGetSharedMemConfig(int* config) {
    return guarded([&] {
        require(config);
        *config = Context::current().shared_config;
    });
}

KAAS_EXPORT cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    return guarded([&] {
        Context::current();
        if (least) *least = 0;
        if (greatest) *greatest = 0;
    });
}

// What the current context's first error was about, or what was wrong with the settings, as one sentence with an end
// mark, cut to `size` bytes. Answers its length; 0 where nothing went wrong. Not of the driver API: for whoever reports
// errors.
KAAS_EXPORT kaas_emulator_last_fault(char* text, std::size_t size) {
    if (is_forked_child() || !text || !size) return 0;
    const auto& stack = context_stack();
    const bool has_context = !stack.empty() && Handles<Context>::alive(stack.back());
    const std::string explanation = has_context ? stack.back()->explanation() : refused_setting();
    std::snprintf(text, size, "%s", explanation.c_str());
    return static_cast<int>(std::min(explanation.size(), size - 1));
}

// ***** primary contexts *****

KAAS_EXPORT cuDevicePrimaryCtxRetain(Context** result, DeviceOrdinal ordinal) {
    return guarded([&] {
        require(result);
        Device& owner = device(ordinal);
        std::lock_guard lock(owner.primary_mutex);
        if (!owner.primary) owner.primary = create(owner, owner.primary_flags);
        ++owner.primary_count;
        *result = owner.primary;
    });
}

KAAS_EXPORT cuDevicePrimaryCtxRelease_v2(DeviceOrdinal ordinal) {
    return guarded([&] {
        Device& owner = device(ordinal);
        std::lock_guard lock(owner.primary_mutex);
        require(owner.primary_count > 0, invalid_context);
        if (--owner.primary_count) return;
        Context::destroy(std::exchange(owner.primary, nullptr));
    });
}

KAAS_EXPORT cuDevicePrimaryCtxReset_v2(DeviceOrdinal ordinal) {
    return guarded([&] {
        Device& owner = device(ordinal);
        std::lock_guard lock(owner.primary_mutex);
        owner.primary_count = 0;
        if (owner.primary) Context::destroy(std::exchange(owner.primary, nullptr));
    });
}

KAAS_EXPORT cuDevicePrimaryCtxGetState(DeviceOrdinal ordinal, unsigned* flags, int* active) {
    return guarded([&] {
        Device& owner = device(ordinal);
        std::lock_guard lock(owner.primary_mutex);
        if (flags) *flags = owner.primary_flags;
        if (active) *active = owner.primary != nullptr;
    });
}

KAAS_EXPORT cuDevicePrimaryCtxSetFlags_v2(DeviceOrdinal ordinal, unsigned flags) {
    return guarded([&] {
        require(!(flags & ~known_flags));
        Device& owner = device(ordinal);
        std::lock_guard lock(owner.primary_mutex);
        owner.primary_flags = flags;
    });
}
