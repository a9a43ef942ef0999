#include "lines.h"

#include <optional>

#include "bytes.h"

namespace kaas {
namespace {

struct Row {
    std::uint64_t address = 0, file = 1;
    std::int64_t line = 1;
};

// A row of the user's, and whether it is the address's own or one before it.
struct Found {
    Row row;
    bool exact;
};

std::string line_of(const std::string& file, std::int64_t line) { return file + ":" + std::to_string(line); }

// One unit's line number program.
class Program {
public:
    explicit Program(Bytes unit) : code_({}) {
        const auto version = unit.fixed<std::uint16_t>();
        if (version < 2 || version > 4) return;
        code_ = unit;
        const auto header_bytes = code_.fixed<std::uint32_t>();
        Bytes header(code_.take(header_bytes));
        least_instruction_ = header.fixed<std::uint8_t>();
        if (version == 4) header.fixed<std::uint8_t>();  // operations per instruction, for VLIW machines
        header.fixed<std::uint8_t>();                    // whether rows start statements
        line_base_ = header.fixed<std::int8_t>();
        line_range_ = header.fixed<std::uint8_t>();
        opcode_base_ = header.fixed<std::uint8_t>();
        operands_ = header.take(opcode_base_ ? opcode_base_ - 1u : 0u);
        directories_ = header;
        while (header.more() && !header.text().empty()) {
        }
        files_ = header;
        valid_ = !header.failed && line_range_ && opcode_base_;
    }

    // The row of the user's code for the address, as LineTable::find says; none where this unit does not cover it.
    std::optional<Found> find(std::uint64_t address, std::uint64_t function) {
        if (!valid_) return std::nullopt;
        std::optional<Found> users;  // the last row of the user's up to the address, in the running sequence
        Row row;
        bool begun = false, covered = false;
        std::uint64_t start = 0;
        auto emit = [&] {
            if (!begun) start = row.address;
            begun = true;
            covered = start <= address && address < row.address;
            if (covered || row.address < function || row.address > address) return;
            if (is_users(row.file)) users = {row, true};
            else if (users) users->exact = false;
        };
        Bytes code = code_;
        while (code.more() && !covered) {
            const auto opcode = code.fixed<std::uint8_t>();
            if (opcode >= opcode_base_) {
                const unsigned adjusted = opcode - opcode_base_;
                row.address += adjusted / line_range_ * least_instruction_;
                row.line += line_base_ + static_cast<int>(adjusted % line_range_);
                emit();
                continue;
            }
            switch (opcode) {
                case 0: {
                    const std::uint64_t length = code.number();
                    Bytes extended(code.take(length));
                    switch (extended.fixed<std::uint8_t>()) {
                        case 1:  // end of the sequence
                            emit();
                            if (covered) return users;
                            row = {};
                            begun = false;
                            users.reset();
                            break;
                        case 2: row.address = extended.fixed<std::uint64_t>(); break;
                        default: break;
                    }
                    break;
                }
                case 1: emit(); break;
                case 2: row.address += code.number() * least_instruction_; break;
                case 3: row.line += code.signed_number(); break;
                case 4: row.file = code.number(); break;
                case 8: row.address += std::uint64_t{255u - opcode_base_} / line_range_ * least_instruction_; break;
                case 9: row.address += code.fixed<std::uint16_t>(); break;
                default:
                    for (int left = operands_[opcode - 1u]; left > 0; --left) code.number();
            }
        }
        return covered ? users : std::nullopt;
    }

    std::string name(std::uint64_t file) const {
        Bytes files = files_;
        for (std::uint64_t index = 1; files.more(); ++index) {
            const std::string_view name = files.text();
            if (name.empty()) break;
            const std::uint64_t directory = files.number();
            files.number();  // time
            files.number();  // size
            if (index != file) continue;
            std::string path(name);
            if (directory && name[0] != '/') path = std::string(this->directory(directory)) + "/" + path;
            return path.rfind("./", 0) == 0 ? path.substr(2) : path;
        }
        return {};
    }

    bool is_users(std::uint64_t file) {
        if (file != known_file_) {
            const std::string path = name(file);
            known_file_ = file;
            known_users_ = !path.empty() && path[0] != '/' && path[0] != '<';
        }
        return known_users_;
    }

private:
    std::string_view directory(std::uint64_t wanted) const {
        Bytes directories = directories_;
        for (std::uint64_t index = 1; directories.more(); ++index) {
            const std::string_view name = directories.text();
            if (name.empty()) break;
            if (index == wanted) return name;
        }
        return {};
    }

    Bytes code_, directories_{{}}, files_{{}};
    std::string_view operands_;
    unsigned least_instruction_ = 1, line_range_ = 0, opcode_base_ = 0;
    int line_base_ = 0;
    bool valid_ = false;
    std::uint64_t known_file_ = 0;  // the last one that is_users() looked up
    bool known_users_ = false;
};

}  // namespace

LineTable::Place LineTable::find(std::uint64_t address, std::uint64_t function) const {
    Bytes section(section_);
    while (section.more()) {
        const auto length = section.fixed<std::uint32_t>();
        Program program{Bytes(section.take(length))};
        if (section.failed) break;
        if (const std::optional<Found> found = program.find(address, function))
            return {line_of(program.name(found->row.file), found->row.line), found->exact};
    }
    return {};
}

std::string LineTable::users_line(const Call& call) const {
    Bytes section(section_);
    section.take(call.table);
    const auto length = section.fixed<std::uint32_t>();
    Program program{Bytes(section.take(length))};
    return program.is_users(call.file) ? line_of(program.name(call.file), call.line) : std::string();
}

}  // namespace kaas
