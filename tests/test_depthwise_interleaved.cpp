// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution of few interleaved channels, whose vectors take parts of pixels.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "../lib/depthwise.hpp"
#include "problem_in.hpp"
#include "sweep.hpp"

namespace fastconv::testing {
namespace {

bool interleaves(const std::string& descriptor, const Tiles& tiles, Layout layout = Layout::nhwc,
                 bool finite = true) {
  CAPTURE(descriptor);
  DepthwiseBlocking b;
  const fastconv::Problem p = problem_in(parsed(descriptor), layout);
  REQUIRE(choose_depthwise(p, tiles.channels, kLarge, finite, b));
  return b.interleaved;
}

}  // namespace

TEST_SUITE("tiles") {
  // Rows of fewer pixels than a period to several tiles of six vectors, in pairs and alone.
  TEST_CASE("depthwise interleaved: channels x width x height") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const std::int64_t channels : {2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 20}) {
      for (const std::int64_t width : {2, 7, 16, 17, 24, 33, 48, 49, 63, 100, 115, 145}) {
        const std::int64_t height = 1 + static_cast<std::int64_t>(++seed % 16);
        Conv2d conv = conv_of(channels, channels, 3, 1, channels);
        if (seed % 4 == 0) conv.padding = {0, 2, 1, 0};
        PostOps post_ops;
        post_ops.sum = seed % 3 == 0;
        if (seed % 5 < 2) post_ops.epilogue.activation = Activation::relu;
        constexpr Layout kLayouts[] = {Layout::nhwc, Layout::nhwc_crop, Layout::nhwc};
        sweep.run(problem_of(conv, 2, height + 2, width), kLayouts[seed % 3], Fill::integers, seed,
                  seed % 2 == 0, seed % 4 < 2 ? Guard::after : Guard::before, post_ops);
      }
    }
  }

  TEST_CASE("depthwise interleaved: kernel x dilation x padding mode") {
    Sweep sweep;
    std::uint64_t seed = 0;
    const Pair kernels[] = {3, 5, 7, 11, 2, {1, 3}, {3, 1}, {4, 9}};
    for (const Pair kernel : kernels) {
      for (const Pair dilation : {Pair{1, 1}, Pair{2, 1}, Pair{1, 3}, Pair{3, 2}}) {
        for (const PaddingMode mode : {PaddingMode::zeros, PaddingMode::reflect,
                                       PaddingMode::replicate, PaddingMode::circular}) {
          const std::int64_t channels = 2 + static_cast<std::int64_t>(++seed % 3);
          const std::int64_t left = (kernel.w - 1) * dilation.w / 2;
          const std::int64_t top = (kernel.h - 1) * dilation.h / 2;
          Conv2d conv =
              conv_of(channels, channels, kernel, {top, top + 1, left, left + 2}, channels);
          conv.dilation = dilation;
          conv.padding_mode = mode;
          sweep.run(problem_of(conv, 1, 37, 70 + static_cast<std::int64_t>(seed % 23)),
                    Layout::nhwc, seed % 2 == 0 ? Fill::integers : Fill::floats, seed,
                    seed % 2 == 0, seed % 4 < 2 ? Guard::after : Guard::before);
        }
      }
    }
  }

  // Taps that no output finds, and outputs of which none lies in the image.
  TEST_CASE("depthwise interleaved: more padding than image") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const std::int64_t width : {1, 2, 40}) {
      for (const Padding& padding :
           {Padding(9, 9, 9, 9), Padding(0, 3, 12, 0), Padding(6, 0, 0, 40)}) {
        Conv2d conv = conv_of(3, 3, 5, padding, 3);
        sweep.run(problem_of(conv, 2, 6, width + 4), Layout::nhwc, Fill::integers, ++seed);
      }
    }
  }
}

TEST_SUITE("blocking") {
  TEST_CASE("depthwise: few channels are interleaved where pixels follow each other") {
    for (const Tiles& tiles : {kShort, kShortIntel, kLong, kHalves}) {
      CHECK(interleaves("g3mb1ic3ih512oc3kh3ph1", tiles));
      CHECK(interleaves("g4mb1ic4ih512oc4kh7ph3", tiles));
      CHECK(interleaves("g4mb1ic4ih96oc4kh3ph2dh1", tiles));
      CHECK_FALSE(interleaves("g4mb1ic4ih512oc4kh3sh2ph1", tiles));
      CHECK_FALSE(interleaves("g64mb1ic64ih56oc64kh3ph1", tiles));
      CHECK_FALSE(interleaves("g4mb1ic4ih512oc4kh3ph1", tiles, Layout::nhwc_slice));
      CHECK_FALSE(interleaves("g4mb1ic4ih512oc4kh3ph1", tiles, Layout::nchw));
      // Of weights that are not finite padding would have to be multiplied.
      CHECK_FALSE(interleaves("g4mb1ic4ih512oc4kh3ph1", tiles, Layout::nhwc, false));
      CHECK(interleaves("g4mb1ic4ih512iw512oc4oh510ow512kh3kw3ph0pw1", tiles, Layout::nhwc, false));
    }
    CHECK_FALSE(interleaves("g8mb1ic8ih96oc8kh3ph1", kShort));
    CHECK(interleaves("g8mb1ic8ih96oc8kh3ph1", kLong));
    CHECK_FALSE(interleaves("g4mb1ic4ih512oc4kh3ph1", kNeon));
    CHECK(interleaves("g3mb1ic3ih512oc3kh3ph1", kNeon));
    CHECK_FALSE(interleaves("g3mb1ic3ih512oc3kh3ph1", kFours));
  }
}

}  // namespace fastconv::testing
