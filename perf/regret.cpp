// SPDX-License-Identifier: Apache-2.0
#include "regret.hpp"

#include <fastconv/version.h>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "measure.hpp"
#include "progress.hpp"
#include "runs.hpp"

namespace fastconv::perf {
namespace {

// Taken by name alone, for its error; no choice of the library's may be held against it.
bool is_opt_in(Algorithm algorithm) { return algorithm == Algorithm::winograd_f6; }

// All but the baselines.
std::vector<Algorithm> contenders() {
  std::vector<Algorithm> result;
  for (const Algorithm algorithm : testing::all_algorithms()) {
    if (algorithm != Algorithm::automatic && testing::depends_on_isa(algorithm)) {
      result.push_back(algorithm);
    }
  }
  return result;
}

// Algorithms with the time that each took over that of the library's choice; 0 if it was refused.
struct Comparison {
  std::string choice;
  double seconds = 0.0;  // of the choice
  std::vector<double> times;
  std::vector<bool> sums_otherwise;  // refused if strict
};

Status compare(const Operands& operands, const Options& options, const MeasureOptions& measuring,
               Comparison& comparison) {
  std::vector<std::unique_ptr<FastconvRun>> runs;
  Status status;
  std::vector<Candidate> candidates;
  const auto add = [&](Algorithm algorithm, bool strict) {
    LayerOptions named = layer_options(options);
    named.algorithm = algorithm;
    named.strict = strict;
    runs.push_back(std::make_unique<FastconvRun>(operands));
    return runs.back()->create(named);
  };
  status = add(Algorithm::automatic, options.strict);
  if (!status.ok()) return status;
  candidates.push_back(candidate("auto", *runs.back(), status));
  comparison.choice = name(runs.back()->algorithm());

  std::vector<std::size_t> positions;  // among the candidates; 0 for those that refuse
  for (const Algorithm algorithm : contenders()) {
    const bool refused_if_strict = !add(algorithm, true).ok();
    const Status added = add(algorithm, options.strict);
    const bool refused = !added.ok() && options.strict && refused_if_strict;
    if (!added.ok() && !refused && added.code() != StatusCode::unsupported) return added;
    comparison.sums_otherwise.push_back(added.ok() && refused_if_strict);
    positions.push_back(added.ok() ? candidates.size() : 0);
    if (added.ok()) candidates.push_back(candidate(name(algorithm), *runs.back(), status));
  }
  const std::vector<Timing> timings = measure(candidates, measuring).timings;
  // By its name the choice does the same once more: what differs is noise.
  comparison.seconds = timings.front().min;
  for (std::size_t i = 1; i < timings.size(); ++i) {
    if (candidates[i].name != comparison.choice) continue;
    comparison.seconds = std::min(comparison.seconds, timings[i].min);
  }
  for (const std::size_t position : positions) {
    const double seconds = timings[position].min;
    comparison.times.push_back(position == 0 ? 0.0 : seconds / comparison.seconds);
  }
  return status;
}

}  // namespace

bool print_regret(const Options& options) {
  Progress progress(options.quiet);
  const std::vector<Algorithm> algorithms = contenders();
  std::printf("fastconv %s, %s, %s\n", version(), name(options.layout), cpu_name().c_str());
  std::printf(
      "Time of each algorithm over that of the library's choice, turn and turn about for %g s.\n"
      "* sums otherwise than the definition; in ( ) by name alone, which no choice has to match.\n"
      "Regret: what the choice takes more than the best.\n",
      options.seconds);
  std::printf("%-24s %9s %-12s", "problem", "auto us", "choice");
  for (const Algorithm algorithm : algorithms) std::printf(" %12s", name(algorithm));
  std::printf(" %8s\n", "regret");

  double log_sum = 0.0, worst = 0.0;
  std::string worst_title;
  int rows = 0;
  bool good = true;
  for (const testing::Problem& problem : options.problems) {
    if (problem.flop() <= 0.0) continue;
    const std::string title = problem.name.empty() ? testing::to_string(problem) : problem.name;
    progress.show(title);
    const Operands operands(problem, options.layout, options.fill, options.seed, options.bias);
    MeasureOptions measuring;
    measuring.seconds = options.seconds;
    measuring.isa = options.isa;
    // What others leave in the caches would decide: 64 to 1 channels 1x1 at 224x224, NHWC, takes
    // 650 us by gemm and 1110 by direct, but 530 where gemm has run just before (AVX2).
    measuring.settles = true;
    measuring.progress = [&](const std::string& text) { progress.show(title + ": " + text); };
    Comparison comparison;
    const Status status = compare(operands, options, measuring, comparison);
    progress.clear();
    std::printf("%-24s", title.c_str());
    if (!status.ok()) {
      std::printf(" %s\n", status.message());
      good = false;
      continue;
    }
    std::printf(" %9.1f %-12s", comparison.seconds * 1e6, comparison.choice.c_str());
    double best = 1.0;
    for (std::size_t i = 0; i < algorithms.size(); ++i) {
      const double time = comparison.times[i];
      if (time == 0.0) {
        std::printf(" %12s", "-");
        continue;
      }
      const bool counts = !is_opt_in(algorithms[i]);
      std::printf("%5s%c%5.2f%s%c", "", counts ? ' ' : '(', time, counts ? "" : ")",
                  comparison.sums_otherwise[i] ? '*' : ' ');
      if (counts) best = std::min(best, time);
    }
    const double regret = 1.0 / best;
    std::printf(" %6.1f %%\n", 100.0 * (regret - 1.0));
    std::fflush(stdout);
    log_sum += std::log(regret);
    if (rows++ == 0 || regret > worst) {
      worst = regret;
      worst_title = title;
    }
  }
  if (rows > 0) {
    std::printf("\ngeometric mean of %d: regret %.1f %%; worst %.1f %%: %s\n", rows,
                100.0 * (std::exp(log_sum / rows) - 1.0), 100.0 * (worst - 1.0),
                worst_title.c_str());
  }
  return good;
}

}  // namespace fastconv::perf
