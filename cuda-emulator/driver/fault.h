// Faults of kernels (and of the copying thread) become errors of the launch instead of the end of the process.
#pragma once

#include <pthread.h>

#include <csetjmp>
#include <cstddef>

namespace kaas {

// Installs the handlers, or installs them again where somebody has replaced them since.
void ensure_fault_handlers();

// Makes a worker look whether the launch whose block it runs is overdue, and then leave the block if it is in the
// kernel's own code: elsewhere it may hold a lock. To be repeated until it has left.
void interrupt(pthread_t worker);

// Gives the calling thread a stack for signal handlers: a fibre that ran over its own stack has none left.
void give_thread_signal_stack();

// memmove that answers false where it hit an address without memory behind it.
bool guarded_copy(void* target, const void* source, std::size_t bytes);

// Runs `body(argument)` likewise.
bool guarded_run(void (*body)(void*), void* argument);

}  // namespace kaas
