// A module's code: a shared object made by the emulator's compiler, loaded from memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "inlined.h"
#include "kaas_emulator_abi.h"
#include "lines.h"
#include "types.h"

namespace kaas {

class DeviceMemory;

class Image {
public:
    struct Global {
        DevicePointer address;
        std::size_t bytes;
    };

    // Throws Error: no_binary_for_gpu for a cubin or fat binary and for an image that was compiled with checks where the
    // memory has none, or the other way round; invalid_ptx for PTX, invalid_image for anything else that is not an image
    // of this driver's version. `explanation` then says so in a sentence.
    static std::shared_ptr<const Image> load(const void* bytes, const DeviceMemory& memory, std::string& explanation);

    ~Image();
    Image(const Image&) = delete;

    // By the name it was compiled under or by its symbol; null where there is none.
    const kaas_abi::Kernel* kernel(const std::string& name) const;
    // Throws Error(not_found).
    Global global(const std::string& name) const;
    // True where the range lies in one of the globals.
    bool contains(DevicePointer address, std::size_t bytes) const;
    // Of one of this image's kernels.
    const kaas_abi::Resources& resources(const kaas_abi::Kernel& kernel) const { return resources_[&kernel - table_]; }
    // The module it belongs to is unloaded: what was launched may still run.
    bool unloaded() const { return unloaded_.load(std::memory_order_relaxed); }
    void unload() const { unloaded_.store(true, std::memory_order_relaxed); }

    // "file:line" of the user's source for an address in the code, empty where it is not known.
    std::string place(std::uintptr_t address) const;
    bool holds_code(std::uintptr_t address) const { return address - code_ < code_bytes_; }

private:
    Image() = default;
    void read_symbols(const char* bytes);
    // What is in the file only, in sections by name: lines and resources.
    void read_sections(const char* bytes);

    mutable std::atomic<bool> unloaded_{false};
    void* library_ = nullptr;
    std::map<std::string, const kaas_abi::Kernel*> kernels_;
    std::map<std::string, Global> globals_;
    std::map<DevicePointer, std::size_t> ranges_;  // of the globals
    const kaas_abi::Kernel* table_ = nullptr;
    std::vector<kaas_abi::Resources> resources_;  // of the kernels in the table
    std::uintptr_t load_address_ = 0;
    std::uintptr_t code_ = 0;
    std::size_t code_bytes_ = 0;
    std::vector<std::uint64_t> functions_;  // where they start, as in the file, in order
    LineTable lines_;
    InlinedCalls inlined_;
};

}  // namespace kaas
