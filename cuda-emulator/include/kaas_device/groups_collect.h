// Cooperative groups: reductions, scans and copies that a group makes together.
#pragma once

#include "groups.h"

namespace cooperative_groups {

#define KAAS_COMBINE(name, expression)                                                                        \
    template <class T>                                                                                        \
    struct name {                                                                                             \
        T operator()(T a, T b) const { return expression; }                                                   \
    };
KAAS_COMBINE(plus, a + b)
KAAS_COMBINE(less, b < a ? b : a)
KAAS_COMBINE(greater, a < b ? b : a)
KAAS_COMBINE(bit_and, a & b)
KAAS_COMBINE(bit_or, a | b)
KAAS_COMBINE(bit_xor, a ^ b)
#undef KAAS_COMBINE

// Every thread of the group gets the result.
template <class Group, class T, class Combine>
static inline T reduce(const Group& group, T value, Combine combine) {
    const unsigned threads = group.num_threads();
    // In the order of a tree over neighbours at growing distance, so that all threads round alike.
    T total = value;
    for (unsigned delta = 1; delta < threads; delta *= 2) {
        const T other = group.shfl_down(total, delta);
        if (group.thread_rank() + delta < threads && group.thread_rank() % (2 * delta) == 0)
            total = combine(total, other);
    }
    return group.shfl(total, 0);
}

template <class Group, class T, class Combine = plus<T>>
static inline T inclusive_scan(const Group& group, T value, Combine combine = {}) {
    for (unsigned delta = 1; delta < group.num_threads(); delta *= 2) {
        const T before = group.shfl_up(value, delta);
        if (group.thread_rank() >= delta) value = combine(before, value);
    }
    return value;
}

// The first thread gets T().
template <class Group, class T, class Combine = plus<T>>
static inline T exclusive_scan(const Group& group, T value, Combine combine = {}) {
    const T before = group.shfl_up(inclusive_scan(group, value, combine), 1);
    return group.thread_rank() == 0 ? T() : before;
}

// Copies are made at once; wait() lets every thread see what the others copied.
template <class Group>
static __forceinline__ void memcpy_async(const Group& group, void* target, const void* source, size_t bytes) {
    for (size_t at = group.thread_rank(); at < bytes; at += group.num_threads())
        static_cast<char*>(target)[at] = static_cast<const char*>(source)[at];
}

template <class Group, class T>
static __forceinline__ void memcpy_async(const Group& group, T* target, size_t room, const T* source, size_t count) {
    memcpy_async(group, static_cast<void*>(target), static_cast<const void*>(source),
                 (room < count ? room : count) * sizeof(T));
}

template <class Group>
static inline void wait(const Group& group) {
    group.sync();
}

template <unsigned Stages, class Group>
static inline void wait_prior(const Group& group) {
    group.sync();
}

}  // namespace cooperative_groups
