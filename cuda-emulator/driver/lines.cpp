#include "lines.h"

#include <cstring>
#include <optional>

namespace kaas {
namespace {

// Bytes with an end. Past it everything is zero, and `failed` says so.
class Bytes {
public:
    explicit Bytes(std::string_view bytes) : rest_(bytes) {}

    template <class Value>
    Value fixed() {
        Value value{};
        const std::string_view bytes = take(sizeof value);
        if (!failed) std::memcpy(&value, bytes.data(), sizeof value);
        return value;
    }

    std::uint64_t number() {
        std::uint64_t value = 0;
        for (unsigned shift = 0;; shift += 7) {
            const auto byte = fixed<std::uint8_t>();
            if (shift < 64) value |= std::uint64_t{byte & 0x7fu} << shift;
            if (!(byte & 0x80)) return value;
        }
    }

    std::int64_t signed_number() {
        std::uint64_t value = 0;
        unsigned shift = 0;
        std::uint8_t byte;
        do {
            byte = fixed<std::uint8_t>();
            if (shift < 64) value |= std::uint64_t{byte & 0x7fu} << shift;
            shift += 7;
        } while (byte & 0x80);
        if (shift < 64 && (byte & 0x40)) value |= ~std::uint64_t{0} << shift;
        return static_cast<std::int64_t>(value);
    }

    std::string_view text() {
        const std::size_t length = rest_.find('\0');
        if (length == std::string_view::npos) {
            failed = true;
            return {};
        }
        return take(length + 1).substr(0, length);
    }

    std::string_view take(std::uint64_t count) {
        if (count > rest_.size()) {
            failed = true;
            count = rest_.size();
        }
        const std::string_view taken = rest_.substr(0, count);
        rest_.remove_prefix(count);
        return taken;
    }

    bool more() const { return !failed && !rest_.empty(); }
    bool failed = false;

private:
    std::string_view rest_;
};

struct Row {
    std::uint64_t address = 0, file = 1;
    std::int64_t line = 1;
};

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
    std::optional<Row> find(std::uint64_t address, std::uint64_t function) {
        if (!valid_) return std::nullopt;
        std::optional<Row> users;  // the last row of the user's up to the address, in the running sequence
        Row row;
        bool begun = false, covered = false;
        std::uint64_t start = 0;
        auto emit = [&] {
            if (!begun) start = row.address;
            begun = true;
            covered = start <= address && address < row.address;
            if (!covered && row.address >= function && row.address <= address && is_users(row.file)) users = row;
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

    bool is_users(std::uint64_t file) {
        if (file != known_file_) {
            const std::string path = name(file);
            known_file_ = file;
            known_users_ = !path.empty() && path[0] != '/' && path[0] != '<';
        }
        return known_users_;
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

std::string LineTable::find(std::uint64_t address, std::uint64_t function) const {
    Bytes section(section_);
    while (section.more()) {
        const auto length = section.fixed<std::uint32_t>();
        Program program{Bytes(section.take(length))};
        if (section.failed) break;
        if (const std::optional<Row> row = program.find(address, function))
            return program.name(row->file) + ":" + std::to_string(row->line);
    }
    return {};
}

}  // namespace kaas
