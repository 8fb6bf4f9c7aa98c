// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <benchmark/benchmark.h>

#include <fastconv/isa.hpp>
#include <map>
#include <string>
#include <vector>

#include "progress.hpp"

namespace fastconv::perf {

constexpr const char* kForms[] = {"columns", "rows"};

// The micro-kernels of one level that were measured.
struct KernelLevel {
  Isa isa = Isa::automatic;
  int max_rows[2] = {};  // of a tile over a panel, by form
  int vectors[2] = {};   // of the panel
  int width = 0;
  int chosen[2] = {};    // the KC that the blocking picks, by form
  std::vector<int> kcs;  // ascending, the chosen ones among them
};

// Names of benchmarks.
std::string tile_name(const KernelLevel& level, int form, int rows, int vectors, int kc);

// Collects the counters of every repetition and prints the medians as tables once all are there:
// percent of FMA peak of tiles, GB/s of everything else.
class KernelReporter : public benchmark::BenchmarkReporter {
 public:
  KernelReporter(std::vector<KernelLevel> levels, std::vector<std::string> packing,
                 std::vector<std::string> columns, Progress& progress);

  bool ReportContext(const Context& context) override;
  void ReportRuns(const std::vector<Run>& runs) override;
  void Finalize() override;

 private:
  double median(const std::string& benchmark, const char* counter) const;
  void print_tiles(const KernelLevel& level) const;
  void print_packing() const;

  std::vector<KernelLevel> levels_;
  std::vector<std::string> packing_;  // benchmarks are row/column
  std::vector<std::string> columns_;
  Progress& progress_;
  std::map<std::string, std::map<std::string, std::vector<double>>> samples_;
};

}  // namespace fastconv::perf
