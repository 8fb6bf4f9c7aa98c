// SPDX-License-Identifier: Apache-2.0
// Which taps of a window lie in the image.
#include "../lib/taps.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "problem_in.hpp"

namespace fastconv::testing {

TEST_SUITE("blocking") {
  TEST_CASE("taps inside the image are those that a count finds") {
    for (const std::int64_t w : {1, 2, 7, 20}) {
      for (const std::int64_t kernel : {1, 2, 5}) {
        for (const std::int64_t dilation : {1, 3, 9}) {
          for (const std::int64_t stride : {1, 2, 5}) {
            for (const std::int64_t before : {0, 1, 8, 40}) {
              fastconv::Problem p;
              p.window.kernel_size = {1, kernel};
              p.window.dilation = {1, dilation};
              p.window.stride = {1, stride};
              p.window.padding.left = before;
              p.h = p.oh = 1;
              p.w = w;
              p.ow = 30;
              const auto inside = [&](std::int64_t output) {
                std::vector<std::int64_t> taps;
                for (std::int64_t s = 0; s < kernel; ++s) {
                  const std::int64_t i = output * stride - before + s * dilation;
                  if (i >= 0 && i < w) taps.push_back(s);
                }
                return taps;
              };
              for (std::int64_t output = 0; output < p.ow; ++output) {
                const TapRange range = tap_columns_inside(p, output);
                std::vector<std::int64_t> taps;
                for (std::int64_t s = range.begin; s < range.end; ++s) taps.push_back(s);
                CHECK(taps == inside(output));
                CHECK(range.until > output);
                CHECK(range.until <= p.ow);
                for (std::int64_t next = output; next < range.until; ++next) {
                  CHECK(inside(next) == taps);
                }
              }
            }
          }
        }
      }
    }
  }

  TEST_CASE("a plan takes no longer for rows that all find the same ones of the image") {
    Conv2d conv;
    conv.in_channels = conv.out_channels = 1;
    conv.kernel_size = {2, 4};
    conv.dilation = {std::int64_t{1} << 40, 1};
    conv.padding = {conv.dilation.h, conv.dilation.h, 1, 1};
    const float weights[8] = {};
    Layer layer;
    REQUIRE(Layer::create(conv, oihw(weights, 1, 1, 2, 4), nullptr, {}, layer).ok());
    Pair output;
    REQUIRE(output_size(conv.window(), 1, 3, output).ok());
    float* const none = nullptr;
    Plan plan;
    CHECK(layer.plan(nchw(none, 1, 1, 1, 3), nchw(none, 1, 1, output.h, output.w), plan).ok());
  }
}

}  // namespace fastconv::testing
