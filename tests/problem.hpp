// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fastconv/descriptor.hpp>
#include <string>
#include <string_view>
#include <vector>

// Problems as tests, perf runs and error reports name them: the descriptor grammar of oneDNN's
// benchdnn (tests/benchdnn/doc/driver_conv.md and knobs_desc.md there), so that its shape files run
// here unchanged. One parser, used everywhere.

namespace fastconv::testing {

// One convolution with everything inferred that a descriptor leaves out.
struct Problem {
  std::int64_t mb = 2;  // images; 2 is the grammar's default
  Conv2d conv;          // dilation counts from 1 here and from 0 in the grammar
  std::int64_t ih = 0;
  std::int64_t iw = 0;
  std::int64_t oh = 0;
  std::int64_t ow = 0;
  std::string name;  // without quotes

  std::int64_t x_elements() const noexcept { return mb * conv.in_channels * ih * iw; }
  std::int64_t y_elements() const noexcept { return mb * conv.out_channels * oh * ow; }
  std::int64_t weight_elements() const noexcept { return conv.out_channels * taps_per_output(); }
  // Products summed for one output element: C/g * R * S.
  std::int64_t taps_per_output() const noexcept {
    return conv.in_channels / conv.groups * conv.kernel_size.h * conv.kernel_size.w;
  }
  // 2 * N * K * OH * OW * (C/g) * R * S, taps in the padding counted.
  double flop() const noexcept {
    return 2.0 * static_cast<double>(y_elements()) * static_cast<double>(taps_per_output());
  }
};

struct ParseError {
  int column = 0;        // where in the text, from 1
  std::string reason;    // one clause without a full stop
  bool three_d = false;  // well-formed, but deeper than one plane
};

// Reads one descriptor, such as mb1_ic64ih56oc64oh56kh3ph1n"name": entries of a key and a number in
// any order, each optionally followed by one underscore, the name last. As benchdnn does:
//   - g is 1, mb 2, strides 1 and dilations 0 unless given; mb0 is legal;
//   - an output that is not given follows from the padding (0 unless given), a padding that is not
//     given follows from the output, and the bottom and right padding always follow from the
//     output;
//   - a width of which nothing is given copies the height, and depth 1 copies likewise to both;
//   - a problem with widths alone has one row.
// Everything that the library must be able to take holds afterwards: groups divide the channels and
// output_size(conv, ih, iw) is oh x ow; element counts and FLOP fit 64 bits.
// False with `error` filled and `problem` untouched otherwise.
bool parse_problem(std::string_view text, Problem& problem, ParseError& error);

// The shortest descriptor that parse_problem reads back as the same problem. Padding at the bottom
// and right that no output touches, and the padding mode, have no place in the grammar.
std::string to_string(const Problem& problem);

struct Batch {
  std::vector<Problem> problems;
  std::vector<std::string> notes;  // what was skipped, with file and line
};

// Reads a benchdnn batch file and appends to `batch`: descriptors separated by blanks, comments
// from # to the end of the line, --batch=FILE (relative to this file, else to the working
// directory). Other options and 3-D descriptors are skipped with a note. False with file, line,
// column and reason in `error` if something is malformed or cannot be read.
bool read_batch(const std::string& path, Batch& batch, std::string& error);

}  // namespace fastconv::testing
