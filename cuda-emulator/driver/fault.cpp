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
constexpr std::size_t signal_stack_bytes = std::size_t{64} << 10;

struct sigaction previous[NSIG];

// Where the calling thread goes on if what it runs outside kernels faults; null where that ends the process.
sigjmp_buf*& escape() {
    [[gnu::tls_model("initial-exec")]] static thread_local sigjmp_buf* buffer = nullptr;
    return buffer;
}

Result describe_fault(BlockRunner& runner, int signal, const siginfo_t* info) {
    const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
    switch (signal) {
        case SIGFPE:
            report("%s: integer division by zero, or one that overflows", runner.describe());
            return launch_failed;
        case SIGILL:
            report("%s: trap", runner.describe());
            return launch_failed;
        default:
            if (runner.is_stack_guard(address))
                report("%s: a thread's stack overflowed", runner.describe());
            else if (info->si_code == SI_KERNEL)
                report("%s: access to an address that is not one, or is not aligned", runner.describe());
            else
                report("%s: access to address 0x%llx, where no memory is allocated", runner.describe(),
                       static_cast<unsigned long long>(address));
            return illegal_address;
    }
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
        const Result reason = describe_fault(*runner, signal, info);
        // Returning from the handler continues the worker where it switched into the block.
        auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
        registers[REG_RSP] = reinterpret_cast<greg_t>(runner->abandon(reason));
        registers[REG_RIP] = reinterpret_cast<greg_t>(&kaas_fiber_resume);
        return;
    }
    if (escape()) siglongjmp(*escape(), 1);
    pass_on(signal, info, context);
}

}  // namespace

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
