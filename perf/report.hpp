// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "measure.hpp"
#include "options.hpp"

namespace fastconv::perf {

// What became of one problem.
struct Row {
  std::string problem;  // its descriptor
  std::string name;
  double gflop = 0.0;
  std::string check;    // "ok", "FAILED", or nothing if it was not asked for
  std::string message;  // why it was refused, failed or was not timed: a text of any length
  std::string explain;

  Timing own;  // all zero if it was not timed
  double own_creation = 0.0;
  double peak_gflops = 0.0;  // of all threads

  double bytes = 0.0;  // of x, weights and y
  Timing copy;         // of as many, on one thread

  Timing one;  // one thread beside several
  double one_peak_gflops = 0.0;

  Timing peer;
  double peer_creation = 0.0;
  std::string implementation;

  bool timed() const noexcept { return own.repetitions > 0; }
  bool has_peer() const noexcept { return peer.repetitions > 0; }
  double own_gflops() const noexcept { return gflop / own.min; }
  double peer_gflops() const noexcept { return gflop / peer.min; }
  bool has_bound() const noexcept { return copy.repetitions > 0; }
  // No convolution takes less: its FLOP at the FMA peak, or a copy of its bytes.
  double bound() const noexcept { return std::max(gflop / peak_gflops, copy.min); }
  bool has_one() const noexcept { return one.repetitions > 0; }
  double speed_up() const noexcept { return one.min / own.min; }
  double ratio() const noexcept { return peer.min / own.min; }
};

// The table on stdout, a line as soon as its problem is done: at most 120 columns, unless the
// peer's name for its implementation is a long one.
class Table {
 public:
  explicit Table(const Options& options);

  void add(const Row& row);
  // Geometric means, the worst, and on what all this was measured.
  void finish();

 private:
  void finish_threads() const;

  const Options& options_;
  int name_width_;
  std::vector<Row> timed_;
};

// One line for each problem, with a line of titles. The reason if the file cannot be written.
std::string write_csv(const Options& options, const std::vector<Row>& rows);

}  // namespace fastconv::perf
