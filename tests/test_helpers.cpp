// SPDX-License-Identifier: Apache-2.0
// same_padding and fold_batch_norm, and geometry that other libraries leave out: one row, padding
// beyond the kernel.
#include <doctest/doctest.h>

#include <cmath>
#include <fastconv/fastconv.hpp>
#include <string>
#include <vector>

#include "check.hpp"
#include "compare.hpp"
#include "sweep.hpp"

namespace fastconv::testing {

TEST_SUITE("helpers") {
  TEST_CASE("same padding by ONNX's formula, upper and lower") {
    // total = max((ceil(size / stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    const struct {
      std::int64_t size, kernel, stride, dilation, total;
    } cases[] = {
        {5, 3, 1, 1, 2},  {5, 1, 1, 1, 0},  {5, 2, 1, 1, 1}, {5, 4, 1, 1, 3},   {6, 3, 2, 1, 1},
        {5, 3, 2, 1, 2},  {7, 7, 2, 1, 6},  {8, 7, 2, 1, 5}, {224, 7, 2, 1, 5}, {224, 3, 2, 1, 1},
        {10, 2, 2, 1, 0}, {9, 2, 2, 1, 1},  {9, 1, 3, 1, 0}, {10, 1, 3, 1, 0},  {5, 3, 1, 2, 4},
        {5, 2, 1, 3, 3},  {10, 5, 3, 1, 4}, {4, 9, 1, 1, 8}, {1, 3, 5, 1, 2},   {7, 3, 4, 2, 2},
    };
    for (const auto& a : cases) {
      for (const auto& b : cases) {
        const Pair kernel(a.kernel, b.kernel), stride(a.stride, b.stride),
            dilation(a.dilation, b.dilation);
        CAPTURE(a.size);
        CAPTURE(a.kernel);
        CAPTURE(a.stride);
        Padding upper, lower;
        REQUIRE(same_padding(kernel, stride, dilation, a.size, b.size, upper).ok());
        REQUIRE(same_padding(kernel, stride, dilation, a.size, b.size, lower, true).ok());
        // SAME_UPPER puts an odd row or column at the end, SAME_LOWER at the beginning.
        CHECK(upper.top == a.total / 2);
        CHECK(upper.bottom == a.total - a.total / 2);
        CHECK(upper.left == b.total / 2);
        CHECK(upper.right == b.total - b.total / 2);
        CHECK(lower.top == upper.bottom);
        CHECK(lower.bottom == upper.top);
        CHECK(lower.left == upper.right);
        CHECK(lower.right == upper.left);
        Pair output;
        REQUIRE(output_size({kernel, stride, upper, dilation}, a.size, b.size, output).ok());
        CHECK(output.h == (a.size + a.stride - 1) / a.stride);
        CHECK(output.w == (b.size + b.stride - 1) / b.stride);
      }
    }
  }

  TEST_CASE("same padding by PyTorch's formula at stride 1, even kernels too") {
    // total = dilation * (kernel - 1), left = total / 2, right = total - left
    for (std::int64_t kernel = 1; kernel <= 8; ++kernel) {
      for (std::int64_t dilation = 1; dilation <= 3; ++dilation) {
        Padding padding;
        REQUIRE(same_padding(kernel, 1, dilation, 30, 40, padding).ok());
        const std::int64_t total = dilation * (kernel - 1);
        CHECK(padding.left == total / 2);
        CHECK(padding.right == total - total / 2);
        CHECK(padding.top == padding.left);
        CHECK(padding.bottom == padding.right);
      }
    }
  }

  TEST_CASE("same padding refuses what has no answer, and leaves the padding alone") {
    Padding padding = 7;
    CHECK(same_padding(0, 1, 1, 5, 5, padding).code() == StatusCode::invalid_argument);
    CHECK(same_padding(3, 0, 1, 5, 5, padding).code() == StatusCode::invalid_argument);
    CHECK(same_padding(3, 1, -1, 5, 5, padding).code() == StatusCode::invalid_argument);
    CHECK(same_padding(3, 1, 1, 0, 5, padding).code() == StatusCode::invalid_argument);
    CHECK(same_padding(3, 1, 1, 5, -5, padding).code() == StatusCode::invalid_argument);
    CHECK(same_padding(INT64_MAX, 1, INT64_MAX, 5, 5, padding).code() == StatusCode::overflow);
    CHECK(padding.top == 7);
    CHECK(padding.right == 7);
  }

