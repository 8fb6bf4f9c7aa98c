// SPDX-License-Identifier: Apache-2.0
// Groups: those whose outputs fill vectors, tiles and blocks of them, whichever the level's vectors
// are, and narrow ones, whose lanes of a merged panel a product reads.
#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "check.hpp"
#include "sweep.hpp"

namespace fastconv::testing {
namespace {

// What the library takes for a problem.
Algorithm chosen(const Problem& p, Isa isa) {
  const Conv2d& conv = p.conv;
  const Pair kernel = conv.kernel_size;
  const std::int64_t in = conv.in_channels / conv.groups;
  const std::vector<float> weights(
      static_cast<std::size_t>(conv.out_channels * in * kernel.h * kernel.w), 1.0F);
  LayerOptions options;
  options.isa = isa;
  Layer layer;
  Plan plan;
  REQUIRE(Layer::create(conv, oihw(weights.data(), conv.out_channels, in, kernel.h, kernel.w),
                        nullptr, options, layer)
              .ok());
  REQUIRE(layer
              .plan(nhwc<const float>(nullptr, p.mb, conv.in_channels, p.ih, p.iw),
                    nhwc<float>(nullptr, p.mb, conv.out_channels, p.oh, p.ow), plan)
              .ok());
  return plan.algorithm();
}

}  // namespace

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

  TEST_CASE("narrow groups as products of their lanes of a merged panel") {
    Sweep sweep(false);
    std::uint64_t seed = 0;
    std::map<Isa, int> products;
    for (const std::int64_t out : {2, 4, 8, 16}) {
      for (const std::int64_t groups : {3, 12}) {  // the last panel is full, or not
        for (const auto& [kernel, stride, height, width] :
             {std::array<std::int64_t, 4>{9, 1, 10, 1}, {7, 2, 25, 2}, {2, 2, 24, 20}}) {
          // Of 16 outputs only groups of one input are merged.
          Conv2d conv = conv_of((out == 16 ? 1 : out) * groups, out * groups, kernel,
                                kernel == 2 ? 0 : kernel / 2, groups);
          conv.stride = stride;
          if (++seed % 7 == 0) conv.padding_mode = PaddingMode::replicate;
          const Problem problem = problem_of(conv, seed % 2 + 1, height, width);
          PostOps post_ops;
          post_ops.sum = seed % 3 == 0;
          for (const Layout layout : {Layout::nhwc, Layout::nchw}) {
            sweep.run(problem, layout, Fill::integers, seed, seed % 4 > 0,
                      seed % 2 == 0 ? Guard::after : Guard::before, post_ops);
          }
          for (const Isa isa : tested_isas()) {
            products[isa] += chosen(problem, isa) == Algorithm::gemm ? 1 : 0;
          }
        }
      }
    }
    for (const auto& [isa, count] : products) {
      CAPTURE(std::string(name(isa)));
      CHECK(count > 0);
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
