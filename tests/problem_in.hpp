// SPDX-License-Identifier: Apache-2.0
// Problems as planning sees them, from descriptors, and cores that this machine need not have.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "../lib/geometry.hpp"
#include "../lib/tiles.hpp"
#include "check.hpp"

namespace fastconv::testing {

// Of a core that does two FMAs of a long vector a cycle, over channels and over pixels, or one.
inline constexpr Tiles kLong{{16, 32, 14, 14, 6, 6, 9, true, true},
                             {16, 32, 14, 14, 6, 6, 0, false, true}};
inline constexpr Tiles kHalves{{16, 32, 14, 14, 6, 6, 9, true, true, 0.5},
                               {16, 32, 14, 14, 6, 6, 0, false, true, 0.5}};
// The former's.
inline constexpr CacheSizes kLarge{48 << 10, 2 << 20};

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
