#include "operation.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "capture.h"
#include "error.h"
#include "fault.h"

namespace kaas {
namespace {

constexpr std::size_t most_argument_bytes = 4096;
// CU_DEVICE_ATTRIBUTE_MAX_PITCH.
constexpr std::size_t most_pitch = 0x7fffffff;

// Products of sizes that callers give do not fit 64 bits.
using Wide = unsigned __int128;

// Copies the arguments that the caller points at to where the kernel expects them.
std::vector<char> pack(const kaas_abi::Kernel& kernel, void** parameters) {
    std::vector<char> packed(kernel.argument_bytes);
    require(parameters || kernel.parameter_count == 0);
    for (std::uint32_t index = 0; index < kernel.parameter_count; ++index) {
        const kaas_abi::Parameter& parameter = kernel.parameters[index];
        require(parameters[index]);
        std::memcpy(packed.data() + parameter.offset, parameters[index], parameter.size);
    }
    return packed;
}

std::vector<char> take_packed(const kaas_abi::Kernel& kernel, void** extra) {
    const char* buffer = nullptr;
    std::size_t size = 0;
    for (; reinterpret_cast<std::uintptr_t>(*extra) != launch_extra_end; extra += 2) {
        switch (reinterpret_cast<std::uintptr_t>(extra[0])) {
            case launch_extra_pointer: buffer = static_cast<const char*>(extra[1]); break;
            case launch_extra_size: size = *static_cast<const std::size_t*>(extra[1]); break;
            default: throw Error(invalid_value);
        }
    }
    // Callers may leave out the padding behind the last parameter.
    std::size_t needed = 0;
    if (kernel.parameter_count) {
        const kaas_abi::Parameter& last = kernel.parameters[kernel.parameter_count - 1];
        needed = last.offset + last.size;
    }
    require(size >= needed && size <= most_argument_bytes && (buffer || !needed));
    std::vector<char> packed(kernel.argument_bytes);
    if (needed) std::memcpy(packed.data(), buffer, needed);
    return packed;
}

void check_grid(kaas_abi::Dim grid, kaas_abi::Dim block) {
    require(grid.x && grid.y && grid.z);
    require(grid.x <= 0x7fffffff && grid.y <= 65535 && grid.z <= 65535);
    if (std::uint64_t{grid.x} * block.x > kaas_abi::most_threads) {
        report("a launch has more than %u threads along x, which the emulated device does not support",
               kaas_abi::most_threads);
        throw Error(not_supported);
    }
}

// One side of a copy, as both sides have it.
struct Side {
    int kind;
    const void* host;
    DevicePointer device;
    std::size_t x, y, z;
    std::size_t& pitch;
    std::size_t& height;
};

// Fills in what the caller may leave out and answers the first byte.
char* first_byte(Context& context, const Copy3D& copy, const Side& side) {
    require(side.kind != memory_array, not_supported);
    require(side.kind == memory_host || side.kind == memory_device || side.kind == memory_unified);
    const bool one_row = copy.height == 1 && copy.depth == 1;
    if (side.pitch == 0) side.pitch = side.x + copy.width_bytes;
    if (side.height == 0) side.height = side.y + copy.height;
    require(one_row || (side.pitch <= most_pitch && side.pitch >= side.x + copy.width_bytes));
    require(copy.depth == 1 || side.height >= side.y + copy.height);
    const Wide offset = (Wide{side.z} * side.height + side.y) * side.pitch + side.x;
    const Wide bytes =
        (Wide{copy.depth - 1} * side.height + (copy.height - 1)) * side.pitch + copy.width_bytes;
    require(offset <= SIZE_MAX && bytes <= SIZE_MAX);
    const std::uintptr_t base =
        side.kind == memory_host ? reinterpret_cast<std::uintptr_t>(side.host) : side.device;
    require(base != 0);
    const std::uintptr_t start = base + static_cast<std::size_t>(offset);
    if (side.kind != memory_host) require(context.is_device_range(start, static_cast<std::size_t>(bytes)));
    return reinterpret_cast<char*>(start);
}

template <class Value>
void fill_rows(const MemorySet& set) {
    const auto value = static_cast<Value>(set.value);
    for (std::size_t row = 0; row < set.height; ++row) {
        auto* values = reinterpret_cast<Value*>(set.target + row * set.pitch);
        if constexpr (sizeof(Value) == 1) std::memset(values, value, set.width);
        else std::fill_n(values, set.width, value);
    }
}

template <class Body>
std::function<Result()> guarded_work(Body body) {
    return [body = std::move(body)]() mutable {
        auto run = [](void* argument) { static_cast<const Body*>(argument)->run(); };
        return guarded_run(run, &body) ? success : illegal_address;
    };
}

template <class Anything>
TaskPointer make_any_task(Context& context, Anything&& operation) {
    auto work = [&](std::function<Result()> body) {
        auto task = std::make_shared<Task>(Task::Kind::work, &context);
        task->work = std::move(body);
        return task;
    };
    if (auto* kernel = std::get_if<KernelOperation>(&operation)) {
        auto task = std::make_shared<Task>(Task::Kind::kernel, &context);
        Launch& launch = task->launch;
        launch.image = kernel->image;
        launch.kernel = kernel->kernel;
        launch.grid = kernel->grid;
        launch.block = kernel->block;
        launch.dynamic_shared_bytes = kernel->dynamic_shared_bytes;
        if constexpr (std::is_lvalue_reference_v<Anything>) launch.arguments = kernel->arguments;
        else launch.arguments = std::move(kernel->arguments);
        launch.blocks = std::uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
        // Eight turns per worker even out blocks of unequal length.
        launch.chunk = std::max<std::uint64_t>(1, launch.blocks / (std::uint64_t{context.device.workers()} * 8));
        return task;
    }
    if (auto* copy = std::get_if<CopyOperation>(&operation)) {
        TaskPointer task = work(guarded_work(*copy));
        const Copy3D& given = copy->given;
        task->direction = given.source_kind == memory_host   ? Direction::to_device
                          : given.target_kind == memory_host ? Direction::to_host
                                                             : Direction::on_device;
        task->bytes = given.width_bytes * given.height * given.depth;
        return task;
    }
    if (auto* set = std::get_if<SetOperation>(&operation)) return work(guarded_work(*set));
    if (auto* host = std::get_if<HostOperation>(&operation))
        return work([function = host->function, argument = host->argument] {
            function(argument);
            return success;
        });
    return std::make_shared<Task>(Task::Kind::marker, &context);
}

}  // namespace

void check_block(kaas_abi::Dim block) {
    require(block.x && block.y && block.z);
    require(block.x <= 1024 && block.y <= 1024 && block.z <= 64);
    require(std::uint64_t{block.x} * block.y * block.z <= 1024);
}

KernelOperation kernel_operation(Function& function, kaas_abi::Dim grid, kaas_abi::Dim block,
                                 unsigned dynamic_shared_bytes, void** parameters, void** extra) {
    check_block(block);
    check_grid(grid, block);
    const kaas_abi::Resources& needs = function.resources();
    require(std::uint64_t{block.x} * block.y * block.z <= needs.most_threads);
    require(dynamic_shared_bytes <=
            std::max(function.dynamic_shared_most, Device::shared_bytes_default - needs.static_shared_bytes));
    require(!(parameters && extra));
    return {&function, function.image, function.kernel, grid, block, dynamic_shared_bytes,
            extra ? take_packed(*function.kernel, extra) : pack(*function.kernel, parameters)};
}

void CopyOperation::run() const {
    const char* from = source;
    for (std::size_t plane = 0; plane < given.depth; ++plane) {
        for (std::size_t row = 0; row < given.height; ++row) {
            const std::size_t target_row = plane * given.target_height + row;
            const std::size_t source_row = plane * given.source_height + row;
            std::memmove(target + target_row * given.target_pitch, from + source_row * given.source_pitch,
                         given.width_bytes);
        }
    }
}

void SetOperation::run() const {
    switch (given.element_bytes) {
        case 1: return fill_rows<std::uint8_t>(given);
        case 2: return fill_rows<std::uint16_t>(given);
        default: return fill_rows<std::uint32_t>(given);
    }
}

bool copy_operation(Context& context, const Copy3D& given, CopyOperation& result) {
    if (given.width_bytes == 0 || given.height == 0 || given.depth == 0) return false;
    result = {given, nullptr, nullptr, nullptr};
    Copy3D& copy = result.given;
    result.source = first_byte(context, copy, {copy.source_kind, copy.source_host, copy.source_device, copy.source_x,
                                               copy.source_y, copy.source_z, copy.source_pitch, copy.source_height});
    result.target = first_byte(context, copy, {copy.target_kind, copy.target_host, copy.target_device, copy.target_x,
                                               copy.target_y, copy.target_z, copy.target_pitch, copy.target_height});
    return true;
}

CopyOperation flat_copy(int target_kind, const void* target, int source_kind, const void* source, std::size_t bytes) {
    Copy3D copy{};
    copy.source_kind = source_kind;
    copy.target_kind = target_kind;
    if (source_kind == memory_host) copy.source_host = source;
    else copy.source_device = reinterpret_cast<DevicePointer>(source);
    if (target_kind == memory_host) copy.target_host = const_cast<void*>(target);
    else copy.target_device = reinterpret_cast<DevicePointer>(target);
    copy.width_bytes = copy.source_pitch = copy.target_pitch = bytes;
    copy.height = copy.depth = copy.source_height = copy.target_height = 1;
    return {copy, static_cast<char*>(const_cast<void*>(target)), static_cast<const char*>(source), nullptr};
}

bool set_operation(Context& context, const MemorySet& given, SetOperation& result) {
    if (given.width == 0 || given.height == 0) return false;
    const std::size_t size = given.element_bytes;
    require(size == 1 || size == 2 || size == 4);
    require(given.target % size == 0 && given.width <= SIZE_MAX / size);
    result.given = given;
    if (given.height == 1) result.given.pitch = 0;
    else require(given.pitch % size == 0 && given.pitch <= most_pitch && given.pitch >= given.width * size);
    const Wide bytes = Wide{given.height - 1} * result.given.pitch + given.width * size;
    require(bytes <= SIZE_MAX && context.is_device_range(given.target, static_cast<std::size_t>(bytes)));
    return true;
}

TaskPointer make_task(Context& context, const Operation& operation) { return make_any_task(context, operation); }
TaskPointer make_task(Context& context, Operation&& operation) {
    return make_any_task<Operation>(context, std::move(operation));
}

TaskPointer enqueue(Context& context, Stream& stream, Operation&& operation) {
    if (captures_running() && capture_operation(stream, operation)) return nullptr;
    TaskPointer task = make_task(context, std::move(operation));
    context.submit(stream, task);
    return task;
}

}  // namespace kaas
