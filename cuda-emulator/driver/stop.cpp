#include "stop.h"

#include <cstdio>
#include <string_view>

#include "context.h"
#include "launch.h"

namespace kaas {
namespace {

using kaas_abi::WarpOp;

std::string number(std::uint64_t value) { return std::to_string(value); }

std::string hexadecimal(std::uint64_t value) {
    char text[24];
    std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
    return text;
}

std::string triple(kaas_abi::Dim dim) {
    return "(" + number(dim.x) + "," + number(dim.y) + "," + number(dim.z) + ")";
}

std::string thread_name(unsigned thread, kaas_abi::Dim block) {
    return triple({thread % block.x, thread / block.x % block.y, thread / block.x / block.y});
}

const char* name(WarpOp op) {
    switch (op) {
        case WarpOp::sync: return "a warp barrier";
        case WarpOp::shuffle: return "a shuffle";
        case WarpOp::ballot: return "a vote";
        case WarpOp::active_mask: return "__activemask";
        case WarpOp::match_any: case WarpOp::match_all: return "a match";
        default: return "a warp reduction";
    }
}

// A return address belongs to the call before it.
std::string place_of(const Launch& launch, const void* place) {
    return place ? launch.image->place(reinterpret_cast<std::uintptr_t>(place) - 1) : std::string();
}

std::string describe_deadlock(const Stop& stop, const Launch& launch) {
    std::string text = "the threads of block " + triple(stop.block) + " wait for each other and none can go on:";
    constexpr std::size_t most = 4;
    for (std::size_t index = 0; index < stop.waiting.size() && index < most; ++index) {
        const Waiting& waiting = stop.waiting[index];
        text += index ? "; " : " ";
        text += number(waiting.count) + (waiting.count == 1 ? " thread" : " threads");
        if (waiting.count > 1) text += ", the first";
        text += " " + thread_name(waiting.first, launch.block) + ", at ";
        text += waiting.whole_block ? "the block's barrier" : name(waiting.op);
        if (const std::string line = place_of(launch, waiting.place); !line.empty()) text += " (" + line + ")";
        if (!waiting.whole_block && waiting.mask) text += " with mask " + hexadecimal(waiting.mask);
    }
    if (stop.waiting.size() > most) text += "; and at " + number(stop.waiting.size() - most) + " more places";
    return text;
}

std::string describe_access(const Stop& stop, const Context& context) {
    std::string text = stop.write ? "a write" : "a read";
    if (stop.bytes) text += " of " + number(stop.bytes) + (stop.bytes == 1 ? " byte" : " bytes");
    if (stop.kind == Stop::Kind::misaligned) {
        text += " at an address that is not a multiple of ";
        return text + (stop.bytes ? number(stop.bytes) : "what its type wants") +
               (stop.address ? " (" + hexadecimal(stop.address) + ")" : "");
    }
    constexpr std::uintptr_t near = 1 << 16;
    if (stop.address < near) return text + " through a null pointer (address " + hexadecimal(stop.address) + ")";
    if (stop.shared && stop.address + near >= stop.shared && stop.address < stop.shared + stop.shared_bytes + near) {
        text += stop.address < stop.shared
                    ? " " + number(stop.shared - stop.address) + " bytes before the start of"
                    : " " + number(stop.address - stop.shared - stop.shared_bytes) + " bytes past the end of";
        return text + " the block's " + number(stop.shared_bytes) + " bytes of dynamic shared memory";
    }
    return text + " at address " + hexadecimal(stop.address) + ", " + context.device.memory.describe(stop.address, stop.bytes);
}

std::string describe(const Stop& stop, const Launch& launch, const Context& context) {
    switch (stop.kind) {
        case Stop::Kind::failure: return stop.message;
        case Stop::Kind::no_stack: return "no memory for the stacks of its threads";
        case Stop::Kind::deadlock: return describe_deadlock(stop, launch);
        case Stop::Kind::foreign_mask:
            return "a warp function is called with mask " + hexadecimal(stop.mask) + ", which leaves out its own lane " +
                   number(static_cast<unsigned>(stop.thread) % kaas_abi::warp_size);
        case Stop::Kind::access: case Stop::Kind::misaligned: return describe_access(stop, context);
        case Stop::Kind::not_an_address: return "an access to something that is not an address";
        case Stop::Kind::stack_overflow: return "a thread's stack overflowed";
        case Stop::Kind::arithmetic: return "an integer division by zero, or one that overflows";
        case Stop::Kind::instruction: return "an instruction that traps";
        case Stop::Kind::timeout: return "it ran longer than KAAS_EMULATOR_WATCHDOG_MS allows";
        case Stop::Kind::none: break;
    }
    return "unknown";
}

}  // namespace

std::string explain(const Stop& stop, const Launch& launch, const Context& context) {
    std::string where;
    if (stop.file)
        where = std::string(stop.file) + ":" + number(stop.line);
    else if (stop.kind == Stop::Kind::deadlock && !stop.waiting.empty())
        where = place_of(launch, stop.waiting.front().place);
    else
        where = place_of(launch, stop.place);
    if (where.rfind("./", 0) == 0) where.erase(0, 2);
    std::string text = launch.kernel->name;
    if (!where.empty()) text += " (" + where + ")";
    text += ": " + describe(stop, launch, context);
    if (stop.kind == Stop::Kind::deadlock) return text;
    text += " in block " + triple(stop.block);
    if (stop.thread >= 0) text += ", thread " + thread_name(static_cast<unsigned>(stop.thread), launch.block);
    return text;
}

}  // namespace kaas