  TEST_CASE("batch normalisation folded in equals batch normalisation behind") {
    const Tensor x(Layout::nchw, {2, 6, 7, 8}), y(Layout::nchw, {2, 10, 5, 7});
    const Tensor plain(Layout::nchw, {2, 10, 5, 7});
    fill_floats(x.view(), 1);
    std::vector<float> gamma(10), beta(10), mean(10), variance(10);
    for (std::size_t k = 0; k < 10; ++k) {
      const auto i = static_cast<float>(k);
      gamma[k] = 0.5F - 0.2F * i;
      beta[k] = i - 3.0F;
      mean[k] = 0.1F * i;
      variance[k] = k == 0 ? 0.0F : 0.3F * i;
    }
    LayerOptions naive;
    naive.algorithm = Algorithm::naive;
    for (const Layout layout : {Layout::nchw, Layout::nhwc, Layout::flipped, Layout::crop}) {
      for (const bool affine : {true, false}) {
        const Tensor weights(layout, {10, 3, 3, 2}), bias(Layout::nchw, {1, 10, 1, 1});
        fill_floats(weights.view(), 2);
        fill_floats(bias.view(), 3);
        const auto convolve = [&](const Tensor& out) {
          return conv2d(x.view(), weights.view(), bias.view().data, out.view(), 1, 0, 1, 2,
                        PaddingMode::zeros, naive);
        };
        REQUIRE(convolve(plain).ok());
        const Status status =
            fold_batch_norm(weights.bounded(), bias.view().data, affine ? gamma.data() : nullptr,
                            affine ? beta.data() : nullptr, mean.data(), variance.data(), 1e-3F);
        REQUIRE_MESSAGE(status.ok(), text(status));
        CHECK(weights.gaps_are_untouched());
        REQUIRE(convolve(y).ok());
        for_each_index(y.view().shape, [&](const Dims<4>& i) {
          const auto k = static_cast<std::size_t>(i[1]);
          const double scale = (affine ? static_cast<double>(gamma[k]) : 1.0) /
                               std::sqrt(static_cast<double>(variance[k]) + 1e-3);
          const double expected =
              (static_cast<double>(at(plain.view(), i)) - static_cast<double>(mean[k])) * scale +
              (affine ? static_cast<double>(beta[k]) : 0.0);
          CHECK(static_cast<double>(at(y.view(), i)) == doctest::Approx(expected).epsilon(1e-5));
        });
      }
    }
  }

  TEST_CASE("batch normalisation refuses what it cannot fold, and changes nothing") {
    std::vector<float> weights(6, 2.0F), bias(2, 3.0F), mean(2), variance{1.0F, -1.0F};
    const TensorView view = oihw(weights.data(), 2, 3, 1, 1);
    const auto fold = [&](const TensorView& w, float* b, const float* m, const float* v) {
      return fold_batch_norm(w, b, nullptr, nullptr, m, v).code();
    };
    CHECK(fold(view, bias.data(), mean.data(), variance.data()) == StatusCode::invalid_argument);
    variance[1] = NAN;
    CHECK(fold(view, bias.data(), mean.data(), variance.data()) == StatusCode::invalid_argument);
    variance[1] = 1.0F;
    CHECK(fold(view, nullptr, mean.data(), variance.data()) == StatusCode::invalid_argument);
    CHECK(fold(view, bias.data(), nullptr, variance.data()) == StatusCode::invalid_argument);
    CHECK(fold(view, bias.data(), mean.data(), nullptr) == StatusCode::invalid_argument);
    TensorView wrong = view;
    wrong.strides[1] = 0;
    CHECK(fold(wrong, bias.data(), mean.data(), variance.data()) == StatusCode::overlap);
    CHECK(fold(view.within(weights.data(), 5), bias.data(), mean.data(), variance.data()) ==
          StatusCode::out_of_bounds);
    CHECK(weights == std::vector<float>(6, 2.0F));
    CHECK(bias == std::vector<float>(2, 3.0F));
    // Outputs share memory with nothing, but an input may be the bias.
    CHECK(fold(view, weights.data() + 4, mean.data(), variance.data()) == StatusCode::overlap);
    CHECK(fold(view, bias.data(), weights.data(), variance.data()) == StatusCode::overlap);
    std::vector<float> three(3, 1.0F);
    CHECK(fold(view, three.data(), three.data() + 1, variance.data()) == StatusCode::overlap);
    CHECK(three == std::vector<float>(3, 1.0F));
    CHECK(weights == std::vector<float>(6, 2.0F));
    CHECK(fold(view, three.data(), three.data(), variance.data()) == StatusCode::ok);
  }

  TEST_CASE("one row: 1-D convolution") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const std::int64_t kernel : {1, 2, 5, 9}) {
      for (const std::int64_t stride : {1, 2, 3}) {
        for (const std::int64_t dilation : {1, 2}) {
          Conv2d conv;
          conv.in_channels = 6;
          conv.out_channels = 18;
          conv.groups = seed % 3 == 2 ? 6 : 1;
          conv.kernel_size = {1, kernel};
          conv.stride = {1, stride};
          conv.dilation = {1, dilation};
          conv.padding = {0, 0, kernel / 2, kernel - 1};
          for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
            sweep.run(problem_of(conv, 2, 1, 61), layout, Fill::integers, ++seed);
          }
        }
      }
    }
  }

  TEST_CASE("padding larger than the kernel") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const Padding& padding : {Padding(5), Padding(4, 0, 7, 3), Padding(0, 9, 0, 2)}) {
      for (const Pair kernel : {Pair(1), Pair(3), Pair(2, 3)}) {
        for (const Pair stride : {Pair(1), Pair(2), Pair(3, 1)}) {
          Conv2d conv;
          conv.in_channels = 5;
          conv.out_channels = 9;
          conv.kernel_size = kernel;
          conv.stride = stride;
          conv.padding = padding;
          for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
            sweep.run(problem_of(conv, 1, 3, 4), layout, Fill::integers, ++seed);
          }
        }
      }
    }
  }
}

}  // namespace fastconv::testing
