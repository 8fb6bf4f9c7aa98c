// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <fastconv/layer.hpp>
#include <mutex>
#include <thread>
#include <vector>

namespace fastconv {

// Threads for RunOptions::parallel_for, for programs that have none of their own. The library does
// not need this header; a program that includes it links with its platform's threads.
//
//   ThreadPool pool(4);
//   status = layer.plan(x, y, plan, pool.threads());
//   options.parallel_for = pool.parallel_for();
//
// The calling thread is one of the workers. Between calls the others spin for a moment, so that the
// next layer of a network finds them awake, and then sleep. A call allocates nothing.
class ThreadPool {
 public:
  // `threads` counts the caller's; 0 or less is one per hardware thread. Where that are more than
  // 4096, or than the system starts, the pool is smaller: see threads(). May throw std::bad_alloc,
  // as nothing else does.
  explicit ThreadPool(int threads = 0) {
    const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    threads = std::min(threads > 0 ? threads : cores, kMostThreads);
    // Who spins with more threads than cores keeps another from its work.
    const auto spin = threads <= cores ? kSpin : std::chrono::microseconds(0);
    called_.spin = finished_.spin = spin;
    workers_.reserve(static_cast<std::size_t>(threads - 1));
#if defined(__cpp_exceptions)
    try {
      start(threads);
    } catch (const std::exception&) {
    }
#else
    start(threads);
#endif
  }

  // No call may be under way.
  ~ThreadPool() {
    state_.store(kStop);
    called_.notify();
    for (std::thread& worker : workers_) worker.join();
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const noexcept { return static_cast<int>(workers_.size()) + 1; }

  // Valid while the pool lives, from any thread. A call that comes while another is under way, also
  // from one of its tasks, runs on the calling thread alone.
  ParallelFor parallel_for() noexcept { return {run, this}; }

 private:
  static constexpr int kMostThreads = 1 << 12;
  static constexpr std::chrono::microseconds kSpin{50};

  // Waits by spinning for `spin` and then by sleeping.
  struct Signal {
    std::chrono::steady_clock::duration spin{};

    // `done` reads atomics that are set before notify is called.
    template <class Done>
    void wait(Done done) noexcept {
      if (done()) return;
      if (spin.count() > 0) {
        const auto end = std::chrono::steady_clock::now() + spin;
        do {
          for (int i = 0; i < 64; ++i) {
            if (done()) return;
            pause();
          }
        } while (std::chrono::steady_clock::now() < end);
      }
      std::unique_lock<std::mutex> lock(mutex);
      // Counted before `done` is asked again: either that sees the change or notify sees us.
      ++sleepers;
      changed.wait(lock, done);
      --sleepers;
    }

    void notify() noexcept {
      if (sleepers.load() == 0) return;
      { const std::lock_guard<std::mutex> lock(mutex); }
      changed.notify_all();
    }

   private:
    static void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
      __builtin_ia32_pause();
#elif defined(__aarch64__)
      asm volatile("yield");
#endif
    }

    std::mutex mutex;
    std::condition_variable changed;
    std::atomic<int> sleepers{0};
  };

  // state_: how many workers are in the call, whether more may come in, and the call's number above
  // that. A worker that wakes up late finds the call closed, so nobody waits for sleepers.
  static constexpr std::uint64_t kOpen = 1 << 16;
  static constexpr std::uint64_t kCall = kOpen << 1;
  static constexpr std::uint64_t kWorkers = kOpen - 1;
  static constexpr std::uint64_t kStop = ~std::uint64_t{0};

  static void run(void* context, std::int64_t tasks, int slots, ParallelFor::Body body,
                  void* data) noexcept {
    auto& pool = *static_cast<ThreadPool*>(context);
    if (pool.busy_.exchange(true)) {
      for (std::int64_t task = 0; task < tasks; ++task) body(data, task, 0);
      return;
    }
    pool.tasks_ = tasks;
    pool.body_ = body;
    pool.data_ = data;
    pool.slots_.store(slots);
    pool.next_.store(0);
    const std::uint64_t call = (pool.state_.load() / kCall + 1) % (kStop / kCall) * kCall;
    pool.state_.store(call | kOpen);
    if (slots > 1 && tasks > 1) pool.called_.notify();
    pool.work(0);
    pool.state_.fetch_and(~kOpen);
    pool.finished_.wait([&pool] { return (pool.state_.load() & kWorkers) == 0; });
    pool.busy_.store(false);
  }

  void start(int threads) {
    for (int slot = 1; slot < threads; ++slot) {
      workers_.emplace_back([this, slot] { serve(slot); });
    }
  }

  // Takes tasks until there are none.
  void work(int slot) noexcept {
    while (true) {
      const std::int64_t task = next_.fetch_add(1);
      if (task >= tasks_) return;
      body_(data_, task, slot);
    }
  }

  // What a thread of the pool does.
  void serve(int slot) noexcept {
    std::uint64_t last = 0;  // the call that this worker has been in, or came too late for
    while (true) {
      called_.wait([&] { return state_.load() / kCall != last; });
      std::uint64_t state = state_.load();
      if (state == kStop) return;
      last = state / kCall;
      bool joined = false;
      while (!joined && (state & kOpen) != 0 && state / kCall == last && slot < slots_.load()) {
        joined = state_.compare_exchange_weak(state, state + 1);
      }
      if (!joined) continue;
      work(slot);
      state_.fetch_sub(1);
      finished_.notify();
    }
  }

  std::atomic<bool> busy_{false};
  std::atomic<std::uint64_t> state_{0};
  std::atomic<std::int64_t> next_{0};
  std::atomic<int> slots_{0};  // read before a worker is in the call, unlike the next three
  std::int64_t tasks_ = 0;
  ParallelFor::Body body_ = nullptr;
  void* data_ = nullptr;
  Signal called_;
  Signal finished_;
  std::vector<std::thread> workers_;  // last: they use all of the above
};

}  // namespace fastconv
