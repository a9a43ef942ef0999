// What makes a device asynchronous: a graph of tasks, worker threads for kernels, one thread for copies.
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "inject.h"
#include "launch.h"
#include "types.h"

namespace kaas {

class Context;
class BlockRunner;
struct Settings;

// A unit of work that starts when all it depends on has ended.
struct Task {
    enum class Kind { marker, kernel, work };

    Task(Kind kind, Context* context) : kind(kind), context(context) {}

    const Kind kind;
    Context* const context;
    Launch launch{};                // of a kernel
    std::function<Result()> work;   // of a copy, a set, a host function; runs on the copying thread
    Direction direction = Direction::none;  // of a copy
    std::size_t bytes = 0;                  // of a copy
    Faults::CopyPlan plan{};                // what the environment wants to happen to a copy

    std::atomic<bool> done{false};
    std::int64_t finished_ns = 0;   // monotonic; valid once done

    // Guarded by the engine's mutex.
    unsigned blockers = 0;          // tasks this one still waits for
    std::vector<std::shared_ptr<Task>> dependents;
};

using TaskPointer = std::shared_ptr<Task>;

class Engine {
public:
    explicit Engine(const Settings& settings) : settings_(settings) {}

    // Starts the task once all of `dependencies` (null ones aside) have ended.
    void submit(const TaskPointer& task, const TaskPointer* dependencies, std::size_t count);
    // Returns when the task has ended, whether it did its work or was dropped because its context failed.
    void wait(const TaskPointer& task);
    // Called when a context has failed: what of it waits for its time need not wait any longer.
    void notice_failure();
    // True where the environment wants copies to be late or to fail, so that each must be a task.
    bool disturbs_copies() const;

private:
    struct Worker {
        pthread_t thread;
        TaskPointer task;  // the launch whose blocks it runs
    };

    void start_locked(const TaskPointer& task);
    void finish_locked(TaskPointer task);
    void wake_worker_locked();
    void start_copier_locked();
    void work();
    void copy();
    TaskPointer next_copy_locked(std::unique_lock<std::mutex>& lock);
    void run_copy(Task& task);
    void run_blocks(BlockRunner& runner, Task& task);
    bool disturb(Task& task);
    void watch();

    const Settings& settings_;
    std::mutex mutex_;
    std::condition_variable kernel_ready_, copy_ready_, task_done_;
    std::deque<TaskPointer> kernels_;   // ready, and with blocks nobody has taken yet
    std::deque<TaskPointer> copies_;    // ready
    std::multimap<std::int64_t, TaskPointer> late_;  // ready, but to be done at a time, monotonic in nanoseconds
    std::int64_t free_ns_[4] = {};      // by direction: when the late copies so far have ended
    std::deque<Worker> at_work_;        // one for each worker, in place; for the watchdog
    std::atomic<unsigned> kernels_waiting_{0};  // kernels_.size(), to be read without the mutex
    std::atomic<bool> spinning_{false}; // one worker looks at kernels_waiting_; written under the mutex
    unsigned workers_ = 0;              // threads started
    unsigned idle_workers_ = 0;         // of those, asleep
    unsigned waiters_ = 0;              // threads asleep in wait()
    bool copier_started_ = false;
    bool watching_ = false;
};

std::int64_t now_ns();
// Waits, precisely.
void sleep_ns(std::int64_t duration);

}  // namespace kaas
