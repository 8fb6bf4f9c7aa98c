// SPDX-License-Identifier: Apache-2.0
#include "measure.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <utility>

#include "peak.hpp"

namespace fastconv::perf {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kShortest = 50e-6;  // of a sample: far above the clock's resolution
constexpr double kBetweenPeaks = 20e-3;
constexpr std::size_t kMostRounds = 20000;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Seconds of one call, averaged over `calls`.
double sample(const Candidate& candidate, int calls) {
  const auto start = Clock::now();
  for (int i = 0; i < calls; ++i) candidate.run();
  return since(start) / calls;
}

// GFLOP/s of a burst on every thread of the pool at once.
double pool_peak_gflops(Isa isa, ThreadPool& pool) {
  const ParallelFor parallel_for = pool.parallel_for();
  const double flop = fma_burst_flop(isa);  // finds its length before the time is taken
  double best = 0.0;
  for (int i = 0; i < 3; ++i) {  // the first may find the threads asleep
    const auto start = Clock::now();
    parallel_for.run(
        parallel_for.context, pool.threads(), pool.threads(),
        [](void* data, std::int64_t, int) { run_fma_burst(*static_cast<Isa*>(data)); }, &isa);
    best = std::max(best, flop * pool.threads() / since(start) * 1e-9);
  }
  return best;
}

}  // namespace

Timing summarize(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const std::size_t middle = samples.size() / 2;
  const double median =
      samples.size() % 2 == 1 ? samples[middle] : (samples[middle - 1] + samples[middle]) / 2;
  return {samples.front(), median, static_cast<int>(samples.size())};
}

Measurement measure(const std::vector<Candidate>& candidates, const MeasureOptions& options) {
  const auto start = Clock::now();
  Measurement result;
  auto last_peak = start;
  const auto burst = [&] {
    // In parts, of which a busy machine interrupts only some.
    for (int i = 0; i < 8; ++i) {
      result.peak_gflops = std::max(result.peak_gflops, fma_peak_gflops(options.isa, 0.1));
    }
    if (options.pool != nullptr) {
      result.pool_gflops =
          std::max(result.pool_gflops, pool_peak_gflops(options.isa, *options.pool));
    }
    last_peak = Clock::now();
  };
  burst();

  std::vector<std::vector<double>> samples(candidates.size());
  std::vector<int> calls(candidates.size());
  std::vector<double> turn_seconds(candidates.size());  // what each took last
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    options.progress(candidates[i].name + ": first run");
    double call = sample(candidates[i], 1);
    samples[i].push_back(call);
    // A first run is slow; if it was short, the second says how many fill a sample.
    if (call < 20 * kShortest) call = sample(candidates[i], 1);
    calls[i] = static_cast<int>(std::ceil(kShortest / std::max(call, 1e-9)));
    turn_seconds[i] = call * calls[i];
  }

  for (std::size_t round = 0; round < kMostRounds; ++round) {
    const double next = std::accumulate(turn_seconds.begin(), turn_seconds.end(), 0.0);
    if (since(start) + next > options.seconds) break;
    if (round == 0) {
      for (auto& warm_up : samples) warm_up.clear();
    }
    const std::size_t count = candidates.size();
    for (std::size_t turn = 0; turn < count; ++turn) {
      // Every second round backwards, or each would always find the caches as the same one left
      // them.
      const std::size_t i = (round / 2 + (round % 2 == 0 ? turn : count - 1 - turn)) % count;
      const auto turn_start = Clock::now();
      if (options.settles) candidates[i].run();
      samples[i].push_back(sample(candidates[i], calls[i]));
      turn_seconds[i] = since(turn_start);
      if (since(last_peak) > kBetweenPeaks) burst();
    }
    options.progress("round " + std::to_string(round + 1));
  }
  burst();
  for (auto& of_candidate : samples) {
    result.timings.push_back(summarize(std::move(of_candidate)));
  }
  return result;
}

}  // namespace fastconv::perf
