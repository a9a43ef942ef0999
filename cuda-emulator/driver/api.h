// What the exported functions share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "context.h"
#include "error.h"
#include "handles.h"
#include "types.h"

#define KAAS_EXPORT extern "C" __attribute__((visibility("default"))) int

namespace kaas {

using StreamHandle = Stream*;
using EventHandle = Event*;

// How a dependency works (CUgraphEdgeData); all zero: one node after the other has ended.
struct EdgeData {
    unsigned char bytes[8];
};

// True where none of the edges is of another kind; null means that none is.
inline bool are_plain(const EdgeData* edges, std::size_t count) {
    return !edges || std::all_of(edges, edges + count, [](const EdgeData& edge) {
        return std::all_of(std::begin(edge.bytes), std::end(edge.bytes), [](unsigned char byte) { return !byte; });
    });
}

// The stream a handle means in this context. Throws Error(invalid_handle).
inline Stream& stream_of(Context& context, StreamHandle handle) {
    const auto number = reinterpret_cast<std::uintptr_t>(handle);
    if (number == 0 || number == legacy_stream_handle) return context.legacy;
    require(number != per_thread_stream_handle, not_supported);
    Stream& stream = Handles<Stream>::get(handle);
    require(stream.context == &context, invalid_handle);
    return stream;
}

}  // namespace kaas
