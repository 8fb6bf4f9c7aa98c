// SPDX-License-Identifier: Apache-2.0
// Problems as planning sees them, from descriptors, and cores that this machine need not have.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "../lib/geometry.hpp"
#include "../lib/tiles.hpp"
#include "check.hpp"

namespace fastconv::testing {

// Tiles of the levels, over channels and over pixels (test_blocking.cpp holds them against these),
// of cores that do two FMAs of a vector a cycle: short and long ones of AMD's, which splits these,
// and of Intel's.
inline constexpr Tiles kFours{{4, 8, 6, 6, 3, 3, 8}, {4, 12, 4, 4, 0, 0}};
inline constexpr Tiles kNeon{{4, 8, 8, 8, 4, 4, 9, false, true},
                             {4, 8, 8, 8, 4, 4, 0, false, true}};
inline constexpr Tiles kShort{{8, 16, 6, 10, 4, 3, 8, false, true, 1.0, kFma, true},
                              {8, 24, 4, 4, 0, 0, 0, false, true, 1.0, kFma, true}};
inline constexpr Tiles kShortIntel{{8, 16, 6, 10, 4, 3, 8, false, true, 1.0, kFma / 0.93},
                                   {8, 24, 4, 4, 0, 0, 0, false, true, 1.0, kFma / 0.93}};
inline constexpr Tiles kLong{{16, 32, 14, 14, 6, 6, 9, true, true},
                             {16, 32, 14, 14, 6, 6, 0, false, true}};
inline constexpr Tiles kHalves{{16, 32, 14, 14, 6, 6, 9, true, true, 0.5, kFma, true},
                               {16, 32, 14, 14, 6, 6, 0, false, true, 0.5, kFma, true}};
inline constexpr Tiles kTiles[] = {kFours, kNeon, kShort, kLong, kHalves, kShortIntel};

inline constexpr CacheSizes kLarge{48 << 10, 2 << 20};  // a Xeon's
inline constexpr CacheSizes kCaches[] = {
    {16 << 10, 128 << 10},  {32 << 10, 256 << 10}, {32 << 10, 512 << 10}, {32 << 10, 1 << 20},
    {48 << 10, 1280 << 10}, {48 << 10, 2 << 20},   {64 << 10, 2 << 20},   {128 << 10, 16 << 20},
};

inline constexpr const char* kProblems[] = {
    "mb1ic1ih1oc1kh1",
    "mb1ic3ih224oc64kh7sh2ph3",
    "mb1ic64ih56oc64kh3ph1",
    "mb1ic256ih56oc64kh1",
    "mb1ic512ih7oc2048kh1",
    "mb1ic2048ih7oc512kh1",
    "mb1ic512ih7oc512kh3ph1",
    "mb64ic512ih14oc512kh3sh2ph1",
    "mb1g32ic256ih28oc256kh3ph1",
    "mb1g64ic64ih112oc64kh3ph1",
    "mb1ic16ih2000iw3oc24kh5kw3ph2pw1",
    "mb1ic8ih3iw100000oc8kh3kw3ph1pw1",
    "mb1ic1ih1000oc3kh31ph15",
    "mb1ic4096ih64oc4096kh3ph12dh11",
    "mb1ic100000ih3oc70kh3ph1",
    "mb16ic1062ih2oc2kh7ph3",
    "mb4ic185ih3oc63kh9ph4",
    "mb1ic256ih14oc32kh13ph6",
    "mb1ic64ih16oc288kh9ph4",
    "mb8ic960ih19oc24kh3sh2ph1",
    "mb4ic576ih40iw20oc32kh4kw4sh3sw3ph0pw1",
    "mb1ic512ih3oc512kh3ph1",
    "mb2ic96ih8oc160kh3sh2ph1",
};

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

template <class Function>
void for_each_blocking(const std::vector<CacheSizes>& all_caches, Function function) {
  for (const char* const descriptor : kProblems) {
    CAPTURE(std::string(descriptor));
    const Problem parsed_problem = parsed(descriptor);
    for (const Layout layout : {Layout::nchw, Layout::nhwc, Layout::every_second, Layout::crop,
                                Layout::flipped, Layout::nhwc_flipped}) {
      CAPTURE(std::string(name(layout)));
      const fastconv::Problem p = problem_in(parsed_problem, layout);
      for (const Tiles& tiles : kTiles) {
        CAPTURE(tiles.channels.nr);
        for (const CacheSizes& caches : all_caches) {
          CAPTURE(caches.l1);
          CAPTURE(caches.l2);
          function(p, tiles, caches);
        }
      }
    }
  }
}

}  // namespace fastconv::testing
