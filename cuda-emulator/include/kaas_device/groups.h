// Cooperative groups: threads of one block that act together. A group of lanes is the mask of its lanes; the rank of a
// lane in it is the number of its lanes below.
#pragma once

namespace kaas_device {

// A value of any size from another lane, eight bytes at a time.
template <class T>
static inline T exchange(unsigned mask, const T& value, unsigned source) {
    static_assert(std::is_trivially_copyable_v<T>, "a shuffle needs a type that can be copied byte by byte");
    constexpr unsigned words = (sizeof(T) + 7) / 8;
    uint64_t packed[words] = {};
    __builtin_memcpy(packed, &value, sizeof value);
    for (uint64_t& word : packed) word = shuffle(mask, word, source);
    T result;
    __builtin_memcpy(&result, packed, sizeof result);
    return result;
}

static inline unsigned nth_lane(unsigned mask, unsigned rank) {
    for (; rank && mask; --rank) mask &= mask - 1;
    return mask ? __builtin_ctz(mask) : kaas_abi::warp_size;
}

static inline unsigned block_threads() { return block_x * block_y * block_z; }

template <int>
constexpr bool never = false;

}  // namespace kaas_device

namespace cooperative_groups {

class thread_block;
class coalesced_group;

// What is done within a warp, whichever lanes take part. Group gives mask(), num_threads() and thread_rank().
template <class Group>
class kaas_lanes {
public:
    void sync() const { __syncwarp(self().mask()); }
    unsigned size() const { return self().num_threads(); }

    template <class T>
    T shfl(T value, unsigned source) const {
        return from_rank(value, source % self().num_threads());
    }
    template <class T>
    T shfl_down(T value, unsigned delta) const {
        return from_rank(value, self().thread_rank() + delta);
    }
    template <class T>
    T shfl_up(T value, unsigned delta) const {
        return from_rank(value, self().thread_rank() - delta);
    }

    int any(int predicate) const { return __any_sync(self().mask(), predicate); }
    int all(int predicate) const { return __all_sync(self().mask(), predicate); }
    unsigned ballot(int predicate) const { return packed(__ballot_sync(self().mask(), predicate)); }
    template <class T>
    unsigned match_any(T value) const {
        return packed(__match_any_sync(self().mask(), value));
    }
    template <class T>
    __forceinline__ unsigned match_all(T value, int& predicate) const {
        return packed(__match_all_sync(self().mask(), value, &predicate));
    }

protected:
    const Group& self() const { return static_cast<const Group&>(*this); }

    // The own value where no thread of the group has that rank.
    template <class T>
    T from_rank(const T& value, unsigned rank) const {
        const unsigned mask = self().mask();
        const bool there = rank < self().num_threads();
        return kaas_device::exchange(mask, value, there ? kaas_device::nth_lane(mask, rank) : kaas_device::lane());
    }

    // Lanes of the warp as bits by rank.
    unsigned packed(unsigned lanes) const {
        unsigned result = 0, rank = 0;
        for (unsigned rest = self().mask(); rest; rest &= rest - 1, ++rank)
            if (lanes & rest & -rest) result |= 1u << rank;
        return result;
    }
};

// ***** the block *****

class thread_block {
public:
    struct arrival_token {};

    static void sync() { __syncthreads(); }
    static arrival_token barrier_arrive() { return {}; }
    static void barrier_wait(arrival_token&&) { __syncthreads(); }
    static unsigned thread_rank() { return kaas_device::linear_thread(); }
    static unsigned num_threads() { return kaas_device::block_threads(); }
    static unsigned size() { return num_threads(); }
    static dim3 group_index() { return blockIdx; }
    static dim3 thread_index() { return threadIdx; }
    static dim3 group_dim() { return blockDim; }
    static dim3 dim_threads() { return blockDim; }
};

static inline thread_block this_thread_block() { return {}; }

// ***** tiles *****

template <unsigned Size, class Parent = void>
class thread_block_tile;

template <unsigned Size>
class thread_block_tile<Size, void> : public kaas_lanes<thread_block_tile<Size, void>> {
    static_assert(Size <= 32, "tiles of more than 32 threads are not emulated");
    static_assert(Size > 0 && (Size & (Size - 1)) == 0, "the size of a tile must be a power of two");

public:
    thread_block_tile() : parent_threads_(Size) {}
    // Of a group of so many threads, whose ranks follow each other in the block.
    explicit thread_block_tile(unsigned parent_threads) : parent_threads_(parent_threads) {}

    unsigned mask() const {
        constexpr unsigned all = Size == 32 ? ~0u : (1u << Size % 32) - 1;
        return all << kaas_device::lane() / Size * Size;
    }
    static constexpr unsigned num_threads() { return Size; }
    static constexpr unsigned size() { return Size; }
    static unsigned thread_rank() { return kaas_device::linear_thread() % Size; }
    unsigned meta_group_size() const { return (parent_threads_ + Size - 1) / Size; }
    unsigned meta_group_rank() const { return kaas_device::linear_thread() % parent_threads_ / Size; }

    template <class T>
    T shfl_xor(T value, unsigned lane_mask) const {
        return this->from_rank(value, thread_rank() ^ lane_mask);
    }

private:
    unsigned parent_threads_;
};

template <unsigned Size, class Parent>
class thread_block_tile : public thread_block_tile<Size, void> {
public:
    using thread_block_tile<Size, void>::thread_block_tile;
};

template <unsigned Size, class Parent>
static inline thread_block_tile<Size, Parent> tiled_partition(const Parent& parent) {
    return thread_block_tile<Size, Parent>(parent.num_threads());
}

static inline thread_block_tile<1> this_thread() { return thread_block_tile<1>(); }

// ***** lanes that happen to be together *****

class coalesced_group : public kaas_lanes<coalesced_group> {
public:
    explicit coalesced_group(unsigned mask, unsigned meta_rank = 0, unsigned meta_size = 1)
        : mask_(mask), meta_rank_(meta_rank), meta_size_(meta_size) {}

