// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fastconv/layer.hpp>

#include "problem.hpp"

namespace fastconv {

// What a correctness baseline computes with: a validated problem, its tensors, and the weights as
// dense (K, C/groups, R, S). All of them sum in double and round to float once, so that their error
// is below half a unit in the last place of the result plus a term of the order of 2^-53 times the
// sum of magnitudes: what every other algorithm is measured against. Padding taps multiply: a zero
// of the padding times an infinite weight is NaN, as the formula in descriptor.hpp has it.
struct BaselineArguments {
  const Problem& problem;
  const float* x;
  const float* weights;
  const float* bias;  // K elements, or null
  float* y;
  const float* residual;  // or null
  Dims<4> residual_strides;
  const Epilogue& epilogue;
};

// Bias, residual and activation in double, and the one store.
void finish(const BaselineArguments& arguments, double sum, std::int64_t n, std::int64_t k,
            std::int64_t oh, std::int64_t ow) noexcept;

// The notebook's naive_conv2d: seven loops.
void naive(const BaselineArguments& arguments) noexcept;

// The notebook's as_strided_conv2d: a sum over the last three axes of two views of shape
// (N, K, OH, OW, C/groups, R, S), one of x with stride 0 along K, one of the weights with stride 0
// along N, OH and OW. The notebook makes both views contiguous first, a gigabyte each at
// 1000 x 1000; here they are read through their strides.
void strided(const BaselineArguments& arguments) noexcept;

// The notebook's naive_im2col_conv2d and as_strided_im2col_conv2d: the im2col matrix of one image
// at a time in `matrix` (im2col_bytes), then weights as (K, C/groups*R*S) times that.
using Im2colFunction = void (*)(const Problem& problem, const float* image, float* matrix,
                                std::int64_t row_stride, std::int64_t column_stride);
void im2col_matmul(const BaselineArguments& arguments, Im2colFunction im2col,
                   float* matrix) noexcept;

std::int64_t im2col_bytes(const Problem& problem) noexcept;

// The im2col matrix (C*R*S, OH*OW) of one image: by loops, and gathered from the window view.
void im2col_loops(const Problem& problem, const float* image, float* matrix,
                  std::int64_t row_stride, std::int64_t column_stride) noexcept;
void im2col_gather(const Problem& problem, const float* image, float* matrix,
                   std::int64_t row_stride, std::int64_t column_stride) noexcept;

}  // namespace fastconv
