// SPDX-License-Identifier: Apache-2.0
// Problems larger than a cache block in some direction, so that blocks meet: sums carried from one
// k-block to the next, the last block shorter, an image row cut in two.
#include <doctest/doctest.h>

#include "sweep.hpp"

namespace fastconv::testing {
namespace {

Problem problem(std::int64_t in, std::int64_t out, std::int64_t groups, Pair kernel, Pair stride,
                const Padding& padding, Pair image, std::int64_t mb = 1) {
  Conv2d conv = conv_of(in, out, kernel, padding, groups);
  conv.stride = stride;
  return problem_of(conv, mb, image.h, image.w);
}

}  // namespace

TEST_SUITE("blocks") {
  TEST_CASE("more depth, channels and pixels than a block has") {
    Sweep sweep(false);
    const Problem problems[] = {
        problem(700, 530, 1, 1, 1, 0, {9, 17}),  // depth and output channels
        problem(90, 40, 1, 3, 1, 1, {31, 33}),   // depth and pixels
        problem(64, 24, 1, 3, 1, 1, {3, 700}),   // one row of the image is too wide
        problem(64, 24, 1, {3, 1}, {2, 1}, 0, {90, 45}),
        problem(128, 16, 1, {1, 3}, {1, 2}, {0, 1}, {2, 900}),
        problem(512, 20, 1, 3, 2, 1, {9, 11}),  // channels a power of two apart
        problem(1030, 7, 1, {1, 2}, 1, 0, {5, 40}), problem(3, 600, 1, 3, 1, 1, {5, 6}),
        problem(2, 3, 1, 3, 1, 1, {150, 160}, 2),
        problem(300, 280, 2, 3, 1, 1, {7, 9}),  // groups of many channels
        problem(16, 16, 16, 5, 1, 2, {70, 300}),
        problem(600, 2, 1, 5, 1, 0, {12, 13}, 2),  // few output channels of many
        problem(620, 6, 2, 3, 1, 1, {9, 20}),
        problem(1500, 1500, 500, {1, 3}, 1, 0, {3, 400}),  // all groups of a row are too many
        // Of groups that take turns, lines of which the first reads all.
        problem(768, 768, 32, 1, 1, 0, {9, 33}),
        problem(480, 480, 20, {3, 2}, {2, 3}, {1, 2, 0, 1}, {33, 31}),
        problem(320, 320, 10, 3, 1, 1, {2, 420}), problem(256, 256, 32, 3, 1, 1, {31, 33}),
        problem(128, 128, 8, 3, 1, {0, 1, 2, 0}, {9, 190}),
        problem(97, 97, 97, 3, {2, 1}, {0, 1, 2, 0}, {91, 180}, 2),
        problem(15000, 8, 1, 3, 1, 1, {2, 2}),  // whose weights are written past the caches
    };
    std::uint64_t seed = 0;
    for (const Problem& p : problems) {
      const Guard guard = ++seed % 2 == 0 ? Guard::after : Guard::before;
      sweep.run(p, Layout::nchw, Fill::integers, seed, true, guard);
      sweep.run(p, Layout::nhwc, Fill::integers, seed, true, guard);
    }
    sweep.run(problems[1], Layout::nhwc, Fill::floats, 1);
    sweep.run(problems[5], Layout::nchw, Fill::floats, 2);
    sweep.run(problems[2], Layout::nhwc_crop, Fill::integers, 3);
    sweep.run(problems[3], Layout::nhwc_slice, Fill::integers, 4);
    sweep.run(problems[4], Layout::padded_rows, Fill::integers, 5);
    sweep.run(problems[6], Layout::flipped, Fill::integers, 6);
  }

  TEST_CASE("few channels: rows that a block leaves to the one below, parts of rows") {
    Sweep sweep(false);
    PostOps adds;
    adds.sum = true;
    const Problem problems[] = {
        problem(16, 1, 1, 3, 1, 1, {23, 200}),   problem(3, 3, 1, {5, 3}, 1, {2, 0}, {61, 140}, 2),
        problem(70, 2, 1, 3, 1, 1, {43, 150}),   problem(12, 4, 2, {3, 2}, 1, 1, {50, 75}),
        problem(40, 2, 1, 1, 1, 0, {7, 130}, 2),  // nothing is left or copied twice
        problem(24, 3, 1, 2, 3, 0, {31, 220}),   problem(16, 2, 1, 3, 2, 1, {47, 150}),
    };
    std::uint64_t seed = 0;
    for (const Problem& p : problems) {
      const Guard guard = ++seed % 2 == 0 ? Guard::after : Guard::before;
      sweep.run(p, Layout::nhwc, Fill::floats, seed, true, guard, adds);
      sweep.run(p, Layout::nchw, Fill::integers, seed, true, guard);
      sweep.run(p, Layout::nhwc_slice, Fill::integers, seed);
    }
    Conv2d other = conv_of(8, 2, 3, 2);
    other.dilation = 2;
    other.padding_mode = PaddingMode::circular;
    sweep.run(problem_of(other, 2, 40, 170), Layout::nhwc, Fill::integers, ++seed);
    // Three channels of rows shorter than a vector.
    for (const std::int64_t width : {1, 5, 8, 10, 15, 16, 17}) {
      sweep.run(problem(3, 3, 1, 3, 1, 1, {4, width}, 2), Layout::nhwc, Fill::floats, ++seed, true,
                Guard::after);
    }
  }

  TEST_CASE("few channels of one tap that several tiles read: rows and parts of rows") {
    Sweep sweep(false);
    PostOps adds;
    adds.sum = true;
    const Problem problems[] = {
        problem(6, 6, 1, 1, 1, 0, {260, 261}),    // images larger than a quarter of any usual L2
        problem(24, 13, 1, 1, 1, 0, {130, 133}),  // a block is some rows
        problem(120, 9, 1, 1, 1, 0, {40, 95}),    // part of a row
        problem(24, 10, 1, 1, {2, 1}, 0, {210, 90}), problem(36, 24, 3, 1, 1, 0, {150, 144}, 2),
    };
    std::uint64_t seed = 0;
    for (const Problem& p : problems) {
      const Guard guard = ++seed % 2 == 0 ? Guard::after : Guard::before;
      sweep.run(p, Layout::nchw, Fill::integers, seed, true, guard);
      sweep.run(p, Layout::nchw, Fill::integers, seed, false, Guard::after, adds);
      sweep.run(p, Layout::crop, Fill::integers, seed);
    }
  }

  TEST_CASE("depthwise, one or two columns of several images in a block") {
    Sweep sweep;
    PostOps adds;
    adds.sum = true;
    std::uint64_t seed = 0;
    // 112 pixels are a block's: 28 images of 2x2.
    for (const std::int64_t mb : {1, 2, 27, 28, 29, 57}) {
      const Problem problems[] = {
          problem(35, 35, 35, 3, 2, 1, 4, mb),
          problem(34, 34, 34, {5, 3}, 1, {2, 1}, {3, 1}, mb),
          problem(12, 24, 12, 3, 1, 1, 2, mb),  // with a multiplier
          problem(24, 24, 6, {3, 2}, 1, {1, 0}, {2, 3}, mb),
      };
      for (const Problem& p : problems) {
        const Guard guard = ++seed % 2 == 0 ? Guard::after : Guard::before;
        sweep.run(p, Layout::nhwc, Fill::integers, seed, true, guard, adds);
        sweep.run(p, Layout::nhwc_slice, Fill::integers, seed, true, guard);
        sweep.run(p, Layout::nhwc_crop, Fill::integers, seed);
        sweep.run(p, Layout::nchw, Fill::integers, seed, true, guard, adds);
      }
      Conv2d other = conv_of(20, 20, 3, 1, 20);
      other.padding_mode = PaddingMode::circular;
      sweep.run(problem_of(other, mb, 2, 2), Layout::nhwc, Fill::integers, ++seed);
    }
  }

  // Of one tap a row's pixels are one stretch, unless some of them are padding.
  TEST_CASE("depthwise of one tap: channels x padding mode x stride") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const std::int64_t channels : {1, 3, 8, 17, 49, 64, 130, 255, 256}) {
      for (const PaddingMode mode :
           {PaddingMode::zeros, PaddingMode::reflect, PaddingMode::circular}) {
        for (const std::int64_t padding : {0, 2}) {
          Conv2d conv =
              conv_of(channels, channels, 1, {0, padding / 2, padding, padding / 2}, channels);
          conv.padding_mode = mode;
          conv.stride = 1 + static_cast<std::int64_t>(++seed % 4 == 0);
          PostOps post_ops;
          post_ops.sum = seed % 2 == 0;
          sweep.run(problem_of(conv, 2, 3, 4 + static_cast<std::int64_t>(seed % 60)), Layout::nhwc,
                    Fill::integers, seed, true, seed % 4 < 2 ? Guard::after : Guard::before,
                    post_ops);
        }
      }
    }
  }
}

}  // namespace fastconv::testing
