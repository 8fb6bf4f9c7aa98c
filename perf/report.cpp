// SPDX-License-Identifier: Apache-2.0
#include "report.hpp"

#include <fastconv/version.h>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "onednn.hpp"
#include "runs.hpp"

namespace fastconv::perf {
namespace {

constexpr int kWidestName = 24;
constexpr double kLarge = 0.5e-3;  // seconds on one thread

const char* isa_name(const Options& options) {
  Isa isa = options.isa;
  return resolve_isa(options.isa, isa).ok() ? name(isa) : "unknown";
}

const std::string& title_of(const Row& row) { return row.name.empty() ? row.problem : row.name; }

template <class Value>
double geometric_mean(const std::vector<Row>& rows, Value value) {
  double sum = 0.0;
  for (const Row& row : rows) sum += std::log(value(row));
  return std::exp(sum / static_cast<double>(rows.size()));
}

template <class Value>
const Row& smallest(const std::vector<Row>& rows, Value value) {
  return *std::min_element(rows.begin(), rows.end(),
                           [&](const Row& a, const Row& b) { return value(a) < value(b); });
}

// Without the instruction set behind the last colon, which is the same on every line, and of a
// sequence of implementations only the last, which computes.
std::string family_of(const std::string& implementation) {
  std::string result = implementation;
  const std::size_t colon = result.rfind(':');
  if (colon != std::string::npos) {
    const std::string level = result.substr(colon + 1, 3);
    if (level == "avx" || level == "sse" || level == "sve") result.resize(colon);
  }
  const std::size_t plus = result.rfind('+');
  return plus == std::string::npos ? result : result.substr(plus);
}

std::string indented(const std::string& text) {
  std::istringstream lines(text);
  std::string result;
  for (std::string line; std::getline(lines, line);) result += "    " + line + "\n";
  return result;
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char letter : text) result += letter == '"' ? "\"\"" : std::string(1, letter);
  return result + "\"";
}

}  // namespace

Table::Table(const Options& options) : options_(options), name_width_(8) {
  for (const testing::Problem& problem : options.problems) {
    const std::string title = problem.name.empty() ? testing::to_string(problem) : problem.name;
    name_width_ = std::max(name_width_, std::min(kWidestName, static_cast<int>(title.size())));
  }
  std::printf("fastconv %s: %s, isa %s, algorithm %s, %d thread%s\n", version(),
              name(options.layout), isa_name(options), fastconv::name(options.algorithm),
              options.threads, options.threads == 1 ? "" : "s");
  if (!options.post_ops.none()) {
    std::printf("fused: %s\n", testing::to_string(options.post_ops).c_str());
  }
  if (options.seconds <= 0.0) return;
  const char* const figures = "   min us    median GFLOP/s %peak";
  const bool several = options.threads > 1;
  std::printf("%-*s %8s%s", name_width_, "", "", options.check ? "      " : "");
  std::printf("  %-*s%s\n", several ? 42 : 40, "fastconv", options.onednn ? " oneDNN" : "");
  std::printf("%-*s %8s%s%s%s", name_width_, "problem", "GFLOP", options.check ? " check" : "",
              figures, several ? " speed-up" : " %bound");
  std::printf("%s%s\n", options.onednn ? figures : "", options.onednn ? "  ratio" : "");
  std::fflush(stdout);
}

void Table::add(const Row& row) {
  const std::string& title = title_of(row);
  if (static_cast<int>(title.size()) > name_width_) {
    std::printf("%s\n%-*s", title.c_str(), name_width_, "");
  } else {
    std::printf("%-*s", name_width_, title.c_str());
  }
  std::printf(" %8.4g", row.gflop);
  if (options_.check) std::printf(" %-6s", row.check.c_str());
  const auto figures = [&](const Timing& timing) {
    const double gflops = row.gflop / timing.min;
    std::printf(" %8.1f %9.1f %7.1f %5.0f", timing.min * 1e6, timing.median * 1e6, gflops,
                100.0 * gflops / row.peak_gflops);
  };
  if (row.timed()) figures(row.own);
  if (row.has_one()) std::printf(" %8.2f", row.speed_up());
  if (row.has_bound()) std::printf(" %6.0f", 100.0 * row.bound() / row.own.min);
  if (row.has_peer()) {
    figures(row.peer);
    std::printf(" %6.2f  %s", row.ratio(), family_of(row.implementation).c_str());
  }
  std::printf("\n");
  if (!row.message.empty()) std::fputs(indented(row.message).c_str(), stdout);
  if (options_.verbose && !row.explain.empty()) {
    std::printf("    %s\n%s", row.problem.c_str(), indented(row.explain).c_str());
    std::printf("    creation: %.1f us", row.own_creation * 1e6);
    if (row.has_peer()) {
      std::printf("; oneDNN %.1f us, %s", row.peer_creation * 1e6, row.implementation.c_str());
    }
    std::printf("\n");
  }
  std::fflush(stdout);
  if (row.timed()) timed_.push_back(row);
}

