#include "engine.h"

#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <thread>

#include "block_runner.h"
#include "context.h"
#include "error.h"
#include "fault.h"

namespace kaas {
namespace {

// How long a worker without work, or a thread that waits for a task, looks again before it sleeps. Waking a sleeper
// costs about 5 us, most of a short launch.
constexpr std::int64_t spin_ns = 20'000;

void pause_processor() { __builtin_ia32_pause(); }

template <class Condition>
bool spin_until(Condition&& condition) {
    if (condition()) return true;
    const std::int64_t end = now_ns() + spin_ns;
    do {
        for (int round = 0; round < 32; ++round) {
            pause_processor();
            if (condition()) return true;
        }
    } while (now_ns() < end);
    return false;
}

}  // namespace

std::int64_t now_ns() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * std::int64_t{1'000'000'000} + time.tv_nsec;
}

void Engine::submit(const TaskPointer& task, const TaskPointer* dependencies, std::size_t count) {
    std::lock_guard lock(mutex_);
    for (std::size_t index = 0; index < count; ++index) {
        const TaskPointer& dependency = dependencies[index];
        if (!dependency || dependency->done.load(std::memory_order_relaxed)) continue;
        dependency->dependents.push_back(task);
        ++task->blockers;
    }
    if (task->blockers == 0) start_locked(task);
}

void Engine::wait(const TaskPointer& task) {
    if (!task || spin_until([&] { return task->done.load(std::memory_order_acquire); })) return;
    std::unique_lock lock(mutex_);
    ++waiters_;
    task_done_.wait(lock, [&] { return task->done.load(std::memory_order_relaxed); });
    --waiters_;
}

void Engine::start_locked(const TaskPointer& task) {
    if (task->kind == Task::Kind::marker || task->context->failure() != success) {
        finish_locked(task);
    } else if (task->kind == Task::Kind::kernel) {
        kernels_.push_back(task);
        kernels_waiting_.store(static_cast<unsigned>(kernels_.size()), std::memory_order_release);
        wake_worker_locked();
    } else {
        copies_.push_back(task);
        start_copier_locked();
        copy_ready_.notify_one();
    }
}

// Ends the task and, one after the other, all that this lets end at once.
void Engine::finish_locked(TaskPointer task) {
    std::vector<TaskPointer> ended{std::move(task)};
    while (!ended.empty()) {
        TaskPointer last = std::move(ended.back());
        ended.pop_back();
        last->finished_ns = now_ns();
        last->done.store(true, std::memory_order_release);
        last->work = nullptr;
        for (TaskPointer& dependent : last->dependents) {
            if (--dependent->blockers) continue;
            if (dependent->kind == Task::Kind::marker || dependent->context->failure() != success)
                ended.push_back(std::move(dependent));
            else
                start_locked(dependent);
        }
        last->dependents.clear();
    }
    if (waiters_) task_done_.notify_all();
}

// Sees to it that one more worker looks at the queue; that one calls this again if there is work for yet another.
void Engine::wake_worker_locked() {
    if (spinning_.load(std::memory_order_relaxed)) return;
    if (idle_workers_) {
        kernel_ready_.notify_one();
    } else if (workers_ < worker_limit_) {
        std::thread([this] { work(); }).detach();
        ++workers_;
    }
}

void Engine::start_copier_locked() {
    if (copier_started_) return;
    std::thread([this] { copy(); }).detach();
    copier_started_ = true;
}

void Engine::work() {
    pthread_setname_np(pthread_self(), "kaas-emu-worker");
    give_thread_signal_stack();
    auto* runner = new BlockRunner;  // lives as long as its thread, which never ends
    current_runner() = runner;
    std::unique_lock lock(mutex_);
    for (;;) {
        // One worker at a time spins: two would take the processors from whoever launches.
        if (kernels_.empty() && !spinning_.load(std::memory_order_relaxed)) {
            spinning_.store(true, std::memory_order_relaxed);
            lock.unlock();
            spin_until([&] { return kernels_waiting_.load(std::memory_order_acquire) != 0; });
            lock.lock();
            spinning_.store(false, std::memory_order_relaxed);
        }
        while (kernels_.empty()) {
            ++idle_workers_;
            kernel_ready_.wait(lock);
            --idle_workers_;
        }
        TaskPointer task = kernels_.front();
        Launch& launch = task->launch;
        if (launch.taken.load(std::memory_order_relaxed) + launch.chunk >= launch.blocks) {
            // This worker takes the last of it.
            kernels_.pop_front();
            kernels_waiting_.store(static_cast<unsigned>(kernels_.size()), std::memory_order_relaxed);
        }
        if (!kernels_.empty()) wake_worker_locked();
        lock.unlock();
        run_blocks(*runner, *task);
        lock.lock();
        if (launch.taken.load(std::memory_order_relaxed) >= launch.blocks) std::erase(kernels_, task);
        kernels_waiting_.store(static_cast<unsigned>(kernels_.size()), std::memory_order_relaxed);
        if (launch.finished.load(std::memory_order_acquire) == launch.blocks &&
            !task->done.load(std::memory_order_relaxed))
            finish_locked(std::move(task));
    }
}

// Takes blocks of the launch until none is left.
void Engine::run_blocks(BlockRunner& runner, Task& task) {
    Launch& launch = task.launch;
    ensure_fault_handlers();
    current_output() = &task.context->output;
    runner.prepare(launch);
    for (;;) {
        const std::uint64_t first = launch.taken.fetch_add(launch.chunk, std::memory_order_relaxed);
        if (first >= launch.blocks) return;
        const std::uint64_t end = std::min(first + launch.chunk, launch.blocks);
        for (std::uint64_t block = first; block < end; ++block) {
            if (task.context->failure() != success) break;
            const Result result = runner.run(launch.block_index(block));
            if (result != success) task.context->fail(result, explain(runner.stopped(), launch, *task.context));
        }
        launch.finished.fetch_add(end - first, std::memory_order_acq_rel);
    }
}

void Engine::copy() {
    pthread_setname_np(pthread_self(), "kaas-emu-copy");
    give_thread_signal_stack();
    std::unique_lock lock(mutex_);
    for (;;) {
        copy_ready_.wait(lock, [&] { return !copies_.empty(); });
        TaskPointer task = std::move(copies_.front());
        copies_.pop_front();
        lock.unlock();
        if (task->context->failure() == success) {
            const Result result = task->work();
            if (result != success) task->context->fail(result, "a copy or a set reached memory that is not there");
        }
        lock.lock();
        finish_locked(std::move(task));
    }
}

}  // namespace kaas