    unsigned mask() const { return mask_; }
    unsigned num_threads() const { return __builtin_popcount(mask_); }
    unsigned thread_rank() const { return __builtin_popcount(mask_ & ((1u << kaas_device::lane()) - 1)); }
    unsigned meta_group_rank() const { return meta_rank_; }
    unsigned meta_group_size() const { return meta_size_; }

private:
    unsigned mask_, meta_rank_, meta_size_;
};

static inline coalesced_group coalesced_threads() { return coalesced_group(__activemask()); }

// Those of the group that give the same label.
template <class Group, class Label>
static inline coalesced_group labeled_partition(const Group& group, Label label) {
    const unsigned mask = group.mask(), own = __match_any_sync(mask, label);
    // Partitions are numbered by their first lanes.
    const bool first = (own & ((1u << kaas_device::lane()) - 1)) == 0;
    const unsigned firsts = __ballot_sync(mask, first), before = (1u << __builtin_ctz(own)) - 1;
    return coalesced_group(own, __builtin_popcount(firsts & before), __builtin_popcount(firsts));
}

template <class Group>
static inline coalesced_group binary_partition(const Group& group, bool predicate) {
    const unsigned mask = group.mask(), yes = __ballot_sync(mask, predicate);
    return coalesced_group(predicate ? yes : mask & ~yes, predicate, 2);
}

// Every so many of the group's lanes.
static inline coalesced_group tiled_partition(const coalesced_group& parent, unsigned size) {
    const unsigned tile = parent.thread_rank() / size;
    unsigned mask = 0, rank = 0;
    for (unsigned rest = parent.mask(); rest; rest &= rest - 1, ++rank)
        if (rank / size == tile) mask |= rest & -rest;
    return coalesced_group(mask, tile, (parent.num_threads() + size - 1) / size);
}

// ***** any of them *****

class thread_group {
public:
    thread_group(const thread_block&) : mask_(0), whole_block_(true) {}
    thread_group(const coalesced_group& group) : mask_(group.mask()), whole_block_(false) {}
    template <unsigned Size, class Parent>
    thread_group(const thread_block_tile<Size, Parent>& tile) : mask_(tile.mask()), whole_block_(false) {}

    void sync() const {
        if (whole_block_) __syncthreads();
        else __syncwarp(mask_);
    }
    unsigned long long num_threads() const {
        return whole_block_ ? thread_block::num_threads() : coalesced_group(mask_).num_threads();
    }
    unsigned long long size() const { return num_threads(); }
    unsigned long long thread_rank() const {
        return whole_block_ ? thread_block::thread_rank() : coalesced_group(mask_).thread_rank();
    }

private:
    friend thread_group tiled_partition(const thread_group&, unsigned);
    unsigned mask_;
    bool whole_block_;
};

static inline thread_group tiled_partition(const thread_block& parent, unsigned size) {
    if (size == 0 || size > 32 || (size & (size - 1))) __trap();
    const unsigned start = kaas_device::lane() / size * size, all = size == 32 ? ~0u : (1u << size) - 1;
    const unsigned warp_start = kaas_device::linear_thread() / 32 * 32, left = parent.num_threads() - warp_start;
    return coalesced_group(all << start & (left >= 32 ? ~0u : (1u << left) - 1));
}

inline thread_group tiled_partition(const thread_group& parent, unsigned size) {
    if (parent.whole_block_) return tiled_partition(thread_block(), size);
    return tiled_partition(coalesced_group(parent.mask_), size);
}

template <class Group>
static inline void sync(const Group& group) {
    group.sync();
}
template <class Group>
static inline auto thread_rank(const Group& group) -> decltype(group.thread_rank()) {
    return group.thread_rank();
}
template <class Group>
static inline auto group_size(const Group& group) -> decltype(group.num_threads()) {
    return group.num_threads();
}

// ***** the grid: where a thread is, but no waiting *****

class grid_group {
public:
    static unsigned long long thread_rank() {
        return block_rank() * kaas_device::block_threads() + kaas_device::linear_thread();
    }
    static unsigned long long num_threads() { return num_blocks() * kaas_device::block_threads(); }
    static unsigned long long size() { return num_threads(); }
    static unsigned long long num_blocks() {
        return static_cast<unsigned long long>(gridDim.x) * gridDim.y * gridDim.z;
    }
    static unsigned long long block_rank() {
        return blockIdx.x + gridDim.x * (blockIdx.y + static_cast<unsigned long long>(gridDim.y) * blockIdx.z);
    }
    static dim3 dim_blocks() { return gridDim; }
    static dim3 group_dim() { return gridDim; }
    static dim3 block_index() { return blockIdx; }
    static constexpr bool is_valid() { return false; }
    template <int Dummy = 0>
    void sync() const {
        static_assert(kaas_device::never<Dummy>,
                      "synchronising a grid needs a cooperative launch, which is not emulated; use one kernel for each "
                      "part");
    }
};

static inline grid_group this_grid() { return {}; }

template <int Dummy = 0>
static inline grid_group this_cluster() {
    static_assert(kaas_device::never<Dummy>, "clusters of blocks are not emulated");
    return {};
}

template <int Dummy = 0>
static inline grid_group this_multi_grid() {
    static_assert(kaas_device::never<Dummy>, "grids over several devices are not emulated");
    return {};
}

}  // namespace cooperative_groups
