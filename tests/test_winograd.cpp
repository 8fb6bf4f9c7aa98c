// SPDX-License-Identifier: Apache-2.0
// Winograd against the oracle: every remainder of a tile, of channels and of blocks.
#include "winograd.hpp"

#include <doctest/doctest.h>

#include "../kernels/weights.hpp"
#include "check.hpp"
#include "sweep.hpp"

namespace fastconv::testing {
namespace {

void check_variants(const Problem& problem, Layout layout, Fill fill, std::uint64_t seed,
                    const PostOps& post_ops = {}) {
  const int threads = seed % 5 == 0 ? 3 : 1;
  if (threads == 1 && !takes_next()) return;  // races are for every run on threads to show
  const Check check(problem, layout, fill, seed, seed % 3 != 0, post_ops);
  for (const Isa isa : tested_isas()) {
    for (const Algorithm algorithm : kWinograd) {
      const Pair& kernel = problem.conv.kernel_size;
      if (!is_3x3(kernel) && algorithm != only_algorithm(kernel)) continue;
      Run run;
      run.algorithm = algorithm;
      run.isa = isa;
      run.guard = seed % 2 == 0 ? Guard::after : Guard::before;
      run.threads = threads;
      const Verdict verdict = check.run(run);
      CHECK_MESSAGE(verdict.failure.empty(), verdict.failure);
      CHECK_FALSE(verdict.refused);
    }
  }
}

}  // namespace

TEST_SUITE("winograd") {
  TEST_CASE("every remainder of a tile's rows and columns") {
    std::uint64_t seed = 0;
    for (std::int64_t h = 1; h <= 13; ++h) {
      for (const std::int64_t w : {1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 30}) {
        const Layout layout = seed % 2 == 0 ? Layout::nchw : Layout::nhwc;
        check_variants(problem_of(conv_of(3, 18), 1, h, w), layout, Fill::integers, ++seed);
      }
    }
  }

  TEST_CASE("every remainder of other kernels' tiles") {
    std::uint64_t seed = 0;
    for (const Pair& kernel : kWinogradKernels) {
      if (is_3x3(kernel)) continue;
      for (std::int64_t size = 1; size <= 9; ++size) {
        for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
          const Padding same{kernel.h / 2, kernel.w / 2};
          check_variants(problem_of(conv_of(5, 9, kernel, same), 2, size, 10 - size), layout,
                         Fill::floats, ++seed);
          check_variants(problem_of(conv_of(17, 33, kernel, 2), 1, 5, size + 4), layout,
                         Fill::floats, ++seed);
        }
      }
    }
  }

  TEST_CASE("channels in x channels out x layouts") {
    std::uint64_t seed = 0;
    for (const std::int64_t c : {1, 3, 4, 5, 8, 15, 16, 17, 33, 70}) {
      for (const std::int64_t k : {1, 4, 7, 8, 9, 16, 17, 31, 32, 33, 65}) {
        const auto layout = static_cast<Layout>(++seed % 13);
        REQUIRE(name(layout) != nullptr);
        check_variants(problem_of(conv_of(c, k), 2, 7, 10), layout, Fill::floats, seed);
        check_variants(problem_of(conv_of(c, k, kWinogradKernels[1 + seed % 5], 2), 2, 7, 10),
                       layout, Fill::floats, seed);
      }
    }
  }

  TEST_CASE("paddings, modes, groups, post-ops") {
    std::uint64_t seed = 0;
    PostOps post_ops;
    post_ops.sum = true;
    post_ops.epilogue.activation = Activation::relu;
    for (const PaddingMode mode : {PaddingMode::zeros, PaddingMode::reflect, PaddingMode::replicate,
                                   PaddingMode::circular}) {
      for (const Padding& padding : {Padding(0), Padding(2), Padding{3, 0, 1, 4}}) {
        for (const std::int64_t groups : {1, 3}) {
          for (const Layout layout : {Layout::nchw, Layout::nhwc, Layout::flipped, Layout::chwn}) {
            Conv2d conv = conv_of(12, 15, kWinogradKernels[seed % 6], padding, groups);
            conv.padding_mode = mode;
            ++seed;
            check_variants(problem_of(conv, 2, 5, 9), layout, Fill::floats, seed,
                           seed % 2 == 0 ? post_ops : PostOps{});
          }
        }
      }
    }
  }

