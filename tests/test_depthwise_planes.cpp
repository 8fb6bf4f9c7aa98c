// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution of planes whose columns are adjacent.
#include <doctest/doctest.h>

#include <algorithm>

#include "sweep.hpp"

namespace fastconv::testing {
namespace {

void run_planes(Sweep& sweep, const Problem& problem, std::uint64_t seed, const PostOps& post_ops) {
  constexpr Layout kLayouts[] = {Layout::nchw, Layout::padded_rows, Layout::crop};
  sweep.run(problem, kLayouts[seed % 3], Fill::integers, seed, seed % 2 == 0,
            seed % 2 == 0 ? Guard::after : Guard::before, post_ops);
}

}  // namespace

TEST_SUITE("tiles") {
  // Adjacent columns: tiles of rows x vectors, two rows to a vector, masks on every side.
  TEST_CASE("depthwise planes: kernel x width x height") {
    Sweep sweep(false);
    std::uint64_t seed = 0;
    const Pair kernels[] = {3, 5, 7, 2, {1, 3}, {3, 1}, {5, 3}, {9, 11}};
    for (const Pair kernel : kernels) {
      for (const std::int64_t width : {1, 2, 3, 4, 5, 7, 8, 9, 14, 16, 17, 31, 33, 70}) {
        for (const std::int64_t height : {1, 2, 3, 4, 7, 8, 11, 15}) {
          Conv2d conv = conv_of(3, 3, kernel, {kernel.h / 2, kernel.w / 2}, 3);
          if (++seed % 3 == 0) conv.stride = 2;
          if (seed % 7 == 0) conv.stride = {2, 1};
          if (seed % 11 == 0) conv.stride = {1, 2};
          if (seed % 5 == 0) conv.padding = {kernel.h, 0, 0, kernel.w + 1};
          PostOps post_ops;
          post_ops.sum = seed % 4 == 0;
          if (seed % 3 == 0)
            post_ops.epilogue.activation = Activation::relu;  // beside a sum or not
          run_planes(sweep, problem_of(conv, 2, height + kernel.h, width + kernel.w - 1), seed,
                     post_ops);
        }
      }
    }
  }

  // Narrow ones, two channels to a vector: the last one alone, dilated, of more than a panel.
  TEST_CASE("depthwise planes of two channels: kernel x dilation x channels x padding") {
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const std::int64_t kernel : {3, 5}) {
      for (const Pair dilation : {Pair{1, 1}, Pair{3, 1}, Pair{2, 4}}) {
        for (const std::int64_t channels : {2, 5, 35, 70}) {
          for (const Padding& padding : {Padding(1), Padding(2, 0, 1, 3), Padding(9, 9, 4, 2)}) {
            const std::int64_t multiplier = 1 + static_cast<std::int64_t>(++seed % 3);
            Conv2d conv = conv_of(channels, channels * multiplier, kernel, padding, channels);
            conv.dilation = dilation;
            conv.stride = 1 + static_cast<std::int64_t>(seed % 2);
            PostOps post_ops;
            post_ops.sum = seed % 3 == 0;
            if (seed % 5 < 2) post_ops.epilogue.activation = Activation::relu;
            const auto size = [&](std::int64_t reach, std::int64_t pads, std::int64_t outputs) {
              return std::max<std::int64_t>(reach + 1 - pads, 1) + outputs;
            };
            const std::int64_t h = size((kernel - 1) * dilation.h, padding.top + padding.bottom,
                                        static_cast<std::int64_t>(seed % 9));
            const std::int64_t w = size((kernel - 1) * dilation.w, padding.left + padding.right,
                                        static_cast<std::int64_t>(seed % 8));
            run_planes(sweep, problem_of(conv, 2, h, w), seed, post_ops);
          }
        }
      }
    }
  }
}

}  // namespace fastconv::testing
