// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fastconv/descriptor.hpp>
#include <fastconv/view.hpp>
#include <string>
#include <vector>

namespace fastconv::testing {

// What a comparison of two tensors found.
struct Difference {
  std::int64_t elements = 0;
  std::int64_t differing = 0;
  Dims<4> first{};  // where the first one differs
  float got = 0.0F;
  float expected = 0.0F;
  double allowed = 0.0;

  bool none() const noexcept { return differing == 0; }
  // "3 of 48 elements differ, the first at (0, 1, 2, 3): got 5, expected 6", or "none".
  std::string text() const;
};

// Equal as numbers. A NaN differs from everything, another NaN included, so that a result that was
// never computed does not pass. Different shapes differ everywhere.
Difference compare_exact(const ConstTensorView& got, const ConstTensorView& expected);

// Equal as numbers, or both NaN: for results in which a NaN is right.
Difference compare_special(const ConstTensorView& got, const ConstTensorView& expected);

// Within a bound for each element, in the order N, C, H, W; NaN as above.
Difference compare_within(const ConstTensorView& got, const ConstTensorView& expected,
                          const std::vector<double>& bounds);

// The same bits, save that any NaN is as good as another: for what has to be reproducible.
Difference compare_bits(const ConstTensorView& got, const ConstTensorView& expected);

// Element by element of y: sum |x||w| + |bias|. `x` is padded already.
std::vector<double> magnitudes(const Conv2d& unpadded, const ConstTensorView& x,
                               const ConstTensorView& weights, const float* bias);

// gamma(n) = n*u / (1 - n*u), u = 2^-24, for the n = C/groups*R*S + 1 roundings of an element.
double gamma_of(const Conv2d& conv) noexcept;

// How far apart two float results of one convolution may be, element by element of y.
//
// Each of the C/groups*R*S products takes part in at most that many additions and one rounding of
// its own, whatever the order of summation, so a result is off by at most gamma(n) * sum |x||w| +
// |bias|, where n = C/groups*R*S + 1 (Higham, Accuracy and Stability of Numerical
// Algorithms, section 3.1). Two results: twice that. `x` is padded already.
std::vector<double> error_bounds(const Conv2d& unpadded, const ConstTensorView& x,
                                 const ConstTensorView& weights, const float* bias);

}  // namespace fastconv::testing
