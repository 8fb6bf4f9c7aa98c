// SPDX-License-Identifier: Apache-2.0
#include "report.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fastconv/version.hpp>
#include <fstream>
#include <sstream>

#include "onednn.hpp"
#include "runs.hpp"

namespace fastconv::perf {
namespace {

constexpr int kWidestName = 28;

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
  std::printf("fastconv %s: %s, isa %s, algorithm %s, 1 thread\n", version(), name(options.layout),
              isa_name(options), fastconv::name(options.algorithm));
  if (options.seconds <= 0.0) return;
  const char* const figures = "   min us   median us  GFLOP/s    %";
  std::printf("%-*s %8s%s", name_width_, "", "", options.check ? "      " : "");
  std::printf("  %-35s%s\n", "fastconv", options.onednn ? " oneDNN" : "");
  std::printf("%-*s %8s%s%s", name_width_, "problem", "GFLOP", options.check ? " check" : "",
              figures);
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
    std::printf(" %9.1f %10.1f %8.1f %4.0f", timing.min * 1e6, timing.median * 1e6, gflops,
                100.0 * gflops / row.peak_gflops);
  };
  if (row.timed()) figures(row.own);
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
  const Row& lowest = smallest(timed_, [](const Row& row) { return row.peak_gflops; });
  const Row& highest = smallest(timed_, [](const Row& row) { return -row.peak_gflops; });
  std::printf("FMA peak %.1f to %.1f GFLOP/s (%s, one core), %s, fastconv %s", lowest.peak_gflops,
              highest.peak_gflops, isa_name(options_), cpu_name().c_str(), version());
  if (!pairs.empty()) std::printf(", oneDNN %s", testing::onednn_version().c_str());
  std::printf("\n");
}

std::string write_csv(const Options& options, const std::vector<Row>& rows) {
  std::ofstream file(options.csv);
  file << "problem,name,layout,isa,algorithm,threads,gflop,min_s,median_s,gflops,peak_gflops,"
          "creation_s,check,onednn_implementation,onednn_min_s,onednn_median_s,onednn_gflops,"
          "onednn_creation_s,ratio,cpu,fastconv,onednn\n";
  file.precision(9);
  for (const Row& row : rows) {
    file << quoted(row.problem) << ',' << quoted(row.name) << ',' << name(options.layout) << ','
         << isa_name(options) << ',' << fastconv::name(options.algorithm) << ',' << options.threads
         << ',' << row.gflop << ',';
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
    file << quoted(cpu_name()) << ',' << version() << ',' << testing::onednn_version() << '\n';
  }
  file.flush();
  return file ? "" : options.csv + ": cannot be written";
}

}  // namespace fastconv::perf
