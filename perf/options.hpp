// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fastconv/layer.hpp>
#include <string>
#include <vector>

#include "check.hpp"
#include "post_ops.hpp"
#include "problem.hpp"
#include "tensors.hpp"

namespace fastconv::perf {

// The command line of fastconv_perf, read.
struct Options {
  std::vector<testing::Problem> problems;  // mb and padding mode already as the options say
  std::vector<std::string> notes;          // what batch files had that was skipped
  testing::Layout layout = testing::Layout::nchw;
  Isa isa = Isa::automatic;
  Algorithm algorithm = Algorithm::automatic;
  testing::PostOps post_ops;
  bool strict = false;
  bool flush_denormals = false;
  int threads = 1;
  bool onednn = false;    // beside it
  bool levels = false;    // all of them side by side instead
  bool creation = false;  // of layers is timed instead
  bool features = false;  // what a plain layer lacks is timed beside it instead
  bool accuracy = false;  // error against double instead
  bool regret = false;    // every algorithm beside the library's choice instead
  bool overhead = false;  // of calls on tiny images instead
  bool check = false;
  testing::Fill fill = testing::Fill::floats;
  std::uint64_t seed = 1;
  bool bias = true;
  double seconds = 0.5;  // for each problem; 0 times nothing
  std::string csv;
  bool verbose = false;
  bool quiet = false;
  bool help = false;
};

// The reason and nothing else if the command line cannot be obeyed.
std::string parse_options(int count, const char* const* arguments, Options& options);

// What they say of layers.
LayerOptions layer_options(const Options& options) noexcept;

extern const char* const kHelp;

}  // namespace fastconv::perf
