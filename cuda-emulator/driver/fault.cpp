#include "fault.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <csignal>
#include <cstdint>
#include <cstring>
#include <mutex>

#include "block_runner.h"
#include "error.h"

namespace kaas {
namespace {

constexpr int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
// SIGRTMIN is no constant; glibc keeps the first two real-time signals, and Python uses none.
int interruption() { return SIGRTMIN + 6; }
constexpr std::size_t signal_stack_bytes = std::size_t{64} << 10;

struct sigaction previous[NSIG];

// Where the calling thread goes on if what it runs outside kernels faults; null where that ends the process.
sigjmp_buf*& escape() {
    [[gnu::tls_model("initial-exec")]] static thread_local sigjmp_buf* buffer = nullptr;
    return buffer;
}

// True where the instruction is one of the moves that want an address aligned to their width; the processor refuses
// others only for addresses that are none. (Intel 64 SDM, volume 2: MOVAPS, MOVAPD, MOVDQA, MOVNT* and their VEX and
// EVEX forms.)
bool is_aligned_move(const unsigned char* code) {
    if (*code == 0x66) ++code;
    if ((*code & 0xf0) == 0x40) ++code;  // REX
    switch (*code) {
        case 0x0f: code += 1; break;
        case 0xc5: code += 2; break;
        case 0xc4: code += 3; break;
        case 0x62: code += 4; break;
        default: return false;
    }
    constexpr unsigned char moves[] = {0x28, 0x29, 0x2b, 0x6f, 0x7f, 0xe7, 0x2a};
    return std::memchr(moves, *code, sizeof moves) != nullptr;
}

// Abandons the running block. Answers the flow to go on with.
StackPointer abandon(BlockRunner& runner, int signal, const siginfo_t* info, const ucontext_t* context) {
    constexpr greg_t write_error = 2;  // in the page fault's error code
    const auto& registers = context->uc_mcontext.gregs;
    const auto* code = reinterpret_cast<const unsigned char*>(registers[REG_RIP]);
    Stop& stop = runner.stop_details();
    stop.place = code + 1;  // as a return address: beyond the instruction's first byte
    stop.write = (registers[REG_ERR] & write_error) != 0;
    stop.address = reinterpret_cast<std::uintptr_t>(info->si_addr);
    if (signal == SIGFPE) return runner.abandon(Stop::Kind::arithmetic, launch_failed);
    if (signal == SIGILL) return runner.abandon(Stop::Kind::instruction, launch_failed);
    if (info->si_code == SI_KERNEL) {
        stop.address = 0;
        if (is_aligned_move(code)) return runner.abandon(Stop::Kind::misaligned, misaligned_address);
        return runner.abandon(Stop::Kind::not_an_address, illegal_address);
    }
    if (runner.is_stack_guard(stop.address)) return runner.abandon(Stop::Kind::stack_overflow, hardware_stack_error);
    return runner.abandon(Stop::Kind::access, illegal_address);
}

void pass_on(int signal, siginfo_t* info, void* context) {
    const struct sigaction& action = previous[signal];
    if (action.sa_flags & SA_SIGINFO) {
        action.sa_sigaction(signal, info, context);
    } else if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) {
        // Returning repeats the faulting instruction, now with its usual end.
        std::signal(signal, SIG_DFL);
    } else {
        action.sa_handler(signal);
    }
}

void on_fault(int signal, siginfo_t* info, void* context) {
    BlockRunner* runner = current_runner();
    if (runner && runner->running()) {
        // Returning from the handler continues the worker where it switched into the block.
        auto* interrupted = static_cast<ucontext_t*>(context);
        const StackPointer outside = abandon(*runner, signal, info, interrupted);
        auto& registers = interrupted->uc_mcontext.gregs;
        registers[REG_RSP] = reinterpret_cast<greg_t>(outside);
        registers[REG_RIP] = reinterpret_cast<greg_t>(&kaas_fiber_resume);
        return;
    }
    if (escape()) siglongjmp(*escape(), 1);
    pass_on(signal, info, context);
}

void on_interruption(int, siginfo_t*, void* context) {
    auto* interrupted = static_cast<ucontext_t*>(context);
    auto& registers = interrupted->uc_mcontext.gregs;
    BlockRunner* runner = current_runner();
    if (!runner || !runner->running() || !runner->overdue_in(static_cast<std::uintptr_t>(registers[REG_RIP]))) return;
    runner->stop_details().place = reinterpret_cast<const char*>(registers[REG_RIP]) + 1;
    registers[REG_RSP] = reinterpret_cast<greg_t>(runner->abandon(Stop::Kind::timeout, launch_timeout));
    registers[REG_RIP] = reinterpret_cast<greg_t>(&kaas_fiber_resume);
}

}  // namespace

void interrupt(pthread_t worker) {
    static const bool installed = [] {
        struct sigaction ours = {};
        ours.sa_sigaction = on_interruption;
        sigemptyset(&ours.sa_mask);
        ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER;
        return sigaction(interruption(), &ours, nullptr) == 0;
    }();
    if (installed) pthread_kill(worker, interruption());
}

void ensure_fault_handlers() {
    struct sigaction now;
    if (sigaction(SIGSEGV, nullptr, &now) == 0 && (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_fault) return;
    static auto* mutex = new std::mutex;
    std::lock_guard lock(*mutex);
    for (int signal : signals) {
        struct sigaction ours = {};
        ours.sa_sigaction = on_fault;
        sigemptyset(&ours.sa_mask);
        // Not deferred: leaving by siglongjmp must not leave the signal blocked.
        ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        struct sigaction replaced;
        if (sigaction(signal, &ours, &replaced) != 0) continue;
        if (!(replaced.sa_flags & SA_SIGINFO) || replaced.sa_sigaction != on_fault) previous[signal] = replaced;
    }
}

void give_thread_signal_stack() {
    void* stack = mmap(nullptr, signal_stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED) throw Error(out_of_memory);
    stack_t description = {};
    description.ss_sp = stack;
    description.ss_size = signal_stack_bytes;
    sigaltstack(&description, nullptr);
}

bool guarded_run(void (*body)(void*), void* argument) {
    sigjmp_buf buffer;
    if (sigsetjmp(buffer, 0) != 0) {
        escape() = nullptr;
        return false;
    }
    escape() = &buffer;
    body(argument);
    escape() = nullptr;
    return true;
}

bool guarded_copy(void* target, const void* source, std::size_t bytes) {
    struct Copy {
        void* target;
        const void* source;
        std::size_t bytes;
    } copy{target, source, bytes};
    return guarded_run(
        [](void* argument) {
            auto* copy = static_cast<Copy*>(argument);
            std::memmove(copy->target, copy->source, copy->bytes);
        },
        &copy);
}

}  // namespace kaas
