// SPDX-License-Identifier: Apache-2.0
#include "notebook_tables.hpp"

#include <cstdio>
#include <utility>

namespace fastconv::perf {
namespace {

// Repetitions append their settings to the name: key/row/repeats:7/real_time.
std::string key_and_row(const std::string& name) {
  const std::size_t row = name.find('/') + 1;
  return name.substr(0, name.find('/', row));
}

// Three digits and a unit that fits.
std::string duration(double seconds) {
  const struct {
    double scale;
    const char* unit;
  } units[] = {{1.0, "s"}, {1e3, "ms"}, {1e6, "us"}, {1e9, "ns"}};
  char text[32];
  for (const auto& [scale, unit] : units) {
    const double value = seconds * scale;
    if (value < 0.9995 && scale < 1e9) continue;
    std::snprintf(text, sizeof text, "%.*f %s", value < 9.995 ? 2 : (value < 99.95 ? 1 : 0), value,
                  unit);
    break;
  }
  return text;
}

std::string factor(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", value < 9.995 ? 2 : (value < 99.95 ? 1 : 0), value);
  return text;
}

}  // namespace

TableReporter::TableReporter(std::vector<NotebookTable> tables, std::string onednn_row,
                             double peak_burst_flop, Progress& progress)
    : tables_(std::move(tables)),
      onednn_row_(std::move(onednn_row)),
      peak_burst_flop_(peak_burst_flop),
      progress_(progress) {}

bool TableReporter::ReportContext(const Context&) { return true; }

void TableReporter::ReportRuns(const std::vector<Run>& runs) {
  for (const Run& run : runs) {
    if (run.run_type != Run::RT_Iteration || run.iterations == 0) continue;
    seconds_[key_and_row(run.benchmark_name())].push_back(run.real_accumulated_time /
                                                          static_cast<double>(run.iterations));
  }
}

void TableReporter::Finalize() {
  progress_.clear();
  for (const NotebookTable& table : tables_) print(table);
}

void TableReporter::print(const NotebookTable& table) const {
  const auto timing_of = [&](const std::string& row) {
    const auto found = seconds_.find(table.key + "/" + row);
    return found == seconds_.end() ? Timing{} : summarize(found->second);
  };
  const Timing peak = timing_of(kPeakRow);
  const Timing naive = timing_of(kNaiveRow);
  const Timing onednn = timing_of(onednn_row_);
  const double peak_gflops = peak.repetitions > 0 ? peak_burst_flop_ / peak.min * 1e-9 : 0.0;

  std::printf("\n%s: %.4g MFLOP\n", table.title.c_str(), table.flop * 1e-6);
  std::printf("  %-24s %10s %10s %9s %8s %9s %9s\n", "", "min", "median", "GFLOP/s", "% peak",
              "x naive", "x oneDNN");
  for (const std::string& row : table.rows) {
    const Timing timing = timing_of(row);
    if (timing.repetitions == 0) continue;
    const double gflops = row == kPeakRow ? peak_gflops : table.flop / timing.min * 1e-9;
    const auto times = [&](const Timing& of) {
      return of.repetitions > 0 ? factor(of.min / timing.min) : std::string("-");
    };
    if (row == kPeakRow) {
      std::printf("  %-24s %10s %10s %9.1f\n", row.c_str(), "", "", gflops);
    } else if (row == kCopyRow) {
      std::printf("  %-24s %10s %10s\n", row.c_str(), duration(timing.min).c_str(),
                  duration(timing.median).c_str());
    } else {
      std::printf("  %-24s %10s %10s %9.2f %8.2f %9s %9s\n", row.c_str(),
                  duration(timing.min).c_str(), duration(timing.median).c_str(), gflops,
                  peak_gflops > 0.0 ? 100.0 * gflops / peak_gflops : 0.0, times(naive).c_str(),
                  times(onednn).c_str());
    }
  }
  for (const std::string& note : table.notes) std::printf("  %s\n", note.c_str());
  std::fflush(stdout);
}

}  // namespace fastconv::perf
