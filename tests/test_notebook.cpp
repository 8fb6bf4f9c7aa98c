// SPDX-License-Identifier: Apache-2.0
// The notebook's own checks, one test case for each of its functions.
#include <doctest/doctest.h>

#include <fastconv/fastconv.hpp>
#include <numeric>
#include <vector>

#include "check.hpp"
#include "compare.hpp"
#include "onednn.hpp"

namespace fastconv::testing {
namespace {

// 1, 2, 3, … as the notebook's arange(3*4*4) + 1.
std::vector<float> ramp(std::size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 1.0F);
  return values;
}

// What the notebook prints for the ramp of shape (1, 3, 4, 4) and a 2x2 window.
constexpr float kPrinted[12][9] = {
    {1, 2, 3, 5, 6, 7, 9, 10, 11},        {2, 3, 4, 6, 7, 8, 10, 11, 12},
    {5, 6, 7, 9, 10, 11, 13, 14, 15},     {6, 7, 8, 10, 11, 12, 14, 15, 16},
    {17, 18, 19, 21, 22, 23, 25, 26, 27}, {18, 19, 20, 22, 23, 24, 26, 27, 28},
    {21, 22, 23, 25, 26, 27, 29, 30, 31}, {22, 23, 24, 26, 27, 28, 30, 31, 32},
    {33, 34, 35, 37, 38, 39, 41, 42, 43}, {34, 35, 36, 38, 39, 40, 42, 43, 44},
    {37, 38, 39, 41, 42, 43, 45, 46, 47}, {38, 39, 40, 42, 43, 44, 46, 47, 48},
};

Problem parsed(const char* text) {
  Problem problem;
  ParseError error;
  REQUIRE_MESSAGE(parse_problem(text, problem, error), text, ": ", error.reason);
  return problem;
}

using Im2col = Status (*)(const ConstTensorView&, const Window&, const View<float, 3>&) noexcept;
constexpr Im2col kIm2cols[] = {im2col, strided_im2col};

}  // namespace

