// SPDX-License-Identifier: Apache-2.0
// Groups whose outputs fill vectors: tiles and blocks of them, whichever the level's vectors are.
#include <doctest/doctest.h>

#include <cstdint>

#include "check.hpp"
#include "sweep.hpp"

namespace fastconv::testing {

TEST_SUITE("tiles") {
  TEST_CASE("depthwise groups that fill vectors: channels in and out x stride x padding") {
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const std::int64_t out : {8, 16, 24, 32, 40, 48}) {
      for (const std::int64_t stride : {1, 2}) {
        for (const Padding& padding :
             {Padding(1), Padding(0), Padding(2, 1, 0, 2), Padding(0, 2, 2, 1)}) {
          const std::int64_t in = ++seed % 3 == 0 ? 5 : seed % 3 == 1 ? out : out + 3;
          Conv2d conv = conv_of(3 * in, 3 * out, 3, padding, 3);
          conv.stride = stride;
          if (seed % 4 == 0) conv.padding_mode = PaddingMode::reflect;
          PostOps post_ops;
          post_ops.sum = seed % 2 == 0;
          const std::int64_t height = seed % 5 < 2 ? 31 : 3 + static_cast<std::int64_t>(seed % 5);
          const std::int64_t width = stride * (7 + static_cast<std::int64_t>(seed * 5 % 16)) + 2;
          sweep.run(problem_of(conv, height < 8 ? 2 : 1, height, width), Layout::nhwc,
                    Fill::integers, seed, seed % 3 > 0, seed % 4 < 2 ? Guard::after : Guard::before,
                    post_ops);
        }
      }
    }
    // Of more pixels than a block has, and fewer than a tile.
    for (const std::int64_t width : {57, 59, 125, 1, 6, 2806}) {
      for (const std::int64_t groups : {1, 3}) {
        const std::int64_t height = width < 1000 ? 15 : 3;
        sweep.run(problem_of(conv_of(48, 48, 3, 1, groups), 1, height, width), Layout::nhwc,
                  Fill::integers, ++seed, true, Guard::after, {});
      }
    }
    // By 2, in blocks of parts of rows; pixels in four sets of L1.
    for (const std::int64_t groups : {3, 16}) {
      Conv2d conv = conv_of(16 * groups, 16 * groups, 3, Padding(0, 2, 1, 0), groups);
      conv.stride = 2;
      sweep.run(problem_of(conv, 1, 9, 131), Layout::nhwc, Fill::integers, ++seed, true,
                Guard::after, {});
    }
  }

  TEST_CASE("depthwise: rows of more pixels than a block has") {
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const std::int64_t channels : {3, 40}) {
      for (const std::int64_t stride : {1, 2}) {
        Conv2d conv = conv_of(channels, channels, 3, 1, channels);
        conv.stride = stride;
        sweep.run(problem_of(conv, 1, 5, 2100 * stride), Layout::nhwc, Fill::integers, ++seed, true,
                  Guard::after, {});
      }
    }
  }
}

}  // namespace fastconv::testing
