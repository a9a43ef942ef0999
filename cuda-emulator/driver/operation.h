// What a stream or a graph can be given to do, before it becomes a task of the device.
#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "context.h"
#include "types.h"

namespace kaas {

struct KernelOperation {
    Function* function;  // the handle it was made from, for callers that ask; not looked into
    std::shared_ptr<const Image> image;
    const kaas_abi::Kernel* kernel;
    kaas_abi::Dim grid, block;
    unsigned dynamic_shared_bytes;
    std::vector<char> arguments;
};

struct CopyOperation {
    Copy3D given;                               // as the caller described it
    char* target;                               // first byte of each side
    const char* source;
    std::shared_ptr<const std::vector<char>> staged;  // what `source` points into, if the caller's memory was copied

    bool is_flat() const { return given.height == 1 && given.depth == 1; }
    // Does it; may fault.
    void run() const;
};

struct SetOperation {
    MemorySet given;

    void run() const;
};

struct HostOperation {
    void (*function)(void*);
    void* argument;
};

// An event inside a graph.
struct RecordOperation {
    Event* event;
};
struct WaitOperation {
    Event* event;
};

struct EmptyOperation {};

using Operation = std::variant<EmptyOperation, KernelOperation, CopyOperation, SetOperation, HostOperation,
                               RecordOperation, WaitOperation>;

// Checks a launch as the driver does and takes its arguments. Throws Error(invalid_value), Error(not_supported).
KernelOperation kernel_operation(Function& function, kaas_abi::Dim grid, kaas_abi::Dim block,
                                 unsigned dynamic_shared_bytes, void** parameters, void** extra);
// Throws Error(invalid_value) where the block cannot be.
void check_block(kaas_abi::Dim block);

// Checks pitches and ranges. Answers false where nothing is to be copied. Throws Error(invalid_value), and
// Error(not_supported) where a side is an array.
bool copy_operation(Context& context, const Copy3D& given, CopyOperation& result);
// A copy of consecutive bytes whose sides were checked.
CopyOperation flat_copy(int target_kind, const void* target, int source_kind, const void* source, std::size_t bytes);

// Likewise for a set. Throws Error(invalid_value).
bool set_operation(Context& context, const MemorySet& given, SetOperation& result);

// The task that does it. Of an event only its place in the order: the caller sees to what it means.
TaskPointer make_task(Context& context, const Operation& operation);
TaskPointer make_task(Context& context, Operation&& operation);

// Puts it at the end of a stream and answers its task, or null where the stream is captured and it became a node.
TaskPointer enqueue(Context& context, Stream& stream, Operation&& operation);

}  // namespace kaas
