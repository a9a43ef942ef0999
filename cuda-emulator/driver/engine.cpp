#include "engine.h"

#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "block_runner.h"
#include "context.h"
#include "error.h"
#include "fault.h"
#include "settings.h"

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

// Sleeping overshoots by some 50 us; what is shorter is waited for awake.
constexpr std::int64_t shortest_sleep_ns = 100'000;

}  // namespace

void sleep_ns(std::int64_t duration) {
    const std::int64_t end = now_ns() + duration;
    if (duration > shortest_sleep_ns) std::this_thread::sleep_for(std::chrono::nanoseconds(duration - shortest_sleep_ns));
    while (now_ns() < end) pause_processor();
}

std::int64_t now_ns() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * std::int64_t{1'000'000'000} + time.tv_nsec;
}

void Engine::submit(const TaskPointer& task, const TaskPointer* dependencies, std::size_t count) {
    std::lock_guard lock(mutex_);
    if (Faults* faults = settings_.faults.get()) {
        if (task->kind == Task::Kind::kernel) task->launch.plan = faults->next_launch();
        else if (task->direction != Direction::none) task->plan = faults->next_copy();
    }
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
        const std::int64_t delay = std::min(settings_.delays.copy(task->direction, task->bytes) + task->plan.delay_ns,
                                            Faults::for_ever);
        if (delay) {
            std::int64_t& free = free_ns_[static_cast<unsigned>(task->direction)];
            free = std::min(std::max(free, now_ns()) + delay, 2 * Faults::for_ever);
            late_.emplace(free, task);
        } else {
            copies_.push_back(task);
        }
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
    } else if (workers_ < settings_.workers) {
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
    Worker& self = at_work_.emplace_back(Worker{pthread_self(), nullptr});
    if (settings_.watchdog_ns && !watching_) {
        std::thread([this] { watch(); }).detach();
        watching_ = true;
    }
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
        self.task = task;
        lock.unlock();
        run_blocks(*runner, *task);
        lock.lock();
        self.task = nullptr;
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
    std::int64_t not_yet = 0;
    if (settings_.watchdog_ns) launch.started_ns.compare_exchange_strong(not_yet, now_ns());
    for (;;) {
        const std::uint64_t first = launch.taken.fetch_add(launch.chunk, std::memory_order_relaxed);
        if (first >= launch.blocks) return;
        if (first == 0 && !disturb(task)) {
            launch.finished.fetch_add(std::min(launch.chunk, launch.blocks), std::memory_order_acq_rel);
            continue;
        }
        const std::uint64_t end = std::min(first + launch.chunk, launch.blocks);
        for (std::uint64_t block = first; block < end; ++block) {
            if (task.context->failure() != success || launch.overdue.load(std::memory_order_relaxed)) break;
            const Result result = runner.run(launch.block_index(block));
            if (result != success) task.context->fail(result, explain(runner.stopped(), launch, *task.context));
        }
        launch.finished.fetch_add(end - first, std::memory_order_acq_rel);
    }
}

// What the environment wants to happen to a launch, on the worker that takes its first block. Answers whether the block
// is to be run after that.
bool Engine::disturb(Task& task) {
    Launch& launch = task.launch;
    const std::string name = launch.kernel->name;
    auto stopped = [&] { return task.context->failure() != success || launch.overdue.load(std::memory_order_relaxed); };
    if (const std::int64_t delay = settings_.delays.launch + launch.plan.delay_ns) sleep_ns(delay);
    switch (launch.plan.kind) {
        case Faults::Launch::none: return true;
        case Faults::Launch::faults:
            task.context->fail(illegal_address, name + ": a fault that KAAS_EMULATOR_FAULTS asks for");
            return false;
        case Faults::Launch::loses_device: task.context->device.lose(); return false;
        case Faults::Launch::hangs: break;
    }
    while (!stopped()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (launch.overdue.load(std::memory_order_relaxed))
        task.context->fail(launch_timeout, name + ": it ran longer than KAAS_EMULATOR_WATCHDOG_MS allows; "
                                                  "KAAS_EMULATOR_FAULTS makes it hang");
    return false;
}

// ***** the watchdog *****

// Asks the workers of launches that run for too long to stop, until they do.
void Engine::watch() {
    pthread_setname_np(pthread_self(), "kaas-emu-watch");
    const std::int64_t step = std::clamp<std::int64_t>(settings_.watchdog_ns / 8, 1'000'000, 50'000'000);
    for (;;) {
        std::this_thread::sleep_for(std::chrono::nanoseconds(step));
        std::lock_guard lock(mutex_);
        const std::int64_t now = now_ns();
        for (const Worker& worker : at_work_) {
            if (!worker.task) continue;
            Launch& launch = worker.task->launch;
            const std::int64_t started = launch.started_ns.load(std::memory_order_relaxed);
            if (!started || now - started < settings_.watchdog_ns) continue;
            launch.overdue.store(true, std::memory_order_relaxed);
            interrupt(worker.thread);
        }
    }
}

// ***** copies *****

bool Engine::disturbs_copies() const {
    const Delays& delays = settings_.delays;
    return settings_.faults || delays.copy(Direction::to_device, 1 << 30) || delays.copy(Direction::to_host, 1 << 30);
}

void Engine::notice_failure() {
    std::lock_guard lock(mutex_);
    copy_ready_.notify_all();
}

// Waits for the next piece of work that is due.
TaskPointer Engine::next_copy_locked(std::unique_lock<std::mutex>& lock) {
    for (;;) {
        TaskPointer task;
        if (!copies_.empty()) {
            task = std::move(copies_.front());
            copies_.pop_front();
            return task;
        }
        const std::int64_t now = now_ns();
        for (auto late = late_.begin(); late != late_.end(); ++late) {
            if (late->first > now && late->second->context->failure() == success) continue;
            task = std::move(late->second);
            late_.erase(late);
            return task;
        }
        if (late_.empty() || late_.begin()->first - now >= Faults::for_ever / 2)
            copy_ready_.wait(lock);
        else
            copy_ready_.wait_for(lock, std::chrono::nanoseconds(late_.begin()->first - now));
    }
}

void Engine::run_copy(Task& task) {
    if (task.context->failure() != success) return;
    if (task.plan.loses_device) return task.context->device.lose();
    const Result result = task.work();
    if (result != success) task.context->fail(result, "a copy or a set reached memory that is not there");
}

void Engine::copy() {
    pthread_setname_np(pthread_self(), "kaas-emu-copy");
    give_thread_signal_stack();
    std::unique_lock lock(mutex_);
    for (;;) {
        TaskPointer task = next_copy_locked(lock);
        lock.unlock();
        run_copy(*task);
        lock.lock();
        finish_locked(std::move(task));
    }
}

}  // namespace kaas
