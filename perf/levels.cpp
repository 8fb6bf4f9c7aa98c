// SPDX-License-Identifier: Apache-2.0
#include "levels.hpp"

#include <fastconv/version.h>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "measure.hpp"
#include "progress.hpp"
#include "runs.hpp"

namespace fastconv::perf {
namespace {

constexpr testing::Layout kLayouts[] = {testing::Layout::nchw, testing::Layout::nhwc};

// One level in one layout, and the sums for its means.
struct Column {
  testing::Layout layout;
  Isa isa;
  double log_gflops = 0.0;
  double log_share = 0.0;
  double peak_gflops = 0.0;
  int rows = 0;
};

struct Figures {
  double gflops = 0.0;
  double peak_gflops = 0.0;
};

// The reason of a failure, or nothing.
std::string time(const Operands& operands, const Column& column, const Options& options,
                 double seconds, Figures& figures) {
  FastconvRun run(operands);
  LayerOptions at_level = layer_options(options);
  at_level.isa = column.isa;
  Status status = run.create(at_level);
  if (!status.ok()) return status.message();
  MeasureOptions measure_options;
  measure_options.seconds = seconds;
  measure_options.isa = column.isa;
  const Measurement measured = measure({candidate("fastconv", run, status)}, measure_options);
  figures = {operands.problem.flop() / measured.timings.front().min * 1e-9, measured.peak_gflops};
  return status.ok() ? "" : status.message();
}

void print_titles(const std::vector<Column>& columns) {
  std::printf("%-20s", "");
  const testing::Layout* previous = nullptr;
  for (const Column& column : columns) {
    const bool repeated = previous != nullptr && *previous == column.layout;
    std::printf(" %-12s", repeated ? "" : name(column.layout));
    previous = &column.layout;
  }
  std::printf("\n%-20s", "problem");
  for (const Column& column : columns) std::printf(" %7s    %%", name(column.isa));
  std::printf("\n");
}

void print_means(const std::vector<Column>& columns) {
  std::printf("%-20s", "geometric mean");
  for (const Column& column : columns) {
    std::printf(" %7.1f %4.0f", std::exp(column.log_gflops / column.rows),
                std::exp(column.log_share / column.rows));
  }
  std::printf("\nFMA peak:");
  for (const Column& column : columns) {
    if (column.layout != kLayouts[0]) continue;
    std::printf(" %s %.1f,", name(column.isa), column.peak_gflops);
  }
  std::printf(" %s\n", cpu_name().c_str());
}

}  // namespace

bool print_levels(const Options& options) {
  Progress progress(options.quiet);
  std::vector<Column> columns;
  for (const testing::Layout layout : kLayouts) {
    for (const Isa isa : testing::all_isas()) {
      if (is_supported(isa)) columns.push_back({layout, isa});
    }
  }
  std::printf(
      "fastconv %s: levels and layouts side by side, algorithm %s, 1 thread\n"
      "GFLOP/s, and %% of the FMA peak in the vectors of the same level\n",
      version(), fastconv::name(options.algorithm));
  print_titles(columns);
  bool good = true;
  for (const testing::Problem& problem : options.problems) {
    if (problem.flop() <= 0.0) continue;
    const std::string title = problem.name.empty() ? testing::to_string(problem) : problem.name;
    std::string failures;
    std::string line;
    for (const testing::Layout layout : kLayouts) {
      const Operands operands(problem, layout, options.fill, options.seed, options.bias);
      for (Column& column : columns) {
        if (column.layout != layout) continue;
        progress.show(title + ", " + name(layout) + ", " + name(column.isa));
        Figures figures;
        const std::string failure =
            time(operands, column, options, options.seconds / static_cast<double>(columns.size()),
                 figures);
        if (!failure.empty()) {
          failures.append("    ").append(name(column.isa)).append(": ").append(failure) += '\n';
          line += "       -    -";
          continue;
        }
        char cell[32];
        const double share = 100.0 * figures.gflops / figures.peak_gflops;
        std::snprintf(cell, sizeof cell, " %7.1f %4.0f", figures.gflops, share);
        line += cell;
        column.log_gflops += std::log(figures.gflops);
        column.log_share += std::log(share);
        column.peak_gflops = std::max(column.peak_gflops, figures.peak_gflops);
        ++column.rows;
      }
    }
    progress.clear();
    std::printf("%-20s%s\n%s", title.c_str(), line.c_str(), failures.c_str());
    std::fflush(stdout);
    good = good && failures.empty();
  }
  print_means(columns);
  return good;
}

}  // namespace fastconv::perf
