// What the exported functions share.
#pragma once

#include "context.h"
#include "error.h"
#include "handles.h"
#include "types.h"

#define KAAS_EXPORT extern "C" __attribute__((visibility("default"))) int

namespace kaas {

using StreamHandle = Stream*;
using EventHandle = Event*;

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
