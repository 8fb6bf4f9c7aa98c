// SPDX-License-Identifier: Apache-2.0
#include "winograd.hpp"

#include <algorithm>
#include <cmath>

#define FASTCONV_LEVEL testing
#define FASTCONV_PORTABLE_VECTORS
#include "../kernels/winograd_transforms.hpp"
#include "tensors.hpp"

namespace fastconv::testing {
namespace {

constexpr int kLargestSide = 8;

struct Doubles {
  static double fma(double a, double b, double c) noexcept { return a * b + c; }
  static double multiply(double a, double b) noexcept { return a * b; }
};

// The magnitudes of a transform's entries: what a block may grow to is sums of products of these.
struct Matrix {
  std::int64_t rows = 0, columns = 0;
  double entries[kLargestSide][kLargestSide] = {};
};

// Of one axis.
struct Matrices {
  std::int64_t m = 1;
  Matrix input;    // B^T, (m + r - 1) x (m + r - 1)
  Matrix weights;  // G, (m + r - 1) x r
  Matrix output;   // A^T, m x (m + r - 1)
};

template <int M, int R>
Matrices matrices() {
  using T = Winograd<M, R, Doubles>;
  constexpr int P = M + R - 1;
  static_assert(P <= kLargestSide);
  Matrices result;
  result.m = M;
  result.input.rows = result.input.columns = result.weights.rows = result.output.columns = P;
  result.weights.columns = R;
  result.output.rows = M;
  for (int j = 0; j < P; ++j) {
    double unit[P] = {};
    unit[j] = 1.0;
    double m[P] = {};
    m[j] = 1.0;
    T::input(unit);
    T::output(m);
    for (int i = 0; i < P; ++i) result.input.entries[i][j] = std::fabs(unit[i]);
    for (int i = 0; i < M; ++i) result.output.entries[i][j] = std::fabs(m[i]);
  }
  for (int j = 0; j < R; ++j) {
    double taps[R] = {};
    taps[j] = 1.0;
    double column[P];
    T::weights(taps, column);
    for (int i = 0; i < P; ++i) result.weights.entries[i][j] = std::fabs(column[i]);
  }
  return result;
}

Matrices matrices_of(int m, std::int64_t kernel) {
  if (kernel == 1) {
    Matrices none;
    for (Matrix* matrix : {&none.input, &none.weights, &none.output}) {
      matrix->rows = matrix->columns = 1;
      matrix->entries[0][0] = 1.0;
    }
    return none;
  }
  if (kernel == 5) return matrices<2, 5>();
  return m == 2 ? matrices<2, 3>() : m == 4 ? matrices<4, 3>() : matrices<6, 3>();
}

// |left| block |right|^T for a block without signs; many entries of a matrix are 0.
void spread(const Matrix& left, const double* block, const Matrix& right, double* result) {
  double half[kLargestSide][kLargestSide] = {};
  for (std::int64_t i = 0; i < left.rows; ++i) {
    for (std::int64_t k = 0; k < left.columns; ++k) {
      const double entry = left.entries[i][k];
      if (entry == 0.0) continue;
      for (std::int64_t j = 0; j < right.columns; ++j) {
        half[i][j] += entry * block[k * right.columns + j];
      }
    }
  }
  std::fill_n(result, left.rows * right.rows, 0.0);
  for (std::int64_t j = 0; j < right.rows; ++j) {
    for (std::int64_t k = 0; k < right.columns; ++k) {
      const double entry = right.entries[j][k];
      if (entry == 0.0) continue;
      for (std::int64_t i = 0; i < left.rows; ++i) {
        result[i * right.rows + j] += half[i][k] * entry;
      }
    }
  }
}

double magnitude_at(const ConstTensorView& view, const Dims<4>& index) {
  return std::fabs(static_cast<double>(at(view, index)));
}

}  // namespace

std::vector<double> winograd_error_bounds(const Conv2d& d, const ConstTensorView& padded,
                                          const ConstTensorView& weights, int m) {
  // Strides, which divide dilations, leave out rows and columns.
  ConstTensorView x = padded;
  const auto leave_out = [&](std::size_t axis, std::int64_t step) {
    x.shape[axis] = (x.shape[axis] + step - 1) / step;
    x.strides[axis] *= step;
  };
  leave_out(2, d.stride.h);
  leave_out(3, d.stride.w);
  const Pair kernel = d.kernel_size;
  const Matrices rows = matrices_of(m, kernel.h), columns = matrices_of(m, kernel.w);
  const Pair size{rows.m, columns.m};
  const Pair side{size.h + kernel.h - 1, size.w + kernel.w - 1};
  const std::int64_t points = side.h * side.w;
  const std::int64_t channels = weights.shape[1];
  const std::int64_t out_channels = weights.shape[0];
  const std::int64_t dh = d.dilation.h / d.stride.h, dw = d.dilation.w / d.stride.w;
  const std::int64_t oh = x.shape[2] - (kernel.h - 1) * dh;
  const std::int64_t ow = x.shape[3] - (kernel.w - 1) * dw;
  // Transformed weights and, of one tile, inputs: `points` numbers for each channel.
  std::vector<double> u(static_cast<std::size_t>(out_channels * channels * points));
  std::vector<double> v(static_cast<std::size_t>(channels * points));
  double block[kLargestSide * kLargestSide];
  for_each_index({1, 1, out_channels, channels}, [&](const Dims<4>& i) {
    for_each_index({1, 1, kernel.h, kernel.w}, [&](const Dims<4>& tap) {
      block[tap[2] * kernel.w + tap[3]] = magnitude_at(weights, {i[2], i[3], tap[2], tap[3]});
    });
    spread(rows.weights, block, columns.weights, u.data() + (i[2] * channels + i[3]) * points);
  });
  // A chain over the channels, and for each of the passes of the transforms less than twice their
  // points in roundings, those of its constants included.
  const auto passes =
      static_cast<double>((kernel.h > 1 ? side.h : 0) + (kernel.w > 1 ? side.w : 0));
  const double nu = (static_cast<double>(channels) + 6.0 * passes) * 0x1p-24;
  const double gamma = nu / (1.0 - nu);
  std::vector<double> bounds(static_cast<std::size_t>(x.shape[0] * out_channels * oh * ow));
  const std::int64_t groups = d.groups;
  // Dilated, the tiles of a grid of images.
  const std::int64_t tile_rows = (oh + size.h * dh - 1) / (size.h * dh);
  const std::int64_t tile_columns = (ow + size.w * dw - 1) / (size.w * dw);
  for_each_index({x.shape[0], groups, tile_rows * dh, tile_columns * dw}, [&](const Dims<4>& t) {
    const std::int64_t top = t[2] % dh + t[2] / dh * size.h * dh;
    const std::int64_t left = t[3] % dw + t[3] / dw * size.w * dw;
    if (top >= oh || left >= ow) return;
    for (std::int64_t c = 0; c < channels; ++c) {
      for_each_index({1, 1, side.h, side.w}, [&](const Dims<4>& i) {
        const std::int64_t h = top + i[2] * dh, w = left + i[3] * dw;
        const bool inside = h < x.shape[2] && w < x.shape[3];
        block[i[2] * side.w + i[3]] =
            inside ? magnitude_at(x, {t[0], t[1] * channels + c, h, w}) : 0.0;
      });
      spread(rows.input, block, columns.input, v.data() + c * points);
    }
    for (std::int64_t k = t[1] * out_channels / groups; k < (t[1] + 1) * out_channels / groups;
         ++k) {
      const double* weight = u.data() + k * channels * points;
      std::fill_n(block, points, 0.0);
      for (std::int64_t c = 0; c < channels; ++c) {
        for (std::int64_t i = 0; i < points; ++i) {
          block[i] += weight[c * points + i] * v[static_cast<std::size_t>(c * points + i)];
        }
      }
      double y[kLargestSide * kLargestSide];
      spread(rows.output, block, columns.output, y);
      for_each_index({1, 1, std::min(size.h, (oh - top + dh - 1) / dh),
                      std::min(size.w, (ow - left + dw - 1) / dw)},
                     [&](const Dims<4>& i) {
                       const std::int64_t h = top + i[2] * dh, w = left + i[3] * dw;
                       const std::int64_t position = ((t[0] * out_channels + k) * oh + h) * ow + w;
                       bounds[static_cast<std::size_t>(position)] = gamma * y[i[2] * size.w + i[3]];
                     });
    }
  });
  return bounds;
}

}  // namespace fastconv::testing
