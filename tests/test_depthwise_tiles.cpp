// SPDX-License-Identifier: Apache-2.0
// Channels and pixels about the sizes of depthwise tiles, and what their kernels tell apart:
// filters, dilation, multipliers, transposed channels.
#include <doctest/doctest.h>

#include <algorithm>

#include "sweep.hpp"

namespace fastconv::testing {

TEST_SUITE("tiles") {
  TEST_CASE("depthwise kernel x dilation x width") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const std::int64_t kernel : {2, 3, 4, 5, 6, 7}) {
      for (const std::int64_t dilation : {1, 2, 3}) {
        for (const std::int64_t width : {4, 5, 6, 7, 8, 9, 10, 13, 14, 17, 21, 22, 26, 45}) {
          Conv2d conv = conv_of(17, 17, {2, kernel}, {0, dilation}, 17);
          conv.dilation = {1, dilation};
          conv.stride = {1, 1 + static_cast<std::int64_t>(seed % 4 == 0)};
          const std::int64_t reach = (kernel - 1) * dilation + 1 - 2 * dilation;
          sweep.run_both_ways(problem_of(conv, 1, 3, reach - 1 + width), ++seed);
        }
      }
    }
  }

  // 512 channels: pixels of x and y agree in the address bits below a page.
  TEST_CASE("depthwise height x channels x stride") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const std::int64_t height : {1, 2, 3, 4, 13, 14, 15, 17, 28, 31}) {
      for (const std::int64_t channels : {17, 512}) {
        for (const std::int64_t stride : {1, 2}) {
          Conv2d conv = conv_of(channels, channels, 3, 1, channels);
          conv.stride = stride;
          sweep.run_both_ways(problem_of(conv, 1, height, 11), ++seed);
          // Four columns and one that is left.
          sweep.run_both_ways(problem_of(conv, 1, height, 5 * stride), ++seed, height % 2 == 0);
        }
      }
      const Conv2d tail = conv_of(509, 509, 3, 1, 509);
      sweep.run(problem_of(tail, 1, height, 8), Layout::nhwc_slice, Fill::integers, ++seed, true,
                Guard::before);
    }
  }

  TEST_CASE("depthwise channels x width x stride") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const std::int64_t channels : tile_sizes()) {
      for (const std::int64_t width : {3, 7, 8, 16, 17, 35}) {
        Conv2d conv = conv_of(channels, channels, 3, 1, channels);
        conv.stride = 1 + static_cast<std::int64_t>(seed % 2);
        sweep.run_both_ways(problem_of(conv, 1, 5, width), ++seed);
      }
    }
  }

  // Taps above, below and beside the image, some of them all of an output's.
  TEST_CASE("depthwise kernel x height x padding") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const std::int64_t kernel : {3, 5, 7, 9, 15, 4}) {
      for (const std::int64_t height : {1, 2, 3, 7, 15}) {
        for (const std::int64_t padding : {kernel / 2, kernel - 1, kernel + 2}) {
          Conv2d conv = conv_of(41, 41, kernel, {padding, padding - 1, kernel / 2, 1}, 41);
          if (++seed % 3 == 0) conv.stride = 2;
          if (seed % 4 == 0) conv.dilation = {2, 1};
          if (seed % 5 < 2) conv.padding = {1, kernel / 2, padding, padding - 1};
          const std::int64_t reach = (kernel - 1) * conv.dilation.h + 1;
          const std::int64_t least = reach - conv.padding.top - conv.padding.bottom;
          sweep.run_both_ways(problem_of(conv, 1, std::max(height, least), 15), seed);
        }
      }
    }
    // Channels of which all rows of a vector are computed at once.
    sweep.run_both_ways(problem_of(conv_of(140, 140, 5, 2, 140), 1, 15, 11), ++seed);
    sweep.run_both_ways(problem_of(conv_of(140, 140, 7, 3, 140), 1, 7, 9), ++seed);
  }

  // Blocks one below the other, beside each other and of other images share pointers to pixels.
  TEST_CASE("depthwise blocks: padding mode x kernel x stride x dilation") {
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const PaddingMode mode :
         {PaddingMode::zeros, PaddingMode::reflect, PaddingMode::circular}) {
      for (const std::int64_t kernel : {3, 5, 9}) {
        for (const std::int64_t stride : {1, 2}) {
          for (const std::int64_t dilation : {1, 2}) {
            const std::int64_t group = ++seed % 5 < 2 ? 2 : 1;
            Conv2d conv = conv_of(20, 20, kernel, {kernel, kernel / 2, kernel / 2, 1}, 20 / group);
            conv.padding_mode = mode;
            conv.stride = stride;
            conv.dilation = dilation;
            sweep.run_both_ways(problem_of(conv, 2, 40 * stride, 65 * stride), seed);
          }
        }
      }
    }
  }

  TEST_CASE("depthwise blocks of groups: channels of a group x padding mode x size") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const std::int64_t group : {2, 3, 4, 5, 6, 7, 8}) {
      for (const PaddingMode mode : {PaddingMode::zeros, PaddingMode::reflect}) {
        for (const std::int64_t height : {2, 15, 31}) {
          Conv2d conv = conv_of(5 * group, 5 * group, 3, {1, 1, 1, 1}, 5);
          conv.padding_mode = mode;
          PostOps post_ops;
          post_ops.sum = ++seed % 2 == 0;
          sweep.run(problem_of(conv, 2, height, 10 + height / 2), Layout::nhwc, Fill::integers,
                    seed, true, seed % 4 < 2 ? Guard::after : Guard::before, post_ops);
        }
      }
    }
    // Blocks of channels end with a panel and a group; fewer channels in than out.
    for (const std::int64_t group : {3, 6, 7}) {
      for (const std::int64_t kernel : {1, 2, 5}) {
        Conv2d conv = conv_of(90 * (group - 1), 90 * group, kernel, kernel / 2, 90);
        conv.stride = 1 + static_cast<std::int64_t>(++seed % 2);
        sweep.run(problem_of(conv, 2, 9, 13), Layout::nhwc, Fill::integers, seed, true,
                  seed % 4 < 2 ? Guard::after : Guard::before);
      }
    }
  }

  // Of pixels that share a few sets of L1 a copy is read, a block of channels at a time; with these
  // dilations so do those that a filter visits.
  TEST_CASE("depthwise pixels that share sets of L1: kernel x size x stride") {
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const std::int64_t kernel : {3, 5, 7, 9}) {
      for (const std::int64_t size : {1, 2, 7, 16, 33}) {
        for (const std::int64_t stride : {1, 2}) {
          Conv2d conv = conv_of(512, ++seed % 4 == 0 ? 1024 : 512, kernel, kernel / 2, 512);
          conv.stride = stride;
          if (kernel == 3) conv.dilation = 2;
          if (seed % 3 == 0) conv.padding = {kernel, 0, kernel / 2, kernel + 2};
          const std::int64_t least = (kernel - 1) * conv.dilation.h + 1;
          PostOps post_ops;
          post_ops.sum = seed % 2 == 0;
          sweep.run(problem_of(conv, 1, std::max(size, least), std::max(size, least)), Layout::nhwc,
                    Fill::integers, seed, true, seed % 4 < 2 ? Guard::after : Guard::before,
                    post_ops);
        }
      }
    }
  }

  // More than caches hold is asked for ahead; in these a kernel moves past rows of the image, too.
  TEST_CASE("depthwise beyond the caches") {
    Sweep sweep(false);
    PostOps sum;
    sum.sum = true;
    for (const Layout layout : {Layout::nhwc, Layout::nchw}) {
      sweep.run(problem_of(conv_of(72, 72, 3, 1, 72), 1, 220, 220), layout, Fill::integers, 1, true,
                Guard::after, sum);
    }
    for (const std::int64_t kernel : {1, 5}) {
      Conv2d conv = conv_of(136, 136, kernel, kernel / 2, 136);
      conv.stride = 2;
      sweep.run(problem_of(conv, 1, 210, 210), Layout::nhwc, Fill::integers, 2);
    }
  }

  // Narrow groups whose channels lie apart: what is under a block is transposed on its way, rows of
  // an image together where they follow each other, and a block may lie in the padding alone.
  TEST_CASE("depthwise transposed: group x kernel x size") {
    Sweep sweep(false);
    std::uint64_t seed = 0;
    const Layout layouts[] = {Layout::nchw, Layout::padded_rows, Layout::crop,
                              Layout::every_second};
    for (const std::int64_t group : {2, 4, 6, 7, 8}) {
      for (const Pair kernel : {Pair{3, 3}, Pair{5, 5}, Pair{2, 4}, Pair{1, 1}}) {
        for (const std::int64_t size : {1, 3, 7, 16, 19, 61}) {
          const std::int64_t groups = size > 20 ? 5 : 33;
          Conv2d conv = conv_of(groups * group, groups * group, kernel, 0, groups);
          conv.padding = {kernel.h / 2, kernel.w / 2};
          if (++seed % 3 == 0) conv.stride = 2;
          if (seed % 5 == 0) conv.dilation = {2, 3};
          if (seed % 7 == 0) conv.padding = {40, 0, 3, kernel.w};
          PostOps post_ops;
          post_ops.sum = seed % 4 == 0;
          if (seed % 8 == 0) post_ops.epilogue.activation = Activation::relu;
          const auto reach = [&](std::int64_t k, std::int64_t d) { return (k - 1) * d; };
          sweep.run(problem_of(conv, 2, size + reach(kernel.h, conv.dilation.h),
                               size + reach(kernel.w, conv.dilation.w)),
                    layouts[seed % 4], Fill::integers, seed, seed % 2 == 0,
                    seed % 2 == 0 ? Guard::after : Guard::before, post_ops);
        }
      }
    }
  }

  TEST_CASE("depthwise dilation x multiplier x channels") {
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const Pair dilation : {Pair{1, 1}, Pair{2, 2}, Pair{3, 1}, Pair{1, 4}, Pair{5, 12}}) {
      for (const std::int64_t multiplier : {1, 2, 3, 8}) {
        for (const std::int64_t channels : {1, 2, 33, 70}) {
          for (const std::int64_t size : {4, 7, 13, 20}) {
            Conv2d conv =
                conv_of(channels, channels * multiplier, 3, {dilation.h, dilation.w}, channels);
            conv.dilation = dilation;
            if (++seed % 4 == 0) conv.stride = {1 + static_cast<std::int64_t>(seed % 8 == 0), 1};
            sweep.run_both_ways(problem_of(conv, 1, size, size), seed);
          }
        }
      }
    }
    for (const std::int64_t channels : {3, 33, 70}) {
      const Conv2d conv = conv_of(channels, 4 * channels, 5, 2, channels);
      sweep.run_both_ways(problem_of(conv, 2, 9, 61), ++seed);
    }
    // More rows and channels than a block has.
    sweep.run(problem_of(conv_of(5, 5, 3, 1, 5), 2, 150, 61), Layout::nchw, Fill::integers, 1);
    sweep.run(problem_of(conv_of(700, 700, 3, 1, 700), 2, 6, 7), Layout::nchw, Fill::integers, 2);
    sweep.run(problem_of(conv_of(2, 2, 3, 1, 2), 1, 33, 900), Layout::nchw, Fill::integers, 3);
    sweep.run(problem_of(conv_of(9, 9, 5, 2, 9), 1, 40, 6), Layout::nchw, Fill::integers, 4);
  }
}

}  // namespace fastconv::testing
