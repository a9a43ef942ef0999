#include "image.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "error.h"
#include "memory.h"

namespace kaas {
namespace {

constexpr const char* table_symbol = "kaas_emulator_image";
constexpr const char* resources_section = ".kaas.resources";
constexpr Elf64_Half machine_cuda = 190;
constexpr std::uint32_t fat_binary_magic = 0xba55ed50;
constexpr std::uint32_t fat_wrapper_magic = 0x466243b1;

[[noreturn]] void refuse(Result code, std::string& explanation, std::string text) {
    explanation = std::move(text);
    throw Error(code);
}

// The caller gives a pointer and no size: nothing beyond what the bytes so far call for may be read.
void check_kind(const char* bytes, std::string& explanation) {
    if (std::strncmp(bytes, ELFMAG, SELFMAG) != 0) {
        std::uint32_t word = 0;
        if (bytes[0] && bytes[1] && bytes[2]) std::memcpy(&word, bytes, sizeof word);
        if (word == fat_binary_magic || word == fat_wrapper_magic)
            refuse(no_binary_for_gpu, explanation, "This is a fat binary for a real GPU; the emulated device runs only "
                                                   "images that its own compiler made.");
        // PTX is text; a directive or a comment comes first.
        const char* text = bytes + std::strspn(bytes, " \t\r\n");
        if (std::strncmp(text, ".version", 8) == 0 || std::strncmp(text, "//", 2) == 0)
            refuse(invalid_ptx, explanation, "This is PTX; the emulated device runs only images that its own compiler made.");
        refuse(invalid_image, explanation, "This is not an image for the emulated device.");
    }
    if (bytes[EI_CLASS] != ELFCLASS64) refuse(invalid_image, explanation, "This is not an image for the emulated device.");
    const auto* header = reinterpret_cast<const Elf64_Ehdr*>(bytes);
    if (header->e_machine == machine_cuda)
        refuse(no_binary_for_gpu, explanation, "This is a cubin for a real GPU; the emulated device runs only images that "
                                               "its own compiler made.");
    if (header->e_machine != EM_X86_64 || header->e_type != ET_DYN)
        refuse(invalid_image, explanation, "This is not an image for the emulated device.");
}

std::size_t file_bytes(const Elf64_Ehdr& header) {
    return header.e_shoff + std::size_t{header.e_shnum} * header.e_shentsize;
}

std::string write_file(const char* bytes, std::size_t size, std::string& explanation) {
    // A new path each time: for a path it has seen, such as one below /proc/self/fd, the loader answers the old library.
    const char* directory = std::getenv("TMPDIR");
    std::string path = std::string(directory && *directory ? directory : "/tmp") + "/kaas-image-XXXXXX";
    const int file = mkostemp(path.data(), O_CLOEXEC);
    if (file < 0)
        refuse(unknown_error, explanation, "Cannot create " + path + ": " + std::strerror(errno));
    while (size) {
        const ssize_t written = write(file, bytes, size);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) {
            const std::string reason = std::strerror(errno);
            close(file);
            unlink(path.c_str());
            refuse(unknown_error, explanation, "Cannot write " + path + ": " + reason);
        }
        bytes += written;
        size -= static_cast<std::size_t>(written);
    }
    close(file);
    return path;
}

}  // namespace

std::shared_ptr<const Image> Image::load(const void* image, const DeviceMemory& memory,
                                         std::string& explanation) {
    const char* bytes = static_cast<const char*>(image);
    check_kind(bytes, explanation);
    const std::string path = write_file(bytes, file_bytes(*reinterpret_cast<const Elf64_Ehdr*>(bytes)), explanation);
    std::shared_ptr<Image> loaded(new Image);
    loaded->library_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    unlink(path.c_str());
    if (!loaded->library_) refuse(invalid_image, explanation, std::string("The image cannot be loaded: ") + dlerror());
    const auto* table = static_cast<const kaas_abi::Image*>(dlsym(loaded->library_, table_symbol));
    if (!table || table->magic != kaas_abi::image_magic)
        refuse(invalid_image, explanation, "This shared object is not an image for the emulated device.");
    if (table->version != kaas_abi::version)
        refuse(no_binary_for_gpu, explanation, "The image was compiled for version " + std::to_string(table->version) +
                                               " of the emulator; this is version " + std::to_string(kaas_abi::version) +
                                               ".");
    const kaas_abi::DeviceMemory checks = memory.checks();
    if (!table->memory != !checks.accessible)
        refuse(no_binary_for_gpu, explanation, std::string("The image was compiled ") +
                                               (table->memory ? "with" : "without") +
                                               " the checks of KAAS_EMULATOR_CHECKED, and the device runs " +
                                               (table->memory ? "without" : "with") + " them: compile it again.");
    if (table->memory) *table->memory = checks;
    for (std::uint32_t index = 0; index < table->kernel_count; ++index) {
        const kaas_abi::Kernel& kernel = table->kernels[index];
        loaded->kernels_.emplace(kernel.name, &kernel);
        Dl_info symbol;
        if (dladdr(kernel.address, &symbol) && symbol.dli_saddr == kernel.address)
            loaded->kernels_.emplace(symbol.dli_sname, &kernel);
    }
    loaded->read_symbols(bytes);
    loaded->read_sections(bytes);
    loaded->table_ = table->kernels;
    if (loaded->resources_.size() != table->kernel_count)
        refuse(invalid_image, explanation, "The image does not say what its kernels need.");
    return loaded;
}

