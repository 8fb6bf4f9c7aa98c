// SPDX-License-Identifier: Apache-2.0
#include "compare.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "tensors.hpp"

namespace fastconv::testing {
namespace {

// Agreement of two numbers at one position in the order N, C, H, W.
template <class Agree>
Difference compare(const ConstTensorView& got, const ConstTensorView& expected,
                   const std::vector<double>* bounds, Agree agree) {
  Difference result;
  std::size_t position = 0;
  if (got.shape != expected.shape) {
    result.elements = result.differing = -1;
    return result;
  }
  for_each_index(got.shape, [&](const Dims<4>& i) {
    const double allowed = bounds != nullptr ? bounds->at(position) : 0.0;
    const float a = at(got, i);
    const float b = at(expected, i);
    if (!agree(a, b, allowed) && result.differing++ == 0) {
      result.first = i;
      result.got = a;
      result.expected = b;
      result.allowed = allowed;
    }
    ++position;
  });
  result.elements = static_cast<std::int64_t>(position);
  return result;
}

}  // namespace

std::string Difference::text() const {
  if (differing < 0) return "the shapes differ";
  if (differing == 0) return "none";
  char text[320];
  std::snprintf(text, sizeof text,
                "%lld of %lld elements differ, the first at (%lld, %lld, %lld, %lld): got %.9g, "
                "expected %.9g",
                static_cast<long long>(differing), static_cast<long long>(elements),
                static_cast<long long>(first[0]), static_cast<long long>(first[1]),
                static_cast<long long>(first[2]), static_cast<long long>(first[3]),
                static_cast<double>(got), static_cast<double>(expected));
  std::string result = text;
  if (allowed > 0.0) {
    std::snprintf(text, sizeof text, ", off by %.3g where %.3g is allowed",
                  std::fabs(static_cast<double>(got) - static_cast<double>(expected)), allowed);
    result += text;
  }
  return result;
}

Difference compare_exact(const ConstTensorView& got, const ConstTensorView& expected) {
  return compare(got, expected, nullptr, [](float a, float b, double) { return a == b; });
}

Difference compare_special(const ConstTensorView& got, const ConstTensorView& expected) {
  return compare(got, expected, nullptr, [](float a, float b, double) {
    return a == b || (std::isnan(a) && std::isnan(b));
  });
}

Difference compare_within(const ConstTensorView& got, const ConstTensorView& expected,
                          const std::vector<double>& bounds) {
  return compare(got, expected, &bounds, [](float a, float b, double allowed) {
    return std::fabs(static_cast<double>(a) - static_cast<double>(b)) <= allowed;
  });
}

Difference compare_bits(const ConstTensorView& got, const ConstTensorView& expected) {
  return compare(got, expected, nullptr, [](float a, float b, double) {
    return (std::isnan(a) && std::isnan(b)) || std::memcmp(&a, &b, sizeof a) == 0;
  });
}

double gamma_of(const Conv2d& d) noexcept {
  const double nu =
      static_cast<double>(d.in_channels / d.groups * d.kernel_size.h * d.kernel_size.w + 1) *
      0x1p-24;
  return nu / (1.0 - nu);
}

std::vector<double> error_bounds(const Conv2d& d, const ConstTensorView& x,
                                 const ConstTensorView& weights, const float* bias) {
  std::vector<double> bounds = magnitudes(d, x, weights, bias);
  for (double& bound : bounds) bound *= 2.0 * gamma_of(d);
  return bounds;
}

std::vector<double> magnitudes(const Conv2d& d, const ConstTensorView& x,
                               const ConstTensorView& weights, const float* bias) {
  const std::int64_t channels = weights.shape[1];
  const Pair kernel = d.kernel_size;
  const std::int64_t oh = (x.shape[2] - d.dilation.h * (kernel.h - 1) - 1) / d.stride.h + 1;
  const std::int64_t ow = (x.shape[3] - d.dilation.w * (kernel.w - 1) - 1) / d.stride.w + 1;
  std::vector<double> result(static_cast<std::size_t>(x.shape[0] * weights.shape[0] * oh * ow));
  double* sums = result.data();
  for_each_index({x.shape[0], weights.shape[0], 1, 1}, [&](const Dims<4>& i) {
    const std::int64_t first_channel = i[1] / (d.out_channels / d.groups) * channels;
    const double start = bias != nullptr ? std::fabs(static_cast<double>(bias[i[1]])) : 0.0;
    std::fill_n(sums, oh * ow, start);
    for_each_index({1, channels, kernel.h, kernel.w}, [&](const Dims<4>& tap) {
      const auto weight = static_cast<double>(at(weights, {i[1], tap[1], tap[2], tap[3]}));
      const std::int64_t step = d.stride.w * x.strides[3];
      for (std::int64_t row = 0; row < oh; ++row) {
        const float* pixel =
            x.data +
            offset_of(x.strides, {i[0], first_channel + tap[1],
                                  row * d.stride.h + tap[2] * d.dilation.h, tap[3] * d.dilation.w});
        for (std::int64_t column = 0; column < ow; ++column) {
          sums[row * ow + column] += std::fabs(static_cast<double>(pixel[column * step]) * weight);
        }
      }
    });
    sums += oh * ow;
  });
  return result;
}

}  // namespace fastconv::testing
