// Exported functions: modules, functions, launches.
#include <cstdio>
#include <string>

#include "api.h"
#include "capture.h"
#include "jit_log.h"
#include "operation.h"

using namespace kaas;

namespace {

// Numbers of CUfunction_attribute.
enum FunctionAttribute : int {
    max_threads_per_block,
    shared_bytes,
    constant_bytes,
    local_bytes,
    registers,
    ptx_version,
    binary_version,
    cache_mode,
    max_dynamic_shared_bytes,
    preferred_shared_carveout,
};

int load(Module** result, const void* image, unsigned option_count, const int* options, void** values) {
    return guarded([&] {
        Context& context = Context::current();
        require(result && image);
        refuse_while_capturing(context);
        JitLog log(option_count, options, values);
        sleep_ns(context.device.settings().delays.module);
        std::string explanation;
        std::shared_ptr<const Image> loaded;
        try {
            loaded = Image::load(image, context.device.memory, explanation);
        } catch (const Error&) {
            log.explain(explanation);
            throw;
        }
        *result = Handles<Module>::create(std::make_unique<Module>(Module{&context, std::move(loaded), {}}));
        std::lock_guard lock(context.object_mutex);
        context.modules.push_back(*result);
    });
}

}  // namespace

KAAS_EXPORT cuModuleLoadData(Module** result, const void* image) { return load(result, image, 0, nullptr, nullptr); }

KAAS_EXPORT cuModuleLoadDataEx(Module** result, const void* image, unsigned option_count, const int* options,
                               void** values) {
    return load(result, image, option_count, options, values);
}

KAAS_EXPORT cuModuleLoadFatBinary(Module** result, const void* image) {
    return load(result, image, 0, nullptr, nullptr);
}

KAAS_EXPORT cuModuleLoad(Module** result, const char* path) {
    std::string content;
    const int code = guarded([&] {
        Context::current();
        require(path);
        std::FILE* file = std::fopen(path, "rb");
        require(file, file_not_found);
        char buffer[1 << 16];
        while (const std::size_t count = std::fread(buffer, 1, sizeof buffer, file)) content.append(buffer, count);
        std::fclose(file);
    });
    return code ? code : load(result, content.c_str(), 0, nullptr, nullptr);
}

KAAS_EXPORT cuModuleUnload(Module* handle) {
    return guarded([&] {
        Context::current_or_failed();
        std::unique_ptr<Module> module = Handles<Module>::take(handle);
        module->image->unload();
        Context& context = *module->context;
        context.output.flush();
        std::lock_guard lock(context.object_mutex);
        std::erase(context.modules, handle);
        for (Function* function : module->functions) Handles<Function>::take(function);
    });
}

KAAS_EXPORT cuModuleGetFunction(Function** result, Module* handle, const char* name) {
    return guarded([&] {
        Context& context = Context::current();
        require(result && name);
        Module& module = Handles<Module>::get(handle);
        const kaas_abi::Kernel* kernel = module.image->kernel(name);
        require(kernel, not_found);
        std::lock_guard lock(context.object_mutex);
        for (Function* known : module.functions) {
            if (known->kernel != kernel) continue;
            *result = known;
            return;
        }
        const unsigned left = Device::shared_bytes_default - module.image->resources(*kernel).static_shared_bytes;
        *result = Handles<Function>::create(
            std::make_unique<Function>(Function{module.context, module.image, kernel, left}));
        module.functions.push_back(*result);
    });
}

KAAS_EXPORT cuModuleGetGlobal_v2(DevicePointer* address, std::size_t* bytes, Module* handle, const char* name) {
    return guarded([&] {
        Context::current();
        require(name);
        const Image::Global global = Handles<Module>::get(handle).image->global(name);
        if (address) *address = global.address;
        if (bytes) *bytes = global.bytes;
    });
}

KAAS_EXPORT cuFuncGetAttribute(int* value, int attribute, Function* handle) {
    return guarded([&] {
        Context::current();
        require(value);
        const Function& function = Handles<Function>::get(handle);
        const Device& device = function.context->device;
        switch (attribute) {
            case max_threads_per_block: *value = static_cast<int>(function.resources().most_threads); break;
            case shared_bytes: *value = static_cast<int>(function.resources().static_shared_bytes); break;
            case constant_bytes: case local_bytes: case registers: case cache_mode: *value = 0; break;
            case ptx_version: case binary_version:
                *value = device.capability_major * 10 + device.capability_minor;
                break;
            case max_dynamic_shared_bytes: *value = static_cast<int>(function.dynamic_shared_most); break;
            case preferred_shared_carveout: *value = -1; break;
            default: throw Error(not_supported);
        }
    });
}

KAAS_EXPORT cuFuncSetAttribute(Function* handle, int attribute, int value) {
    return guarded([&] {
        Context::current();
        Function& function = Handles<Function>::get(handle);
        if (attribute == max_dynamic_shared_bytes) {
            const unsigned most = function.context->device.shared_bytes_most();
            require(value >= 0 && static_cast<unsigned>(value) <= most - function.resources().static_shared_bytes);
            function.dynamic_shared_most = static_cast<unsigned>(value);
        } else {
            // How caches divide is a preference; everything else here is read only or not emulated.
            require(attribute == preferred_shared_carveout, not_supported);
        }
    });
}

KAAS_EXPORT cuFuncSetCacheConfig(Function* handle, int) {
    return guarded([&] {
        Context::current();
        Handles<Function>::get(handle);
    });
}

KAAS_EXPORT cuFuncSetSharedMemConfig(Function* handle, int config) { return cuFuncSetCacheConfig(handle, config); }

// A launch of the old kind (cuLaunchGrid) would use this shape, but those are not supported. PyCUDA sets it before it
// calls cuLaunchKernel with the same shape.
KAAS_EXPORT cuFuncSetBlockShape(Function* handle, int x, int y, int z) {
    return guarded([&] {
        Context::current();
        Handles<Function>::get(handle);
        require(x > 0 && y > 0 && z > 0);
        check_block({static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z)});
    });
}

KAAS_EXPORT cuLaunchKernel(Function* handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                           unsigned block_y, unsigned block_z, unsigned dynamic_shared_bytes, StreamHandle stream_handle,
                           void** parameters, void** extra) {
    return guarded([&] {
        Context& context = Context::current();
        Function& function = Handles<Function>::get(handle);
        require(function.context == &context, invalid_handle);
        Stream& stream = stream_of(context, stream_handle);
        context.output.flush();
        enqueue(context, stream,
                kernel_operation(function, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, dynamic_shared_bytes,
                                 parameters, extra));
    });
}