TEST_SUITE("notebook") {
  TEST_CASE("both im2cols of the ramp give the printed matrix") {
    const std::vector<float> x = ramp(48);
    for (const Im2col function : kIm2cols) {
      std::vector<float> matrix(12 * 9, -1.0F);
      const Status status = function(nchw(x.data(), 1, 3, 4, 4), {2},
                                     contiguous<float, 3>(matrix.data(), {1, 12, 9}));
      REQUIRE_MESSAGE(status.ok(), text(status));
      for (std::size_t row = 0; row < 12; ++row) {
        for (std::size_t column = 0; column < 9; ++column) {
          CAPTURE(row);
          CAPTURE(column);
          CHECK(matrix[row * 9 + column] == kPrinted[row][column]);
        }
      }
    }
  }

  TEST_CASE("both im2cols take any layout of image and matrix") {
    const Dims<4> shape{2, 3, 7, 6};
    const Window window{{3, 2}, {2, 1}, {1, 2, 0, 1}, {1, 2}};
    Pair output;
    REQUIRE(output_size(window, shape[2], shape[3], output).ok());
    const Dims<3> matrix_shape{2, 3 * 3 * 2, output.h * output.w};
    const auto size = static_cast<std::size_t>(matrix_shape[0] * matrix_shape[1] * matrix_shape[2]);

    // By the definition, from a padded copy.
    Tensor dense(Layout::nchw, shape);
    fill_integers(dense.view(), 5);
    const Tensor padded = padded_copy(dense.view(), window.padding, window.padding_mode);
    std::vector<float> expected;
    for_each_index({shape[0], shape[1], 3, 2}, [&](const Dims<4>& tap) {
      for_each_index({1, 1, output.h, output.w}, [&](const Dims<4>& pixel) {
        expected.push_back(
            at(padded.view(), {tap[0], tap[1], pixel[2] * 2 + tap[2], pixel[3] + tap[3] * 2}));
      });
    });
    REQUIRE(expected.size() == size);

    for (const Layout layout : {Layout::nchw, Layout::nhwc, Layout::flipped, Layout::crop}) {
      Tensor x(layout, shape);
      fill_integers(x.view(), 5);
      for (const Im2col function : kIm2cols) {
        CAPTURE(std::string(name(layout)));
        std::vector<float> rows(size), columns(size);
        REQUIRE(function(x.view(), window, contiguous(rows.data(), matrix_shape)).ok());
        CHECK(rows == expected);
        // The matrix transposed: columns contiguous.
        const View<float, 3> transposed =
            contiguous<float, 3>(columns.data(), {2, matrix_shape[2], matrix_shape[1]})
                .permute({0, 2, 1});
        REQUIRE(function(x.view(), window, transposed).ok());
        bool same = true;
        for (std::size_t i = 0; i < size; ++i) {
          const auto rest = static_cast<std::int64_t>(i) % (matrix_shape[1] * matrix_shape[2]);
          const auto image = static_cast<std::int64_t>(i) / (matrix_shape[1] * matrix_shape[2]);
          same = same &&
                 expected[i] == transposed.data[image * transposed.strides[0] +
                                                rest / matrix_shape[2] * transposed.strides[1] +
                                                rest % matrix_shape[2] * transposed.strides[2]];
        }
        CHECK(same);
      }
    }
  }

  TEST_CASE("the 6-D window view holds the windows without a copy") {
    const std::vector<float> x = ramp(48);
    View<const float, 6> windows;
    const Status status = window_view(nchw(x.data(), 1, 3, 4, 4), {2}, windows);
    REQUIRE_MESSAGE(status.ok(), text(status));
    CHECK(windows.data == x.data());
    CHECK(windows.shape == Dims<6>{1, 3, 3, 3, 2, 2});
    CHECK(windows.strides == Dims<6>{48, 16, 4, 1, 4, 1});
    // Transposed to (N, C, R, S, OH, OW) and read in order it is the printed matrix.
    const View<const float, 6> rows = windows.permute({0, 1, 4, 5, 2, 3});
    for (std::int64_t row = 0; row < 12; ++row) {
      for (std::int64_t column = 0; column < 9; ++column) {
        const std::int64_t offset = row / 4 * rows.strides[1] + row / 2 % 2 * rows.strides[2] +
                                    row % 2 * rows.strides[3] + column / 3 * rows.strides[4] +
                                    column % 3 * rows.strides[5];
        CHECK(rows.data[offset] == kPrinted[row][column]);
      }
    }
  }

  TEST_CASE("the window view takes stride and dilation into its strides and refuses padding") {
    const std::vector<float> x = ramp(2 * 3 * 9 * 8);
    View<const float, 6> windows;
    Window window{{3, 2}, {2, 3}, 0, {1, 4}};
    REQUIRE(window_view(nhwc(x.data(), 2, 3, 9, 8), window, windows).ok());
    CHECK(windows.shape == Dims<6>{2, 3, 4, 2, 3, 2});
    CHECK(windows.strides == Dims<6>{216, 1, 48, 9, 24, 12});
    const View<const float, 6> before = windows;
    window.padding = {0, 0, 1, 0};
    const Status status = window_view(nhwc(x.data(), 2, 3, 9, 8), window, windows);
    CHECK(status.code() == StatusCode::invalid_argument);
    CHECK(std::string(status.message()).find("padding") != std::string::npos);
    CHECK(std::string(status.message()).find("left 1") != std::string::npos);
    CHECK(windows.shape == before.shape);
    CHECK(windows.strides == before.strides);
  }

  TEST_CASE("as_strided keeps data and extent and takes shape and strides as they are") {
    std::vector<float> x = ramp(48);
    const View<float, 4> base = nchw(x.data(), 1, 3, 4, 4).within(x.data(), 48);
    const View<float, 2> diagonal = as_strided(base, Dims<2>{3, 4}, Dims<2>{16, 5});
    CHECK(diagonal.data == x.data());
    CHECK(diagonal.extent_begin == x.data());
    CHECK(diagonal.extent_size == 48);
    CHECK(diagonal.data[2 * 16 + 3 * 5] == 48.0F);
    // The notebook's broadcast operand: a stride of 0 along the output channels.
    const View<float, 7> broadcast =
        as_strided(base, Dims<7>{1, 8, 3, 3, 3, 2, 2}, Dims<7>{48, 0, 4, 1, 16, 4, 1});
    CHECK(broadcast.strides[1] == 0);
    CHECK(broadcast.shape[1] == 8);
  }

  TEST_CASE("3 x 3 x 10 x 10 with stride 3: every algorithm against oneDNN") {
    for (const char* text : {"mb3_ic3ih10oc3oh3kh3sh3ph0", "mb3_ic3ih10oc3oh8kh3sh1ph0"}) {
      for (const Fill fill : {Fill::integers, Fill::floats}) {
        for (const std::uint64_t seed : {1U, 2U}) {
          const Check check(parsed(text), Layout::nchw, fill, seed, false);
          for (const Algorithm algorithm : general_algorithms()) {
            const Verdict verdict = check.run({algorithm});
            CHECK_MESSAGE(verdict.failure.empty(), verdict.failure);
            CHECK((!verdict.refused || depends_on_isa(algorithm)));
          }
        }
      }
    }
  }

  TEST_CASE("3 x 3 x 10 x 10 with stride 1: naive against strided") {
    Tensor x(Layout::nchw, {3, 3, 10, 10});
    Tensor weights(Layout::nchw, {3, 3, 3, 3});
    fill_floats(x.view(), 1);
    fill_floats(weights.view(), 2);
    const Tensor o1(Layout::nchw, {3, 3, 8, 8});
    const Tensor o2(Layout::nchw, {3, 3, 8, 8});
    LayerOptions options;
    options.algorithm = Algorithm::naive;
    REQUIRE(conv2d(x.view(), weights.view(), nullptr, o1.view(), 1, 0, 1, 1, PaddingMode::zeros,
                   options)
                .ok());
    options.algorithm = Algorithm::strided;
    REQUIRE(conv2d(x.view(), weights.view(), nullptr, o2.view(), 1, 0, 1, 1, PaddingMode::zeros,
                   options)
                .ok());
    // Both sum the same 27 products in double, in the same order.
    const Difference difference = compare_bits(o1.view(), o2.view());
    CHECK_MESSAGE(difference.none(), difference.text());
  }

  TEST_CASE("conv2d takes stride as one number or a pair") {
    const std::vector<float> x = ramp(16);
    const std::vector<float> weights{1.0F, 10.0F};
    const ConstTensorView image = nchw(x.data(), 1, 1, 4, 4);
    const ConstTensorView kernel = oihw(weights.data(), 1, 1, 1, 2);
    std::vector<float> y(4);
    REQUIRE(conv2d(image, kernel, nullptr, nchw(y.data(), 1, 1, 2, 2), 2).ok());
    CHECK(y == std::vector<float>{21, 43, 109, 131});
    REQUIRE(conv2d(image, kernel, nullptr, nchw(y.data(), 1, 1, 2, 2), {3, 2}).ok());
    CHECK(y == std::vector<float>{21, 43, 153, 175});
    const float bias = 0.5F;
    REQUIRE(conv2d(image, kernel, &bias, nchw(y.data(), 1, 1, 4, 1), {1, 9}).ok());
    CHECK(y == std::vector<float>{21.5, 65.5, 109.5, 153.5});
  }

  TEST_CASE("channels must match, and both numbers are named") {
    const std::vector<float> x(5 * 16), weights(7 * 3 * 4);
    std::vector<float> y(7 * 9);
    const Status status = conv2d(nchw(x.data(), 1, 5, 4, 4), oihw(weights.data(), 7, 3, 2, 2),
                                 nullptr, nchw(y.data(), 1, 7, 3, 3));
    CHECK(status.code() == StatusCode::shape_mismatch);
    CHECK(std::string(status.message()).find("x: has 5 channels") == 0);
    CHECK(std::string(status.message()).find("for 3 in each of 1 groups") != std::string::npos);
  }
}

}  // namespace fastconv::testing
