// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <benchmark/benchmark.h>

#include <map>
#include <string>
#include <vector>

#include "measure.hpp"
#include "progress.hpp"

namespace fastconv::perf {

// One of the notebook's timings, as a table: who ran what.
struct NotebookTable {
  std::string key;    // what the names of its benchmarks start with, up to a slash
  std::string title;  // what the notebook did there
  double flop = 0.0;
  std::vector<std::string> rows;   // whose benchmarks are key/row
  std::vector<std::string> notes;  // rows that are not there, and why
};

// Rows that do not convolve.
constexpr const char* kCopyRow = "copy of the input";
constexpr const char* kPeakRow = "FMA peak";
constexpr const char* kNaiveRow = "naive";

// Collects the repetitions of every benchmark and prints the tables once all are there.
class TableReporter : public benchmark::BenchmarkReporter {
 public:
  TableReporter(std::vector<NotebookTable> tables, std::string onednn_row, double peak_burst_flop,
                Progress& progress);

  bool ReportContext(const Context& context) override;
  void ReportRuns(const std::vector<Run>& runs) override;
  void Finalize() override;

 private:
  void print(const NotebookTable& table) const;

  std::vector<NotebookTable> tables_;
  std::string onednn_row_;
  double peak_burst_flop_;
  Progress& progress_;
  std::map<std::string, std::vector<double>> seconds_;  // of one call, by benchmark
};

}  // namespace fastconv::perf
