// SPDX-License-Identifier: Apache-2.0
// Channels and pixels just below, at and just above the sizes of register tiles and their
// multiples.
#include <doctest/doctest.h>

#include "sweep.hpp"

namespace fastconv::testing {

TEST_SUITE("tiles") {
  TEST_CASE("output channels x pixels of a row") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const std::int64_t k : tile_sizes()) {
      for (const std::int64_t pixels : tile_sizes()) {
        sweep.run_both_ways(problem_of(conv_of(3, k, 1, 0), 1, 1, pixels), ++seed);
      }
    }
  }

  // One output column of a wider image, whose stride no output takes.
  TEST_CASE("output channels x rows of one column") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const std::int64_t k : {1, 8, 33}) {
      for (const std::int64_t rows : tile_sizes()) {
        Conv2d conv = conv_of(3, k, 1, 0);
        conv.stride = {1, 2};
        sweep.run_both_ways(problem_of(conv, 1, rows, 2), ++seed);
      }
    }
  }

  TEST_CASE("output channels x pixels of a 3x3 window with padding") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const std::int64_t k : tile_sizes()) {
      for (const std::int64_t width : {1, 2, 3, 6, 7, 8, 9, 15, 16, 17, 25}) {
        sweep.run_both_ways(problem_of(conv_of(2, k, 3, 1), 1, 3, width), ++seed);
      }
    }
  }

  TEST_CASE("input channels x output channels") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const std::int64_t c : tile_sizes()) {
      for (const std::int64_t k : {1, 7, 8, 9, 16, 31, 33}) {
        sweep.run_both_ways(problem_of(conv_of(c, k, {1, 2}, 0), 2, 2, 11), ++seed);
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
          sweep.run_both_ways(problem_of(conv, 1, 3, width * (strided ? 2 : 1)), seed);
        }
      }
    }
  }

  TEST_CASE("few output channels: blocks of depth that begin and end within a tap") {
    Sweep sweep(false);
    for (const std::int64_t k : {5, 16}) {
      Conv2d conv = conv_of(49, k, 7, 6);
      conv.dilation = 2;
      sweep.run_both_ways(problem_of(conv, 1, 4, 14), static_cast<std::uint64_t>(k));
    }
  }

  TEST_CASE("deep products: output channels x pixels of a few") {
    // Tiles over two panels carry their sums from one block of depth to the next.
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const std::int64_t k : tile_sizes()) {
      for (const std::int64_t pixels : {1, 2, 3, 4, 6, 7, 10, 19}) {
        sweep.run_both_ways(problem_of(conv_of(2100, k, 1, 0), 1, 1, pixels), ++seed);
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
          sweep.run_both_ways(problem_of(conv_of(c, k, 1, 0), 1, 2, width), ++seed);
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
          sweep.run_both_ways(problem_of(conv_of(c, k, 1, 0), 1, height, 64), ++seed);
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
          sweep.run_both_ways(problem_of(conv_of(c, k, 1, 0), 2, 4, width), ++seed);
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
          sweep.run_both_ways(
              problem_of(conv, 1, height, width + (reach > pads ? reach - pads : 0)), seed);
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
          sweep.run_both_ways(problem_of(conv, 1, 2, width), seed);
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
          sweep.run_both_ways(problem_of(conv, 1, 2, width * conv.stride.w + 1), ++seed);
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
            sweep.run_both_ways(problem_of(conv, 1, (rows - 1) * conv.stride.h + reach, width + 2),
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
        sweep.run_both_ways(problem_of(conv_of(5, k, 1, 0), 1, 13, width), seed, sum);
        sweep.run_both_ways(problem_of(conv_of(15, 3 * k, 1, 0, 3), 2, 17, width), seed, !sum);
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
          sweep.run_both_ways(problem_of(conv, 2, 19, 41), seed, sum);
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
          sweep.run_both_ways(problem_of(conv, 1 + width % 2, 9, width), seed, seed % 3 == 0);
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
          sweep.run_both_ways(problem_of(conv, 1, 9, width), ++seed);
        }
      }
    }
  }

  TEST_CASE("channels of a group") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const std::int64_t per_group : {1, 2, 7, 8, 9, 15, 16, 17}) {
      for (const std::int64_t groups : {2, 3, 16}) {
        sweep.run_both_ways(
            problem_of(conv_of(groups * per_group, groups * per_group, 3, 1, groups), 1, 4, 5),
            ++seed);
      }
    }
  }
}

}  // namespace fastconv::testing
