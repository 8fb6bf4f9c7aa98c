// SPDX-License-Identifier: Apache-2.0
// Channels and pixels just below, at and just above the sizes of register tiles and their
// multiples.
#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "sweep.hpp"

namespace fastconv::testing {
namespace {

constexpr std::int64_t kEdges[] = {1, 4, 6, 8, 14, 16, 24, 32, 48, 49, 64, 96};

// Each edge and its neighbours, once each.
std::vector<std::int64_t> sizes() {
  std::vector<std::int64_t> result;
  for (const std::int64_t edge : kEdges) {
    for (const std::int64_t size : {edge - 1, edge, edge + 1}) {
      if (size >= 1 && (result.empty() || size > result.back())) result.push_back(size);
    }
  }
  return result;
}

void run_both_ways(Sweep& sweep, const Problem& problem, std::uint64_t seed, bool sum = false) {
  const Guard guard = seed % 2 == 0 ? Guard::after : Guard::before;
  PostOps post_ops;
  post_ops.sum = sum;
  sweep.run(problem, Layout::nchw, Fill::integers, seed, seed % 3 != 0, guard, post_ops);
  sweep.run(problem, Layout::nhwc, Fill::integers, seed, seed % 3 != 0, guard, post_ops);
}

}  // namespace

TEST_SUITE("tiles") {
  TEST_CASE("output channels x pixels of a row") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const std::int64_t k : sizes()) {
      for (const std::int64_t pixels : sizes()) {
        run_both_ways(sweep, problem_of(conv_of(3, k, 1, 0), 1, 1, pixels), ++seed);
      }
    }
  }

  // One output column of a wider image, whose stride no output takes.
  TEST_CASE("output channels x rows of one column") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const std::int64_t k : {1, 8, 33}) {
      for (const std::int64_t rows : sizes()) {
        Conv2d conv = conv_of(3, k, 1, 0);
        conv.stride = {1, 2};
        run_both_ways(sweep, problem_of(conv, 1, rows, 2), ++seed);
      }
    }
  }

  TEST_CASE("output channels x pixels of a 3x3 window with padding") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const std::int64_t k : sizes()) {
      for (const std::int64_t width : {1, 2, 3, 6, 7, 8, 9, 15, 16, 17, 25}) {
        run_both_ways(sweep, problem_of(conv_of(2, k, 3, 1), 1, 3, width), ++seed);
      }
    }
  }

  TEST_CASE("input channels x output channels") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const std::int64_t c : sizes()) {
      for (const std::int64_t k : {1, 7, 8, 9, 16, 31, 33}) {
        run_both_ways(sweep, problem_of(conv_of(c, k, {1, 2}, 0), 2, 2, 11), ++seed);
      }
    }
  }

  TEST_CASE("few output channels: depth x columns, whole and half vectors") {
    // Of long windows the rows of such tiles move three steps at a time; those at the image's
    // border are in parts, and short output rows share tiles.
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const std::int64_t c : {31, 32, 33, 37}) {
      for (const std::int64_t k : {3, 8, 9, 16}) {
        for (const std::int64_t width : {5, 7, 9, 12, 14, 27}) {
          const bool strided = ++seed % 3 == 0;
          Conv2d conv = conv_of(c, k, seed % 2 == 0 ? 1 : 3, seed % 2 == 0 ? 0 : 1);
          conv.stride = 1 + static_cast<std::int64_t>(strided);
          run_both_ways(sweep, problem_of(conv, 1, 3, width * (strided ? 2 : 1)), seed);
        }
      }
    }
  }

  TEST_CASE("few output channels: blocks of depth that begin and end within a tap") {
    Sweep sweep(false);
    for (const std::int64_t k : {5, 16}) {
      Conv2d conv = conv_of(49, k, 7, 6);
      conv.dilation = 2;
      run_both_ways(sweep, problem_of(conv, 1, 4, 14), static_cast<std::uint64_t>(k));
    }
  }

  TEST_CASE("deep products: output channels x pixels of a few") {
    // Tiles over two panels carry their sums from one block of depth to the next.
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const std::int64_t k : sizes()) {
      for (const std::int64_t pixels : {1, 2, 3, 4, 6, 7, 10, 19}) {
        run_both_ways(sweep, problem_of(conv_of(2100, k, 1, 0), 1, 1, pixels), ++seed);
      }
    }
  }

  TEST_CASE("pixels whose lines share sets of L1: channels x output channels x pixels") {
    // Lower tiles read them in place.
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const std::int64_t c : {512, 1024}) {
      for (const std::int64_t k : {1, 19, 33}) {
        for (const std::int64_t width : {3, 7, 8, 15}) {
          run_both_ways(sweep, problem_of(conv_of(c, k, 1, 0), 1, 2, width), ++seed);
        }
      }
    }
  }

  TEST_CASE("planes whose lines share sets of L1: channels x output channels x rows") {
    // The first tile over a panel packs it for the others; AVX2's panels leave pixels at the end.
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const std::int64_t c : {31, 64, 1100}) {
      for (const std::int64_t k : {3, 33, 40}) {
        for (const std::int64_t height : {8, 16}) {
          if (c > 64 && height > 8) continue;
          run_both_ways(sweep, problem_of(conv_of(c, k, 1, 0), 1, height, 64), ++seed);
        }
      }
    }
  }

  TEST_CASE("planes as long as a panel: channels x output channels x pixels") {
    // Steps follow each other in place, too, while the first tile packs them for the others.
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const std::int64_t c : {59, 60, 130}) {
      for (const std::int64_t k : {17, 24, 40}) {
        for (const std::int64_t width : {2, 3, 4, 6, 8}) {
          run_both_ways(sweep, problem_of(conv_of(c, k, 1, 0), 2, 4, width), ++seed);
        }
      }
    }
  }

  TEST_CASE("taps far apart x width x padding") {
    // Tiles end where a tap enters or leaves the image, and pass over those outside.
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const Pair dilation : {Pair{1, 4}, Pair{5, 5}, Pair{4, 12}, Pair{9, 1}}) {
      for (const std::int64_t width : {1, 3, 5, 8, 13, 24, 31}) {
        for (const Pair kernel : {Pair{3, 3}, Pair{2, 4}, Pair{1, 3}}) {
          Conv2d conv = conv_of(5, 17, kernel, {dilation.h, dilation.w});
          conv.dilation = dilation;
          if (++seed % 3 == 0) conv.padding = {dilation.h, dilation.h, 2 * dilation.w + 1, 0};
          if (seed % 5 == 0) conv.padding = {0, 0, 1, kernel.w * dilation.w + 3};
          const std::int64_t height = (kernel.h - 1) * dilation.h + 2;
          const std::int64_t reach = (kernel.w - 1) * dilation.w;
          const std::int64_t pads = conv.padding.left + conv.padding.right;
          run_both_ways(
              sweep, problem_of(conv, 1, height, width + (reach > pads ? reach - pads : 0)), seed);
        }
      }
    }
  }

  TEST_CASE("kernels wider than tiles: width x padding") {
    // Tiles pass over what none of their pixels finds in the image.
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const std::int64_t width : {3, 13, 29, 50}) {
      for (const std::int64_t pads : {14, 27, 40}) {
        for (const std::int64_t height : {1, 2}) {
          Conv2d conv = conv_of(32, 34, {height, 28}, {0, 0, pads, 40 - pads}, 2);
          if (++seed % 3 == 0) conv.dilation.w = 2;
          if (seed % 4 == 0) conv.stride.w = 2;
          if (width + 40 < 27 * conv.dilation.w + 1) continue;
          run_both_ways(sweep, problem_of(conv, 1, 2, width), seed);
        }
      }
    }
  }

  TEST_CASE("few channels x few channels x width x stride") {
    // Rows of pixels with adjacent channels become rows of channels, and back, a vector at a time.
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const std::int64_t c : {1, 2, 3, 4, 5, 7, 9}) {
      for (const std::int64_t k : {1, 2, 3, 4, 6}) {
        for (const std::int64_t width : {4, 5, 8, 9, 16, 17, 18, 33}) {
          Conv2d conv = conv_of(c, k, {1, 2}, {0, static_cast<std::int64_t>(seed % 2)});
          conv.stride = {1, 1 + static_cast<std::int64_t>(seed % 3 == 0)};
          run_both_ways(sweep, problem_of(conv, 1, 2, width * conv.stride.w + 1), ++seed);
        }
      }
    }
  }

  TEST_CASE("few channels x kernel height x rows") {
    // Image rows are loaded once for all output rows over them, where these are one apart.
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const std::int64_t k : {1, 2, 3, 4}) {
      for (const std::int64_t height : {1, 2, 3, 4, 5, 7}) {
        for (const std::int64_t rows : {1, 2, 3, 4, 5, 9}) {
          for (const std::int64_t width : {3, 16, 40, 70}) {
            Conv2d conv = conv_of(1 + static_cast<std::int64_t>(seed % 2), k, {height, 3}, {0, 1});
            conv.stride.h = 1 + static_cast<std::int64_t>(seed % 7 == 0);
            conv.dilation = {1 + static_cast<std::int64_t>(seed % 5 == 0),
                             1 + static_cast<std::int64_t>(seed % 3 == 0)};
            const std::int64_t reach = (height - 1) * conv.dilation.h + 1;
            run_both_ways(sweep, problem_of(conv, 1, (rows - 1) * conv.stride.h + reach, width + 2),
                          ++seed);
          }
        }
      }
    }
  }

  TEST_CASE("few channels: rows that follow each other") {
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const std::int64_t k : {1, 2, 3, 4, 5}) {
      for (const std::int64_t width : {25, 32, 61}) {
        const bool sum = ++seed % 2 == 0;
        run_both_ways(sweep, problem_of(conv_of(5, k, 1, 0), 1, 13, width), seed, sum);
        run_both_ways(sweep, problem_of(conv_of(15, 3 * k, 1, 0, 3), 2, 17, width), seed, !sum);
      }
    }
  }

  TEST_CASE("few channels: groups copied together, rows that no window reads") {
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const auto& [in, out] : {Pair{1, 1}, Pair{1, 2}, Pair{2, 1}, Pair{3, 4}}) {
      for (const std::int64_t stride : {1, 2, 3}) {
        for (const Pair kernel : {Pair{3, 3}, Pair{1, 5}, Pair{5, 1}}) {
          Conv2d conv = conv_of(3 * in, 3 * out, kernel, {kernel.h / 2, kernel.w / 2}, 3);
          conv.stride = stride;
          if (seed % 2 != 0) conv.dilation = {stride, 1};
          const bool sum = ++seed % 3 == 0;
          run_both_ways(sweep, problem_of(conv, 2, 19, 41), seed, sum);
        }
      }
    }
  }

  TEST_CASE("few channels: groups of many channels copied together, rows shorter than a vector") {
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const auto& [in, out] : {Pair{23, 6}, Pair{16, 1}, Pair{9, 20}, Pair{4, 5}}) {
      for (const std::int64_t groups : {1, 7}) {
        for (const std::int64_t columns : {3, 4, 5, 7, 13, 15}) {
          Conv2d conv = conv_of(groups * in, groups * out, 2, 1, groups);
          conv.stride = ++seed % 2 == 0 ? 1 : 3;
          const std::int64_t width = columns * conv.stride.w;
          run_both_ways(sweep, problem_of(conv, 1 + width % 2, 9, width), seed, seed % 3 == 0);
        }
      }
    }
  }

  TEST_CASE("few channels: windows side by side") {
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const std::int64_t c : {2, 3, 4, 5, 7, 8, 15}) {
      for (const std::int64_t size : {2, 4}) {
        for (const std::int64_t width : {16, 35, 72}) {
          Conv2d conv = conv_of(c, 33, size, 0);
          conv.stride = size;
          run_both_ways(sweep, problem_of(conv, 1, 9, width), ++seed);
        }
      }
    }
  }

  TEST_CASE("channels of a group") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const std::int64_t per_group : {1, 2, 7, 8, 9, 15, 16, 17}) {
      for (const std::int64_t groups : {2, 3, 16}) {
        run_both_ways(
            sweep,
            problem_of(conv_of(groups * per_group, groups * per_group, 3, 1, groups), 1, 4, 5),
            ++seed);
      }
    }
  }

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
          run_both_ways(sweep, problem_of(conv, 1, 3, reach - 1 + width), ++seed);
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
          run_both_ways(sweep, problem_of(conv, 1, height, 11), ++seed);
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
    for (const std::int64_t channels : sizes()) {
      for (const std::int64_t width : {3, 7, 8, 16, 17, 35}) {
        Conv2d conv = conv_of(channels, channels, 3, 1, channels);
        conv.stride = 1 + static_cast<std::int64_t>(seed % 2);
        run_both_ways(sweep, problem_of(conv, 1, 5, width), ++seed);
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
          run_both_ways(sweep, problem_of(conv, 1, std::max(height, least), 15), seed);
        }
      }
    }
    // Channels of which all rows of a vector are computed at once.
    run_both_ways(sweep, problem_of(conv_of(140, 140, 5, 2, 140), 1, 15, 11), ++seed);
    run_both_ways(sweep, problem_of(conv_of(140, 140, 7, 3, 140), 1, 7, 9), ++seed);
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
            run_both_ways(sweep, problem_of(conv, 2, 40 * stride, 65 * stride), seed);
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
            run_both_ways(sweep, problem_of(conv, 1, size, size), seed);
          }
        }
      }
    }
    for (const std::int64_t channels : {3, 33, 70}) {
      const Conv2d conv = conv_of(channels, 4 * channels, 5, 2, channels);
      run_both_ways(sweep, problem_of(conv, 2, 9, 61), ++seed);
    }
    // More rows and channels than a block has.
    sweep.run(problem_of(conv_of(5, 5, 3, 1, 5), 2, 150, 61), Layout::nchw, Fill::integers, 1);
    sweep.run(problem_of(conv_of(700, 700, 3, 1, 700), 2, 6, 7), Layout::nchw, Fill::integers, 2);
    sweep.run(problem_of(conv_of(2, 2, 3, 1, 2), 1, 33, 900), Layout::nchw, Fill::integers, 3);
    sweep.run(problem_of(conv_of(9, 9, 5, 2, 9), 1, 40, 6), Layout::nchw, Fill::integers, 4);
  }
}

}  // namespace fastconv::testing
