// SPDX-License-Identifier: Apache-2.0

// fastconv_perf: problems by benchdnn's descriptors, checked and timed, beside oneDNN if asked to.

#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "accuracy.hpp"
#include "check.hpp"
#include "creation.hpp"
#include "features.hpp"
#include "levels.hpp"
#include "measure.hpp"
#include "options.hpp"
#include "overhead.hpp"
#include "progress.hpp"
#include "regret.hpp"
#include "report.hpp"
#include "runs.hpp"

namespace fastconv::perf {
namespace {

class Driver {
 public:
  explicit Driver(const Options& options) : options_(options), progress_(options.quiet) {
    if (options.threads > 1) pool_ = std::make_unique<ThreadPool>(options.threads);
  }

  // True if nothing went wrong.
  bool run() {
    Table table(options_);
    std::vector<Row> rows;
    bool good = true;
    for (const testing::Problem& problem : options_.problems) {
      step_ = "[" + std::to_string(rows.size() + 1) + "/" +
              std::to_string(options_.problems.size()) + "] " + testing::to_string(problem) + ": ";
      Row row;
      row.problem = testing::to_string(problem);
      row.name = problem.name;
      row.gflop = problem.flop() * 1e-9;
      bool right = true;
      if (options_.check) right = check(problem, row);
      if (right && options_.seconds > 0.0 && row.gflop > 0.0) right = time(problem, row);
      good = good && right;
      progress_.clear();
      table.add(row);
      rows.push_back(row);
    }
    table.finish();
    if (!options_.csv.empty()) {
      const std::string failed = write_csv(options_, rows);
      if (!failed.empty()) std::fprintf(stderr, "fastconv_perf: %s\n", failed.c_str());
      good = good && failed.empty();
    }
    return good;
  }

 private:
  // With forbidden memory behind the tensors and before them.
  bool check(const testing::Problem& problem, Row& row) {
    progress_.show(step_ + "checking");
    const testing::Check check(problem, options_.layout, options_.fill, options_.seed,
                               options_.bias, options_.post_ops);
    for (const testing::Guard guard : {testing::Guard::after, testing::Guard::before}) {
      const testing::Verdict verdict = check.run(
          {options_.algorithm, options_.isa, guard, options_.threads, options_.flush_denormals});
      if (verdict.refused) return true;  // create says why
      if (!verdict.failure.empty()) {
        row.check = "FAILED";
        row.message = verdict.failure;
        return false;
      }
    }
    row.check = "ok";
    return true;
  }

  bool time(const testing::Problem& problem, Row& row) {
    progress_.show(step_ + "filling");
    const Operands operands(problem, options_.layout, options_.fill, options_.seed, options_.bias);
    FastconvRun own(operands);
    Status status = own.create(layer_options(options_), options_.post_ops, pool_.get());
    if (!status.ok()) {
      row.message = status.message();
      if (status.code() == StatusCode::unsupported) row.message = "refused: " + row.message;
      return status.code() == StatusCode::unsupported;
    }
    row.explain = own.explain();
    row.own_creation = own.creation_seconds();

    std::unique_ptr<OneDnnRun> peer;
    std::string peer_failure;
    if (options_.onednn) {
      peer = std::make_unique<OneDnnRun>(operands);
      peer_failure = peer->create(options_.threads, options_.post_ops);
      row.message = peer_failure;
    }
    std::vector<Candidate> candidates{candidate("fastconv", own, status)};
    if (peer != nullptr && peer_failure.empty()) {
      candidates.push_back({"oneDNN", [&] {
                              std::string result = peer->run();
                              if (!result.empty()) peer_failure = std::move(result);
                            }});
    }
    // Last comes what it is held against: the same on one thread beside several, or the copy.
    FastconvRun alone(operands);
    std::unique_ptr<CopyRun> copy;
    if (pool_ != nullptr) {
      const Status created = alone.create(layer_options(options_), options_.post_ops);
      if (!created.ok()) status = created;
      candidates.push_back(candidate("fastconv on one thread", alone, status));
    } else {
      copy = std::make_unique<CopyRun>(operands.bytes());
      candidates.push_back({"copy", [&] { copy->run(options_.isa); }});
    }
    MeasureOptions measure_options;
    measure_options.pool = pool_.get();
    measure_options.seconds = options_.seconds;
    measure_options.isa = options_.isa;
    measure_options.progress = [this](const std::string& text) { progress_.show(step_ + text); };
    const Measurement measured = measure(candidates, measure_options);
    if (!status.ok() || !peer_failure.empty()) {
      row.message = status.ok() ? peer_failure : status.message();
    }
    if (!status.ok()) return false;
    row.own = measured.timings.front();
    row.peak_gflops = measured.peak_gflops;
    if (pool_ == nullptr) {
      row.bytes = static_cast<double>(operands.bytes());
      row.copy = measured.timings.back();
    } else {
      row.one = measured.timings.back();
      row.one_peak_gflops = measured.peak_gflops;
      row.peak_gflops = measured.pool_gflops;
    }
    if (peer != nullptr && peer_failure.empty()) {
      row.peer = measured.timings[1];
      row.peer_creation = peer->creation_seconds();
      row.implementation = peer->implementation();
    }
    return peer_failure.empty();
  }

  const Options& options_;
  std::unique_ptr<ThreadPool> pool_;  // null for one thread
  Progress progress_;
  std::string step_;
};

int run(int count, const char* const* arguments) {
  Options options;
  const std::string wrong = parse_options(count, arguments, options);
  if (options.help) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  if (!wrong.empty()) {
    std::fprintf(stderr, "fastconv_perf: %s\n", wrong.c_str());
    return 2;
  }
  if (!options.quiet) {
    for (const std::string& note : options.notes) std::fprintf(stderr, "%s\n", note.c_str());
  }
  const bool good = options.levels     ? print_levels(options)
                    : options.creation ? print_creation(options)
                    : options.features ? print_features(options)
                    : options.accuracy ? print_accuracy(options)
                    : options.regret   ? print_regret(options)
                    : options.overhead ? print_overhead(options)
                                       : Driver(options).run();
  return good ? 0 : 1;
}

}  // namespace
}  // namespace fastconv::perf

int main(int count, char** arguments) {
  try {
    return fastconv::perf::run(count, arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fastconv_perf: %s\n", error.what());
    return 1;
  }
}
