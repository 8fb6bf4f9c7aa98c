// SPDX-License-Identifier: Apache-2.0

// fastconv_notebook: the checks and the timings of the notebook that this library answers, with
// every algorithm by name, and oneDNN where the notebook had PyTorch.

#include <benchmark/benchmark.h>

#include <fastconv/version.h>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "benchmarks.hpp"
#include "check.hpp"
#include "notebook_tables.hpp"
#include "peak.hpp"
#include "progress.hpp"
#include "runs.hpp"

namespace fastconv::perf {
namespace {

constexpr double kTooLong = 10.0;  // seconds of one call that nobody wants to wait for again

struct Setting {
  const char* key;
  const char* title;
  const char* problem;
};

constexpr Setting kSettings[] = {
    {"10s3", "3 images 3x10x10, 3 filters 3x3, stride 3", "mb3ic3ih10oc3kh3sh3"},
    {"10", "3 images 3x10x10, 3 filters 3x3", "mb3ic3ih10oc3kh3"},
    {"100", "3 images 3x100x100, 3 filters 3x3", "mb3ic3ih100oc3kh3"},
    {"1000", "3 images 3x1000x1000, 3 filters 3x3", "mb3ic3ih1000oc3kh3"},
};

// numpy.allclose with its default tolerances.
bool all_close(const TensorView& a, const TensorView& b) {
  bool close = true;
  testing::for_each_index(a.shape, [&](const Dims<4>& i) {
    const double x = testing::at(a, i);
    const double y = testing::at(b, i);
    close = close && std::abs(x - y) <= 1e-8 + 1e-5 * std::abs(y);
  });
  return close;
}

// numpy.random.random draws from [0, 1).
void to_unit_interval(const TensorView& view) {
  testing::for_each_index(view.shape, [&](const Dims<4>& i) {
    float& element = testing::at(view, i);
    element = (element + 1.0F) / 2.0F;
  });
}

[[noreturn]] void stop(const std::string& reason) {
  std::fprintf(stderr, "fastconv_notebook: %s\n", reason.c_str());
  std::exit(1);
}

void stop_unless_ok(const Status& status) {
  if (!status.ok()) stop(status.message());
}

void stop_unless_empty(const std::string& failure) {
  if (!failure.empty()) stop(failure);
}

// The library's algorithms, its own choice last.
std::vector<Algorithm> algorithms() {
  std::vector<Algorithm> all = testing::general_algorithms();
  std::rotate(all.begin(), all.begin() + 1, all.end());
  return all;
}

// One of the settings: what runs in it, checked once and then registered to be timed.
class Scene {
 public:
  Scene(const Setting& setting, Progress& progress)
      : setting_(setting),
        progress_(progress),
        operands_(parsed(setting.problem), testing::Layout::nchw, testing::Fill::floats, 1, false),
        onednn_(operands_),
        copy_(testing::Layout::nchw, operands_.output_shape(), testing::Guard::readable) {
    to_unit_interval(operands_.x.view());
    to_unit_interval(operands_.weights.view());
    table_.key = setting.key;
    table_.title = setting.title;
    table_.flop = operands_.problem.flop();
  }

  // Runs everything once and prints what numpy.allclose says of each result against oneDNN's.
  bool check() {
    show("oneDNN");
    stop_unless_empty(onednn_.create(1));
    stop_unless_empty(onednn_.run());
    std::string answers;
    bool good = true;
    for (const Algorithm algorithm : algorithms()) {
      show(name(algorithm));
      auto run = std::make_unique<FastconvRun>(operands_);
      LayerOptions options;
      options.algorithm = algorithm;
      const Status status = run->create(options);
      if (status.code() == StatusCode::unsupported) {
        table_.notes.push_back(std::string(name(algorithm)) + ": " + status.message());
        continue;
      }
      stop_unless_ok(status);
      const auto start = std::chrono::steady_clock::now();
      stop_unless_ok(run->run());
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      const bool close = all_close(run->y().view(), onednn_.y().view());
      answers +=
          std::string(answers.empty() ? "" : ", ") + name(algorithm) + (close ? " True" : " False");
      good = good && close;
      if (seconds.count() > kTooLong) {
        table_.notes.push_back(std::string(name(algorithm)) + ": not timed, one call takes " +
                               std::to_string(static_cast<int>(seconds.count())) + " s");
        continue;
      }
      rows_.push_back({algorithm, std::move(run), seconds.count()});
    }
    progress_.clear();
    std::printf("  %s:\n    %s\n", setting_.title, answers.c_str());
    good = check_strided() && good;
    std::fflush(stdout);
    return good;
  }

