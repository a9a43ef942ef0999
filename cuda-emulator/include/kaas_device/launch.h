// From the driver into a kernel: the loops over a block's threads, and the description of the kernel's parameters.
#pragma once

namespace kaas_device {

// Makes sure that this thread has its storage. The images use TLS descriptors, whose calls keep all registers, except
// that glibc before 2.40 loses vector registers in the one call that allocates; here none is in use.
static thread_local volatile bool storage_touched;
[[gnu::noipa]] static void touch_thread_storage() { storage_touched = true; }

template <class>
constexpr bool is_kernel = false;

template <auto Function>
struct Entry {
    static_assert(is_kernel<decltype(Function)>, "a kernel must return void");
};

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

    // How the kernel most likely counts its threads, told from its sizes: as an int where it takes one or none at all.
    template <class T>
    static constexpr bool is_size = std::is_integral_v<T> && sizeof(T) >= sizeof(int);
    static constexpr bool takes_int = (std::is_same_v<Parameters, int> || ...);
    using Index = std::conditional_t<!takes_int && (is_size<Parameters> || ...), unsigned, int>;

    // Runs the threads from the block's cursor on, until one of them has to wait or none is left.
    static void loop(kaas_abi::Block* block, Parameters... arguments) {
        const kaas_abi::Dim shape = block->block, index = block->index;
        if (shape.x > 1024 || shape.y > 1024 || shape.z > 64) __builtin_unreachable();
        // The driver refuses launches with more threads along an axis: so an int holds a thread's index in the grid.
        const unsigned base_x = index.x * shape.x, base_y = index.y * shape.y;
        if (base_x > kaas_abi::most_threads || base_y > kaas_abi::most_threads) __builtin_unreachable();
        // Uses that keep the two values, and what is known of them, until a kernel's own product is found equal.
        __asm__("" : : "r"(base_x), "r"(base_y));
        index_x = index.x, index_y = index.y, index_z = index.z;
        block_x = shape.x, block_y = shape.y, block_z = shape.z;
        grid_x = block->grid.x, grid_y = block->grid.y, grid_z = block->grid.z;
        running = block;
        waited = false;
        unsigned x = 0, y = 0, z = 0;
        if (block->cursor) {
            x = block->cursor % shape.x;
            y = block->cursor / shape.x % shape.y;
            z = block->cursor / shape.x / shape.y;
        }
        for (; z < shape.z; ++z, y = 0) {
            for (; y < shape.y; ++y, x = 0) {
                // Counted as the kernel counts, by the thread's index in the grid: its `if (i < n)` is then a condition
                // on the loop's own variable, at which the compiler can split the loop.
                const Index end = static_cast<Index>(base_x + shape.x), first = static_cast<Index>(base_x + x);
                if (static_cast<int>(first) < 0 || static_cast<int>(end) < 0 || end < first) __builtin_unreachable();
                for (Index i = first; i < end; ++i) {
                    thread_x = static_cast<unsigned>(i) - base_x, thread_y = y, thread_z = z;
                    Function(arguments...);
                    if (waited) return;
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

    static void run(kaas_abi::Block* block) {
        touch_thread_storage();
        unpack(block, std::make_integer_sequence<uint32_t, count>());
    }
};

template <auto Function>
constexpr kaas_abi::Kernel describe(const char* name) {
    using E = Entry<Function>;
    return {name, reinterpret_cast<const void*>(Function), &E::run, E::layout.parameters, E::count, E::layout.bytes};
}

template <uint32_t Count>
constexpr kaas_abi::Image image(const kaas_abi::Kernel (&kernels)[Count]) {
    return {kaas_abi::image_magic, kaas_abi::version, Count, kernels, device_memory};
}

// The most threads of a block, from what __launch_bounds__ is given; the others of its numbers only advise.
constexpr unsigned launch_bound(long long threads, long long = 0, long long = 0) {
    return threads > 0 && threads < 1024 ? static_cast<unsigned>(threads) : 1024;
}

}  // namespace kaas_device