Image::~Image() {
    if (library_) dlclose(library_);
}

// Globals with their sizes, from the dynamic symbol table.
void Image::read_symbols(const char* bytes) {
    const auto& header = *reinterpret_cast<const Elf64_Ehdr*>(bytes);
    const auto* segments = reinterpret_cast<const Elf64_Phdr*>(bytes + header.e_phoff);
    link_map* map;
    require(dlinfo(library_, RTLD_DI_LINKMAP, &map) == 0, invalid_image);
    load_address_ = map->l_addr;
    for (int index = 0; index < header.e_phnum; ++index) {
        const Elf64_Phdr& segment = segments[index];
        if (segment.p_type != PT_LOAD || !(segment.p_flags & PF_X)) continue;
        code_ = map->l_addr + segment.p_vaddr;
        code_bytes_ = segment.p_memsz;
    }
    const auto* sections = reinterpret_cast<const Elf64_Shdr*>(bytes + header.e_shoff);
    for (int index = 0; index < header.e_shnum; ++index) {
        const Elf64_Shdr& section = sections[index];
        if (section.sh_type != SHT_DYNSYM) continue;
        const auto* symbols = reinterpret_cast<const Elf64_Sym*>(bytes + section.sh_offset);
        const char* names = bytes + sections[section.sh_link].sh_offset;
        for (std::size_t number = 0; number < section.sh_size / sizeof(Elf64_Sym); ++number) {
            const Elf64_Sym& symbol = symbols[number];
            if (ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT || symbol.st_shndx == SHN_UNDEF || !symbol.st_size) continue;
            const char* name = names + symbol.st_name;
            if (std::strcmp(name, table_symbol) == 0) continue;
            const DevicePointer address = map->l_addr + symbol.st_value;
            globals_[name] = {address, symbol.st_size};
            ranges_[address] = symbol.st_size;
        }
    }
}

// What no segment of the loaded library holds: what tells a fault's line, and what a kernel takes of a block's resources.
void Image::read_sections(const char* bytes) {
    const auto& header = *reinterpret_cast<const Elf64_Ehdr*>(bytes);
    const auto* sections = reinterpret_cast<const Elf64_Shdr*>(bytes + header.e_shoff);
    if (header.e_shstrndx >= header.e_shnum) return;
    const char* names = bytes + sections[header.e_shstrndx].sh_offset;
    std::map<std::string, std::string> debug;
    for (int index = 0; index < header.e_shnum; ++index) {
        const Elf64_Shdr& section = sections[index];
        const std::string name = names + section.sh_name;
        if (section.sh_type == SHT_PROGBITS && name.rfind(".debug_", 0) == 0)
            debug[name].assign(bytes + section.sh_offset, section.sh_size);
        if (section.sh_type == SHT_PROGBITS && name == resources_section) {
            resources_.resize(section.sh_size / sizeof(kaas_abi::Resources));
            std::memcpy(resources_.data(), bytes + section.sh_offset, resources_.size() * sizeof(kaas_abi::Resources));
        }
        if (section.sh_type != SHT_SYMTAB) continue;
        const auto* symbols = reinterpret_cast<const Elf64_Sym*>(bytes + section.sh_offset);
        for (std::size_t number = 0; number < section.sh_size / sizeof(Elf64_Sym); ++number)
            if (ELF64_ST_TYPE(symbols[number].st_info) == STT_FUNC) functions_.push_back(symbols[number].st_value);
    }
    std::sort(functions_.begin(), functions_.end());
    lines_ = LineTable(std::move(debug[".debug_line"]));
    inlined_ = InlinedCalls(std::move(debug[".debug_info"]), std::move(debug[".debug_abbrev"]),
                            std::move(debug[".debug_ranges"]));
}

std::string Image::place(std::uintptr_t address) const {
    const std::uint64_t offset = address - load_address_;
    const auto after = std::upper_bound(functions_.begin(), functions_.end(), offset);
    if (after == functions_.begin()) return {};
    const LineTable::Place found = lines_.find(offset, *std::prev(after));
    if (found.exact) return found.line;
    for (const Call& call : inlined_.at(offset))
        if (std::string line = lines_.users_line(call); !line.empty()) return line;
    return found.line;
}

const kaas_abi::Kernel* Image::kernel(const std::string& name) const {
    auto found = kernels_.find(name);
    return found == kernels_.end() ? nullptr : found->second;
}

Image::Global Image::global(const std::string& name) const {
    auto found = globals_.find(name);
    require(found != globals_.end(), not_found);
    return found->second;
}

bool Image::contains(DevicePointer address, std::size_t bytes) const {
    auto after = ranges_.upper_bound(address);
    if (after == ranges_.begin()) return false;
    --after;
    const std::size_t offset = address - after->first;
    return offset <= after->second && bytes <= after->second - offset;
}

}  // namespace kaas
