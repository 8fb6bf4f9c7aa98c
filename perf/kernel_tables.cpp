// SPDX-License-Identifier: Apache-2.0
#include "kernel_tables.hpp"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "../kernels/table.hpp"
#include "measure.hpp"

namespace fastconv::perf {

std::string tile_name(const KernelLevel& level, int form, int rows, int vectors, int kc) {
  return std::string(name(level.isa)) + "/" + kForms[form] + "/" + std::to_string(rows) + "x" +
         std::to_string(vectors) + "/KC" + std::to_string(kc);
}

KernelReporter::KernelReporter(std::vector<KernelLevel> levels, std::vector<std::string> packing,
                               std::vector<std::string> columns, Progress& progress)
    : levels_(std::move(levels)),
      packing_(std::move(packing)),
      columns_(std::move(columns)),
      progress_(progress) {}

bool KernelReporter::ReportContext(const Context&) { return true; }

void KernelReporter::ReportRuns(const std::vector<Run>& runs) {
  for (const Run& run : runs) {
    if (run.run_type != Run::RT_Iteration || run.iterations == 0) continue;
    for (const auto& [counter, value] : run.counters) {
      samples_[run.run_name.function_name][counter].push_back(value.value);
    }
  }
}

void KernelReporter::Finalize() {
  progress_.clear();
  for (const KernelLevel& level : levels_) print_tiles(level);
  print_packing();
}

double KernelReporter::median(const std::string& benchmark, const char* counter) const {
  const auto found = samples_.find(benchmark);
  return found == samples_.end() ? 0.0 : summarize(found->second.at(counter)).median;
}

void KernelReporter::print_tiles(const KernelLevel& level) const {
  const auto percent = [&](int form, int rows, int vectors, int kc) {
    return median(tile_name(level, form, rows, vectors, kc), "percent");
  };
  const double peak =
      median(tile_name(level, 0, level.max_rows[0], level.vectors[0], level.chosen[0]), "peak");
  if (peak == 0.0) return;  // filtered out
  std::printf("\n%s: %% of FMA peak (%.1f GFLOP/s), vectors of %d\n", name(level.isa), peak,
              level.width);
  std::printf("  tallest tiles by KC, * the blocking's choice for a depth of 2304\n   ");
  for (const int kc : level.kcs) std::printf(" %6d", kc);
  std::printf("\n");
  for (int form = 0; form < 2; ++form) {
    std::printf("   ");
    for (const int kc : level.kcs) {
      std::printf(" %5.1f%c", percent(form, level.max_rows[form], level.vectors[form], kc),
                  kc == level.chosen[form] ? '*' : ' ');
    }
    std::printf("  %dx%d %s\n", level.max_rows[form], level.vectors[form], kForms[form]);
  }
  std::printf("  tiles side by side: at the best KC (which), at the chosen one\n  rows");
  for (int form = 0; form < 2; ++form) {
    for (int vectors = 1; vectors <= level.vectors[form]; ++vectors) {
      const std::string title = std::string(kForms[form]) + " x " + std::to_string(vectors);
      std::printf("  %-17s", title.c_str());
    }
  }
  std::printf("\n");
  const KernelTable& table = *kernel_table(level.isa);
  for (int rows = 1; rows <= std::max(table.max_rows[0][0], table.max_rows[1][0]); ++rows) {
    std::printf("  %4d", rows);
    for (int form = 0; form < 2; ++form) {
      for (int vectors = 1; vectors <= level.vectors[form]; ++vectors) {
        if (rows > table.max_rows[form][vectors - 1]) {
          std::printf("  %-17s", "");
          continue;
        }
        const int best = *std::max_element(level.kcs.begin(), level.kcs.end(), [&](int a, int b) {
          return percent(form, rows, vectors, a) < percent(form, rows, vectors, b);
        });
        std::printf("  %5.1f (%3d) %5.1f", percent(form, rows, vectors, best), best,
                    percent(form, rows, vectors, level.chosen[form]));
      }
    }
    std::printf("\n");
  }
  std::fflush(stdout);
}

void KernelReporter::print_packing() const {
  bool titled = false;
  for (const std::string& row : packing_) {
    const bool measured =
        std::any_of(columns_.begin(), columns_.end(), [&](const std::string& column) {
          return samples_.count(std::string(row).append("/").append(column)) > 0;
        });
    if (!measured) continue;
    if (!titled) {
      std::printf("\npacking: GB/s of packed bytes\n  %-46s", "");
      for (const std::string& column : columns_) std::printf(" %8s", column.c_str());
      std::printf("\n");
      titled = true;
    }
    std::printf("  %-46s", row.c_str());
    for (const std::string& column : columns_) {
      std::printf(" %8.1f", median(std::string(row).append("/").append(column), "GB/s"));
    }
    std::printf("\n");
  }
  std::fflush(stdout);
}

}  // namespace fastconv::perf
