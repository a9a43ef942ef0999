// From the driver into a kernel: the loops over a block's threads, and the description of the kernel's parameters.
#pragma once

namespace kaas_device {

template <auto Function>
struct Entry;

template <class... Parameters, void (*Function)(Parameters...)>
struct Entry<Function> {
    static constexpr uint32_t count = sizeof...(Parameters);

    struct Layout {
        kaas_abi::Parameter parameters[count + 1] = {};
        uint32_t bytes = 0;

        constexpr Layout() {
            const uint32_t sizes[] = {sizeof(Parameters)..., 0}, alignments[] = {alignof(Parameters)..., 1};
            uint32_t most = 1;
            for (uint32_t index = 0; index < count; ++index) {
                const uint32_t alignment = alignments[index];
                bytes = (bytes + alignment - 1) / alignment * alignment;
                parameters[index] = {bytes, sizes[index]};
                bytes += sizes[index];
                if (alignment > most) most = alignment;
            }
            bytes = (bytes + most - 1) / most * most;
        }
    };
    static constexpr Layout layout{};

    // Runs the threads from the block's cursor on, until one of them has to wait or none is left.
    static void loop(kaas_abi::Block* block, Parameters... arguments) {
        const kaas_abi::Dim shape = block->block;
        if (shape.x > 1024 || shape.y > 1024 || shape.z > 64) __builtin_unreachable();
        state.index = block->index;
        state.block = shape;
        state.grid = block->grid;
        state.running = block;
        state.waited = false;
        unsigned x = 0, y = 0, z = 0;
        if (block->cursor) {
            x = block->cursor % shape.x;
            y = block->cursor / shape.x % shape.y;
            z = block->cursor / shape.x / shape.y;
        }
        for (; z < shape.z; ++z, y = 0) {
            for (; y < shape.y; ++y, x = 0) {
                for (; x < shape.x; ++x) {
                    state.thread = {x, y, z};
                    Function(arguments...);
                    if (state.waited) return;
                }
            }
        }
        block->cursor = shape.x * shape.y * shape.z;
    }

    template <uint32_t... Index>
    static void unpack(kaas_abi::Block* block, std::integer_sequence<uint32_t, Index...>) {
        [[maybe_unused]] const char* packed = static_cast<const char*>(block->arguments);
        loop(block, *reinterpret_cast<const Parameters*>(packed + layout.parameters[Index].offset)...);
    }

    static void run(kaas_abi::Block* block) { unpack(block, std::make_integer_sequence<uint32_t, count>()); }
};

template <auto Function>
constexpr kaas_abi::Kernel describe(const char* name) {
    using E = Entry<Function>;
    return {name, reinterpret_cast<const void*>(Function), &E::run, E::layout.parameters, E::count, E::layout.bytes};
}

template <uint32_t Count>
constexpr kaas_abi::Image image(const kaas_abi::Kernel (&kernels)[Count]) {
    return {kaas_abi::image_magic, kaas_abi::version, Count, kernels, sizeof(ThreadState)};
}

}  // namespace kaas_device
