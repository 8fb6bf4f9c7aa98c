// SPDX-License-Identifier: Apache-2.0
// Padding modes, against an explicitly padded copy that oneDNN convolves without padding.
#include <doctest/doctest.h>

#include <cmath>
#include <fastconv/im2col.hpp>
#include <vector>

#include "sweep.hpp"

namespace fastconv::testing {
namespace {

constexpr PaddingMode kModes[] = {PaddingMode::reflect, PaddingMode::replicate,
                                  PaddingMode::circular};

}  // namespace

TEST_SUITE("modes") {
  TEST_CASE("the padded copy is what the descriptor's picture says") {
    const float row[] = {1, 2, 3, 4};
    const struct {
      PaddingMode mode;
      std::vector<float> expected;
    } cases[] = {
        {PaddingMode::zeros, {0, 0, 1, 2, 3, 4, 0, 0, 0}},
        {PaddingMode::reflect, {3, 2, 1, 2, 3, 4, 3, 2, 1}},
        {PaddingMode::replicate, {1, 1, 1, 2, 3, 4, 4, 4, 4}},
        {PaddingMode::circular, {3, 4, 1, 2, 3, 4, 1, 2, 3}},
    };
    for (const auto& c : cases) {
      CAPTURE(std::string(fastconv::name(c.mode)));
      const Tensor wide = padded_copy(nchw(row, 1, 1, 1, 4), {0, 0, 2, 3}, c.mode);
      const Tensor high = padded_copy(nchw(row, 1, 1, 4, 1), {2, 3, 0, 0}, c.mode);
      for (std::size_t i = 0; i < 9; ++i) {
        CHECK(wide.view().data[i] == c.expected[i]);
        CHECK(high.view().data[i] == c.expected[i]);
      }
    }
  }

  TEST_CASE("modes x paddings x strides x dilations") {
    Sweep sweep;
    std::uint64_t seed = 0;
    const Padding paddings[] = {1, {2, 1}, {0, 3, 2, 0}, {4, 4, 0, 1}, {6, 5, 6, 6}};
    for (const PaddingMode mode : kModes) {
      for (const Padding& padding : paddings) {
        for (const Pair kernel : {Pair(3), Pair(2, 4)}) {
          for (const Pair stride : {Pair(1), Pair(2), Pair(1, 3)}) {
            Conv2d conv;
            conv.in_channels = 6;
            conv.out_channels = 4;
            conv.groups = seed % 3 == 0 ? 2 : 1;
            conv.kernel_size = kernel;
            conv.stride = stride;
            conv.dilation = seed % 4 == 1 ? Pair(2, 1) : Pair(1);
            conv.padding = padding;
            conv.padding_mode = mode;
            const Problem problem = problem_of(conv, 2, 7, 8);
            CAPTURE(to_string(problem));
            REQUIRE(problem.oh > 0);
            const Fill fill = seed % 5 == 4 ? Fill::floats : Fill::integers;
            for (const Layout layout : {Layout::nchw, Layout::nhwc, Layout::flipped}) {
              sweep.run(problem, layout, fill, seed);
            }
            ++seed;
          }
        }
      }
    }
  }

  TEST_CASE("the widest padding that a mode can fill") {
    Sweep sweep;
    for (const PaddingMode mode : kModes) {
      const std::int64_t limit = mode == PaddingMode::reflect ? 3 : 4;
      Conv2d conv;
      conv.in_channels = 2;
      conv.out_channels = 3;
      conv.kernel_size = 3;
      conv.padding = mode == PaddingMode::replicate ? 9 : limit;
      conv.padding_mode = mode;
      sweep.run(problem_of(conv, 1, 4, 4), Layout::nchw, Fill::integers, 5);
      if (mode == PaddingMode::replicate) continue;
      // One too many on any side.
      for (const Padding& padding : {Padding(limit + 1, 0, 0, 0), Padding(0, limit + 1, 0, 0),
                                     Padding(0, 0, limit + 1, 0), Padding(0, 0, 0, limit + 1)}) {
        conv.padding = padding;
        Pair output{-5, -6};
        const Status status = output_size(conv.window(), 4, 4, output);
        CHECK(status.code() == StatusCode::invalid_argument);
        const std::string message = status.message();
        CHECK(message.find("padding") != std::string::npos);
        CHECK(message.find(fastconv::name(mode)) != std::string::npos);
        CHECK(message.find(std::to_string(limit + 1)) != std::string::npos);
        CHECK(output.h == -5);
        CHECK(output.w == -6);
      }
    }
  }

  TEST_CASE("both im2cols pad by each mode") {
    Tensor x(Layout::nchw, {2, 2, 5, 4});
    fill_integers(x.view(), 3);
    for (const PaddingMode mode : kModes) {
      const Window window{3, {2, 1}, {2, 1, 0, 3}, 1, mode};
      const Tensor padded = padded_copy(x.view(), window.padding, mode);
      Pair output;
      REQUIRE(output_size(window, 5, 4, output).ok());
      const Dims<3> shape{2, 18, output.h * output.w};
      std::vector<float> expected(static_cast<std::size_t>(shape[0] * shape[1] * shape[2]));
      std::vector<float> loops(expected.size()), gathered(expected.size());
      Window unpadded = window;
      unpadded.padding = 0;
      unpadded.padding_mode = PaddingMode::zeros;
      REQUIRE(im2col(padded.view(), unpadded, contiguous(expected.data(), shape)).ok());
      REQUIRE(im2col(x.view(), window, contiguous(loops.data(), shape)).ok());
      REQUIRE(strided_im2col(x.view(), window, contiguous(gathered.data(), shape)).ok());
      CAPTURE(std::string(fastconv::name(mode)));
      CHECK(loops == expected);
      CHECK(gathered == expected);
    }
  }
}

}  // namespace fastconv::testing