void Table::finish() {
  if (timed_.empty()) return;
  const auto share = [](const Row& row) { return 100.0 * row.own_gflops() / row.peak_gflops; };
  const auto gflops = [](const Row& row) { return row.own_gflops(); };
  const Row& slowest = smallest(timed_, share);
  std::printf(
      "\ngeometric mean of %zu: fastconv %.1f GFLOP/s, %.0f %% of peak; worst %.0f %%: %s\n",
      timed_.size(), geometric_mean(timed_, gflops), geometric_mean(timed_, share), share(slowest),
      title_of(slowest).c_str());
  if (std::all_of(timed_.begin(), timed_.end(), [](const Row& row) { return row.has_bound(); })) {
    const auto bound = [](const Row& row) { return 100.0 * row.bound() / row.own.min; };
    const Row& farthest = smallest(timed_, bound);
    std::printf("                  %.0f %% of the bound; worst %.0f %%: %s\n",
                geometric_mean(timed_, bound), bound(farthest), title_of(farthest).c_str());
  }
  const auto beside_peer = [](const Row& row) { return row.has_peer(); };
  std::vector<Row> pairs;
  std::copy_if(timed_.begin(), timed_.end(), std::back_inserter(pairs), beside_peer);
  if (!pairs.empty()) {
    const auto ratio = [](const Row& row) { return row.ratio(); };
    const auto peer = [](const Row& row) { return row.peer_gflops(); };
    const Row& worst = smallest(pairs, ratio);
    std::printf("                  oneDNN %.1f GFLOP/s; ratio %.2f; worst %.2f: %s\n",
                geometric_mean(pairs, peer), geometric_mean(pairs, ratio), worst.ratio(),
                title_of(worst).c_str());
  }
  if (options_.threads > 1) finish_threads();
  const Row& lowest = smallest(timed_, [](const Row& row) { return row.peak_gflops; });
  const Row& highest = smallest(timed_, [](const Row& row) { return -row.peak_gflops; });
  std::printf("FMA peak %.1f to %.1f GFLOP/s (%s, %d thread%s), %s, fastconv %s",
              lowest.peak_gflops, highest.peak_gflops, isa_name(options_), options_.threads,
              options_.threads == 1 ? "" : "s", cpu_name().c_str(), version());
  if (!pairs.empty()) std::printf(", oneDNN %s", testing::onednn_version().c_str());
  std::printf("\n");
}

// Speed-up over one thread beside what the machine gives: the same of the FMA peak.
void Table::finish_threads() const {
  std::vector<Row> large, small;
  for (const Row& row : timed_) (row.one.min >= kLarge ? large : small).push_back(row);
  const auto speed_up = [](const Row& row) { return row.speed_up(); };
  const auto scaling = [](const Row& row) { return row.peak_gflops / row.one_peak_gflops; };
  const double machine = geometric_mean(timed_, scaling);
  std::printf("%d threads: FMA peak x %.2f", options_.threads, machine);
  if (!large.empty()) {
    const double mean = geometric_mean(large, speed_up);
    const Row& worst = smallest(large, speed_up);
    std::printf("; %zu layers of 0.5 ms or more: x %.2f, %.2f of that; worst x %.2f: %s",
                large.size(), mean, mean / machine, worst.speed_up(), title_of(worst).c_str());
  }
  if (!small.empty()) {
    std::printf("%s%zu smaller: x %.2f", large.empty() ? "; " : "\n           ", small.size(),
                geometric_mean(small, speed_up));
  }
  std::printf("\n");
}

std::string write_csv(const Options& options, const std::vector<Row>& rows) {
  std::ofstream file(options.csv);
  file << "problem,name,layout,isa,algorithm,threads,post_ops,gflop,min_s,median_s,gflops,peak_"
          "gflops,"
          "creation_s,check,onednn_implementation,onednn_min_s,onednn_median_s,onednn_gflops,"
          "onednn_creation_s,ratio,one_thread_min_s,one_thread_peak_gflops,bytes,copy_"
          "s,cpu,fastconv,onednn\n";
  file.precision(9);
  for (const Row& row : rows) {
    file << quoted(row.problem) << ',' << quoted(row.name) << ',' << name(options.layout) << ','
         << isa_name(options) << ',' << fastconv::name(options.algorithm) << ',' << options.threads
         << ',' << testing::to_string(options.post_ops) << ',' << row.gflop << ',';
    if (row.timed()) {
      file << row.own.min << ',' << row.own.median << ',' << row.own_gflops() << ','
           << row.peak_gflops << ',' << row.own_creation << ',';
    } else {
      file << ",,,,,";
    }
    file << row.check << ',';
    if (row.has_peer()) {
      file << quoted(row.implementation) << ',' << row.peer.min << ',' << row.peer.median << ','
           << row.peer_gflops() << ',' << row.peer_creation << ',' << row.ratio() << ',';
    } else {
      file << ",,,,,,";
    }
    if (row.has_one()) file << row.one.min << ',' << row.one_peak_gflops;
    file << (row.has_one() ? "," : ",,");
    if (row.has_bound()) file << row.bytes << ',' << row.copy.min;
    file << (row.has_bound() ? "," : ",,");
    file << quoted(cpu_name()) << ',' << version() << ',' << testing::onednn_version() << '\n';
  }
  file.flush();
  return file ? "" : options.csv + ": cannot be written";
}

}  // namespace fastconv::perf