  // Each row, oneDNN and the FMA peak become benchmarks of Google's.
  NotebookTable register_benchmarks(const std::string& onednn_row) {
    for (const Row& row : rows_) {
      FastconvRun* const run = row.run.get();
      add(name(row.algorithm), row.seconds, [run] { stop_unless_ok(run->run()); });
    }
    add(onednn_row, 0.0, [this] { stop_unless_empty(onednn_.run()); });
    // As many elements as y has; x has a few more.
    add(kCopyRow, 0.0, [this] {
      copy_floats(Isa::automatic, operands_.x.view().data, copy_.view().data,
                  operands_.problem.y_elements());
    });
    add(kPeakRow, 0.0, [] { run_fma_burst(Isa::automatic); });
    return table_;
  }

 private:
  struct Row {
    Algorithm algorithm;
    std::unique_ptr<FastconvRun> run;
    double seconds;  // of the first call
  };

  static testing::Problem parsed(const char* text) {
    testing::Problem problem;
    testing::ParseError error;
    if (!testing::parse_problem(text, problem, error)) stop(error.reason);
    return problem;
  }

  void show(const std::string& what) { progress_.show(std::string(setting_.title) + ": " + what); }

  // The notebook holds these two against each other, too.
  bool check_strided() const {
    const auto row_of = [&](Algorithm algorithm) {
      return std::find_if(rows_.begin(), rows_.end(),
                          [&](const Row& row) { return row.algorithm == algorithm; });
    };
    const auto naive = row_of(Algorithm::naive);
    const auto strided = row_of(Algorithm::strided);
    if (naive == rows_.end() || strided == rows_.end()) return true;
    const bool close = all_close(naive->run->y().view(), strided->run->y().view());
    std::printf("    naive against strided %s\n", close ? "True" : "False");
    return close;
  }

  template <class Function>
  void add(const std::string& row, double seconds, Function function) {
    table_.rows.push_back(row);
    const std::string benchmark = table_.key + "/" + row;
    // Slow ones as often as fits two seconds, but thrice.
    const int repetitions = std::max(3, std::min(15, static_cast<int>(2.0 / (seconds + 1e-3))));
    benchmark::RegisterBenchmark(benchmark.c_str(),
                                 [this, row, function](benchmark::State& state) {
                                   show(row);
                                   for (auto _ : state) function();
                                 })
        ->Repetitions(repetitions)
        ->MinTime(0.02)
        ->UseRealTime();
  }

  const Setting& setting_;
  Progress& progress_;
  Operands operands_;
  OneDnnRun onednn_;
  testing::Tensor copy_;
  std::vector<Row> rows_;
  NotebookTable table_;
};

int run() {
  Isa isa{};
  stop_unless_ok(resolve_isa(Isa::automatic, isa));
  const std::string onednn_row = "oneDNN " + testing::onednn_version();
  std::printf("fastconv %s, isa %s, one thread, plain NCHW, beside %s on %s\n", version(),
              name(isa), onednn_row.c_str(), cpu_name().c_str());
  std::printf("\nnumpy.allclose to oneDNN:\n");
  std::fflush(stdout);

  Progress progress(false);
  std::vector<std::unique_ptr<Scene>> scenes;
  bool good = true;
  for (const Setting& setting : kSettings) {
    scenes.push_back(std::make_unique<Scene>(setting, progress));
    good = scenes.back()->check() && good;
  }
  std::vector<NotebookTable> tables;
  tables.reserve(scenes.size());
  for (const auto& scene : scenes) tables.push_back(scene->register_benchmarks(onednn_row));
  TableReporter reporter(std::move(tables), onednn_row, fma_burst_flop(Isa::automatic), progress);
  benchmark::RunSpecifiedBenchmarks(&reporter);
  return good ? 0 : 1;
}

}  // namespace
}  // namespace fastconv::perf

int main(int count, char** arguments) {
  return fastconv::perf::run_benchmarks("fastconv_notebook", count, arguments, fastconv::perf::run);
}
