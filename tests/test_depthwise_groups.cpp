// SPDX-License-Identifier: Apache-2.0
// Groups: those whose outputs fill vectors, tiles and blocks of them, whichever the level's vectors
// are, and narrow ones, whose lanes of a merged panel a product reads.
#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <vector>

#include "check.hpp"
#include "sweep.hpp"
#include "tensors.hpp"

namespace fastconv::testing {
namespace {

// Memory that ends where a guard page begins.
Allocator guarded(std::vector<GuardedBuffer>& buffers) {
  return {[](void* context, std::size_t bytes, std::size_t alignment) -> void* {
            auto& all = *static_cast<std::vector<GuardedBuffer>*>(context);
            const std::size_t whole = (bytes + alignment - 1) / alignment * alignment;
            all.emplace_back(static_cast<std::int64_t>(whole), Guard::after);
            return all.back().data();
          },
          [](void*, void*, std::size_t) {}, &buffers};
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

  TEST_CASE("narrow groups: few columns, large filters, panels that end within or between them") {
    Sweep sweep(false);
    std::uint64_t seed = 0;
    for (const std::int64_t out : {2, 3, 4, 6, 8, 16}) {
      for (const std::int64_t groups : {3, 12}) {  // the last panel is full, or not
        for (const auto& [kernel, stride, height, width] :
             {std::array<std::int64_t, 4>{9, 1, 10, 1}, {7, 2, 25, 2}, {2, 2, 24, 20}}) {
          Conv2d conv = conv_of((out == 16 ? 1 : out) * groups, out * groups, kernel,
                                kernel == 2 ? 0 : kernel / 2, groups);
          conv.stride = stride;
          if (++seed % 7 == 0) conv.padding_mode = PaddingMode::replicate;
          PostOps post_ops;
          post_ops.sum = seed % 3 == 0;
          for (const Layout layout : {Layout::nhwc, Layout::nchw}) {
            sweep.run(problem_of(conv, seed % 2 + 1, height, width), layout, Fill::integers, seed,
                      seed % 4 > 0, seed % 2 == 0 ? Guard::after : Guard::before, post_ops);
          }
        }
      }
    }
  }

  // The layer's memory ends with the weights, or with zeros for a bias.
  TEST_CASE("a product reads a narrow group's lanes of a merged panel, and nothing behind it") {
    for (const Isa isa : tested_isas()) {
      CAPTURE(std::string(name(isa)));
      // Merged are groups of up to half a vector.
      const std::int64_t most = isa == Isa::avx512 ? 8 : isa == Isa::avx2 ? 4 : 2;
      int products = 0;
      for (const std::int64_t out : {2, 4, 8, 16}) {
        for (const std::int64_t padding : {0, 4}) {
          const std::int64_t groups = 64 / out, width = 9 - 2 * padding;
          const Tensor x(Layout::nhwc, {1, 64, 18 - 2 * padding, width});
          const Tensor y(Layout::nhwc, {1, 64, 10, 1}), expected(Layout::nhwc, {1, 64, 10, 1});
          const Tensor weights(Layout::nchw, {64, out, 9, 9});
          fill_integers(x.view(), 1);
          fill_integers(weights.view(), 2);
          const Conv2d conv = conv_of(64, 64, 9, padding, groups);
          std::vector<GuardedBuffer> buffers;
          LayerOptions options;
          options.isa = isa;
          options.allocator = guarded(buffers);
          Layer layer;
          REQUIRE(Layer::create(conv, weights.view(), nullptr, options, layer).ok());
          Plan plan;
          REQUIRE(layer.plan(x.view(), y.view(), plan).ok());
          const Status status = layer.run(x.view(), y.view());
          REQUIRE_MESSAGE(status.ok(), text(status));
          if (out <= most && plan.algorithm() == Algorithm::gemm) ++products;
          options.algorithm = Algorithm::naive;
          options.isa = Isa::automatic;
          Layer naive;
          REQUIRE(Layer::create(conv, weights.view(), nullptr, options, naive).ok());
          REQUIRE(naive.run(x.view(), expected.view()).ok());
          CHECK(y.is_copy_of(expected));
        }
      }
      CHECK(products > 0);
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
