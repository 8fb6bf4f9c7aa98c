// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fastconv/isa.hpp>
#include <fastconv/thread_pool.hpp>
#include <functional>
#include <string>
#include <vector>

namespace fastconv::perf {

struct Candidate {
  std::string name;
  std::function<void()> run;
};

// Seconds of one call.
struct Timing {
  double min = 0.0;
  double median = 0.0;
  int repetitions = 0;
};

struct Measurement {
  std::vector<Timing> timings;  // in the order of the candidates
  double peak_gflops = 0.0;     // the best of the bursts in between
  double pool_gflops = 0.0;     // the same on all threads of the pool at once
};

struct MeasureOptions {
  double seconds = 0.5;      // for all candidates together, the bursts included
  Isa isa = Isa::automatic;  // of the peak
  ThreadPool* pool = nullptr;
  bool settles = false;  // a call before every sample, which finds the caches as that left them
  std::function<void(const std::string&)> progress = [](const std::string&) {};
};

// Runs the candidates turn and turn about, so that a change of clock or a busy neighbour hits all
// of them: in each round each runs once, or as often as it takes to fill 50 microseconds, and who
// begins, and who follows whom, changes from round to round. Bursts of FMA peak lie in between, one
// every 20 ms. The first round warms up; it counts only if there is time for no other.
Measurement measure(const std::vector<Candidate>& candidates, const MeasureOptions& options);

// The smallest and the middle one of `samples`, which must not be empty.
Timing summarize(std::vector<double> samples);

}  // namespace fastconv::perf
