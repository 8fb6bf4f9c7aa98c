// SPDX-License-Identifier: Apache-2.0
// Problems as planning sees them, from descriptors.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "../lib/geometry.hpp"
#include "check.hpp"

namespace fastconv::testing {

inline Problem parsed(const std::string& descriptor) {
  Problem problem;
  ParseError error;
  REQUIRE_MESSAGE(parse_problem(descriptor, problem, error), error.reason);
  return problem;
}

inline fastconv::Problem problem_in(const Problem& p, Layout layout) {
  fastconv::Problem result;
  const Dims<4> x{p.mb, p.conv.in_channels, p.ih, p.iw};
  const Dims<4> y{p.mb, p.conv.out_channels, p.oh, p.ow};
  const Status status = make_problem(p.conv, {nullptr, x, strides_of(layout, x), nullptr, -1},
                                     {nullptr, y, strides_of(layout, y), nullptr, -1}, result);
  REQUIRE_MESSAGE(status.ok(), text(status));
  return result;
}

}  // namespace fastconv::testing