  TEST_CASE("dilations") {
    std::uint64_t seed = 0;
    for (const Pair& dilation : {Pair{2, 2}, Pair{3, 1}, Pair{1, 4}, Pair{20, 30}}) {
      for (const std::int64_t size : {1, 7, 16}) {
        for (const Layout layout : {Layout::nchw, Layout::nhwc, Layout::crop}) {
          Conv2d conv = conv_of(9, 20, 3, {dilation.h, dilation.h + 1, dilation.w, dilation.w + 2});
          conv.dilation = dilation;
          check_variants(problem_of(conv, 2, size, size + 2), layout, Fill::floats, ++seed);
          conv.kernel_size = kWinogradKernels[1 + seed % 5];
          conv.padding = Padding(2 * dilation.h, 2 * dilation.w);
          check_variants(problem_of(conv, 2, size, size + 2), layout, Fill::floats, ++seed);
        }
      }
    }
  }

  TEST_CASE("dilated, more tiles than a block has") {
    std::uint64_t seed = 0;
    for (const Pair& dilation : {Pair{1, 2}, Pair{3, 5}, Pair{2, 11}, Pair{2, 40}}) {
      for (const Layout layout : {Layout::nchw, Layout::nhwc, Layout::flipped}) {
        Conv2d conv = conv_of(70, 7, 3, {dilation.h, dilation.w});
        conv.dilation = dilation;
        check_variants(problem_of(conv, 1, 10, 53), layout, Fill::floats, ++seed);
        conv.kernel_size = kWinogradKernels[1 + seed % 5];
        conv.padding = Padding(2 * dilation.h, 2 * dilation.w);
        check_variants(problem_of(conv, 1, 10, 53), layout, Fill::floats, ++seed);
      }
    }
  }

  TEST_CASE("more tiles and panels than a block has") {
    check_variants(problem_of(conv_of(20, 70), 2, 23, 29), Layout::nchw, Fill::floats, 1);
    check_variants(problem_of(conv_of(20, 70), 2, 23, 29), Layout::nhwc, Fill::floats, 5);
    check_variants(problem_of(conv_of(300, 33), 1, 5, 70), Layout::nchw, Fill::floats, 10);
    for (const Pair& kernel : kWinogradKernels) {
      check_variants(problem_of(conv_of(90, 40, kernel, 2), 2, 17, 29), Layout::nchw, Fill::floats,
                     5);
      check_variants(problem_of(conv_of(90, 40, kernel, 2), 2, 17, 29), Layout::nhwc, Fill::floats,
                     2);
    }
  }

  TEST_CASE("transformed weights written past the caches") {
    constexpr std::int64_t c = 261, k = 130;  // no whole parts
    static_assert(c * k * 36 >= kStreamed && c * k * 64 <= kMostTransformed);
    check_variants(problem_of(conv_of(c, k), 1, 5, 6), Layout::nchw, Fill::floats, 1);
    check_variants(problem_of(conv_of(c, k, 5, 2), 1, 3, 6), Layout::nhwc, Fill::floats, 2);
  }

  TEST_CASE("weights transformed as they are used") {
    constexpr std::int64_t c = 300, k = 225;
    static_assert(c * k * 36 > kMostTransformed);
    check_variants(problem_of(conv_of(c, k), 1, 9, 14), Layout::nchw, Fill::floats, 2);
    check_variants(problem_of(conv_of(c, k), 1, 3, 31), Layout::nhwc, Fill::floats, 5);
    check_variants(problem_of(conv_of(c, k, 5, 2), 1, 7, 6), Layout::nchw, Fill::floats, 2);
    static_assert(640 * 640 * 6 > kMostTransformed);
    check_variants(problem_of(conv_of(640, 640, {1, 3}, 1), 1, 1, 9), Layout::nhwc, Fill::floats,
                   1);
  }
}

}  // namespace fastconv::testing
