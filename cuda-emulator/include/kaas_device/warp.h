// What the lanes of a warp do together: shuffles, votes, matches, reductions.
#pragma once

namespace kaas_device {

static inline uint64_t sync_warp(unsigned mask, kaas_abi::WarpOp op, uint64_t value = 0, unsigned source = 0) {
    return wait_for_others([=](kaas_abi::Block* block, unsigned thread) {
        return block->runtime->sync_warp(block, thread, mask, op, value, source);
    });
}

template <class T>
static inline uint64_t to_bits(T value) {
    static_assert(sizeof(T) <= 8, "a lane exchanges at most eight bytes");
    uint64_t bits = 0;
    __builtin_memcpy(&bits, &value, sizeof value);
    return bits;
}

template <class T>
static inline T from_bits(uint64_t bits) {
    T value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

template <class T>
static inline T shuffle(unsigned mask, T value, unsigned source) {
    return from_bits<T>(sync_warp(mask, kaas_abi::WarpOp::shuffle, to_bits(value), source));
}

// First lane of the segment of `width` lanes that this lane is in.
static inline int segment(int width) { return static_cast<int>(lane()) & ~(width - 1); }

}  // namespace kaas_device

template <class T>
static inline T __shfl_sync(unsigned mask, T value, int source, int width = warpSize) {
    return kaas_device::shuffle(mask, value, kaas_device::segment(width) + (source & (width - 1)));
}

template <class T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize) {
    const int self = kaas_device::lane(), source = self - static_cast<int>(delta);
    return kaas_device::shuffle(mask, value, source < kaas_device::segment(width) ? self : source);
}

template <class T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize) {
    const int self = kaas_device::lane(), source = self + static_cast<int>(delta);
    return kaas_device::shuffle(mask, value, source >= kaas_device::segment(width) + width ? self : source);
}

template <class T>
static inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = warpSize) {
    const int self = kaas_device::lane(), source = self ^ lane_mask;
    return kaas_device::shuffle(mask, value, source >= kaas_device::segment(width) + width ? self : source);
}

static inline void __syncwarp(unsigned mask = 0xffffffffu) { kaas_device::sync_warp(mask, kaas_abi::WarpOp::sync); }

static inline unsigned __activemask() {
    return static_cast<unsigned>(kaas_device::sync_warp(0, kaas_abi::WarpOp::active_mask));
}

static inline unsigned __ballot_sync(unsigned mask, int predicate) {
    return static_cast<unsigned>(kaas_device::sync_warp(mask, kaas_abi::WarpOp::ballot, predicate != 0));
}
static inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
static inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }

template <class T>
static inline unsigned __match_any_sync(unsigned mask, T value) {
    return static_cast<unsigned>(kaas_device::sync_warp(mask, kaas_abi::WarpOp::match_any, kaas_device::to_bits(value)));
}

template <class T>
static __forceinline__ unsigned __match_all_sync(unsigned mask, T value, int* predicate) {
    const auto lanes =
        static_cast<unsigned>(kaas_device::sync_warp(mask, kaas_abi::WarpOp::match_all, kaas_device::to_bits(value)));
    *predicate = lanes != 0;
    return lanes;
}

#define KAAS_REDUCE(name, type, op)                                                                           \
    static inline type name(unsigned mask, type value) {                                                      \
        return static_cast<type>(kaas_device::sync_warp(mask, kaas_abi::WarpOp::op, kaas_device::to_bits(value))); \
    }
KAAS_REDUCE(__reduce_add_sync, int, add)
KAAS_REDUCE(__reduce_add_sync, unsigned, add)
KAAS_REDUCE(__reduce_min_sync, int, min_signed)
KAAS_REDUCE(__reduce_min_sync, unsigned, min_unsigned)
KAAS_REDUCE(__reduce_max_sync, int, max_signed)
KAAS_REDUCE(__reduce_max_sync, unsigned, max_unsigned)
KAAS_REDUCE(__reduce_and_sync, unsigned, bit_and)
KAAS_REDUCE(__reduce_or_sync, unsigned, bit_or)
KAAS_REDUCE(__reduce_xor_sync, unsigned, bit_xor)
#undef KAAS_REDUCE
