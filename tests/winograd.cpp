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

struct Matrices {
  Matrix input;    // B^T, (m + 2) x (m + 2)
  Matrix weights;  // G, (m + 2) x 3
  Matrix output;   // A^T, m x (m + 2)
};

template <int M>
Matrices matrices() {
  using T = Winograd<M, Doubles>;
  constexpr int P = M + 2;
  static_assert(P <= kLargestSide);
  Matrices result;
  result.input.rows = result.input.columns = result.weights.rows = result.output.columns = P;
  result.weights.columns = 3;
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
  for (int j = 0; j < 3; ++j) {
    double column[P];
    T::weights(j == 0 ? 1.0 : 0.0, j == 1 ? 1.0 : 0.0, j == 2 ? 1.0 : 0.0, column);
    for (int i = 0; i < P; ++i) result.weights.entries[i][j] = std::fabs(column[i]);
  }
  return result;
}

Matrices matrices_of(int m) {
  return m == 2 ? matrices<2>() : m == 4 ? matrices<4>() : matrices<6>();
}

// |matrix| block |matrix|^T for a block without signs; many entries of a matrix are 0.
void spread(const Matrix& matrix, const double* block, double* result) {
  double half[kLargestSide][kLargestSide] = {};
  for (std::int64_t i = 0; i < matrix.rows; ++i) {
    for (std::int64_t k = 0; k < matrix.columns; ++k) {
      const double entry = matrix.entries[i][k];
      if (entry == 0.0) continue;
      for (std::int64_t j = 0; j < matrix.columns; ++j) {
        half[i][j] += entry * block[k * matrix.columns + j];
      }
    }
  }
  std::fill_n(result, matrix.rows * matrix.rows, 0.0);
  for (std::int64_t j = 0; j < matrix.rows; ++j) {
    for (std::int64_t k = 0; k < matrix.columns; ++k) {
      const double entry = matrix.entries[j][k];
      if (entry == 0.0) continue;
      for (std::int64_t i = 0; i < matrix.rows; ++i) {
        result[i * matrix.rows + j] += half[i][k] * entry;
      }
    }
  }
}

double magnitude_at(const ConstTensorView& view, const Dims<4>& index) {
  return std::fabs(static_cast<double>(at(view, index)));
}

}  // namespace

std::vector<double> winograd_error_bounds(const Conv2d& d, const ConstTensorView& x,
                                          const ConstTensorView& weights, int m) {
  const Matrices matrices = matrices_of(m);
  const std::int64_t side = m + 2, points = side * side;
  const std::int64_t channels = weights.shape[1];
  const std::int64_t out_channels = weights.shape[0];
  const std::int64_t dh = d.dilation.h, dw = d.dilation.w;
  const std::int64_t oh = x.shape[2] - 2 * dh, ow = x.shape[3] - 2 * dw;
  // Transformed weights and, of one tile, inputs: `points` numbers for each channel.
  std::vector<double> u(static_cast<std::size_t>(out_channels * channels * points));
  std::vector<double> v(static_cast<std::size_t>(channels * points));
  double block[kLargestSide * kLargestSide];
  for_each_index({1, 1, out_channels, channels}, [&](const Dims<4>& i) {
    for_each_index({1, 1, 3, 3}, [&](const Dims<4>& tap) {
      block[tap[2] * 3 + tap[3]] = magnitude_at(weights, {i[2], i[3], tap[2], tap[3]});
    });
    spread(matrices.weights, block, u.data() + (i[2] * channels + i[3]) * points);
  });
  // A chain over the channels, and for each of the six passes of the transforms less than 2 m + 2
  // roundings, those of its constants included.
  const double nu = (static_cast<double>(channels) + 6.0 * (2.0 * m + 2.0)) * 0x1p-24;
  const double gamma = nu / (1.0 - nu);
  std::vector<double> bounds(static_cast<std::size_t>(x.shape[0] * out_channels * oh * ow));
  const std::int64_t groups = d.groups;
  // Dilated, the tiles of a grid of images.
  const std::int64_t tile_rows = (oh + m * dh - 1) / (m * dh);
  const std::int64_t tile_columns = (ow + m * dw - 1) / (m * dw);
  for_each_index({x.shape[0], groups, tile_rows * dh, tile_columns * dw}, [&](const Dims<4>& t) {
    const std::int64_t top = t[2] % dh + t[2] / dh * m * dh;
    const std::int64_t left = t[3] % dw + t[3] / dw * m * dw;
    if (top >= oh || left >= ow) return;
    for (std::int64_t c = 0; c < channels; ++c) {
      for_each_index({1, 1, side, side}, [&](const Dims<4>& i) {
        const std::int64_t h = top + i[2] * dh, w = left + i[3] * dw;
        const bool inside = h < x.shape[2] && w < x.shape[3];
        block[i[2] * side + i[3]] =
            inside ? magnitude_at(x, {t[0], t[1] * channels + c, h, w}) : 0.0;
      });
      spread(matrices.input, block, v.data() + c * points);
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
      spread(matrices.output, block, y);
      for_each_index({1, 1, std::min<std::int64_t>(m, (oh - top + dh - 1) / dh),
                      std::min<std::int64_t>(m, (ow - left + dw - 1) / dw)},
                     [&](const Dims<4>& i) {
                       const std::int64_t h = top + i[2] * dh, w = left + i[3] * dw;
                       const std::int64_t position = ((t[0] * out_channels + k) * oh + h) * ow + w;
                       bounds[static_cast<std::size_t>(position)] = gamma * y[i[2] * m + i[3]];
                     });
    }
  });
  return bounds;
}

}  // namespace fastconv::testing
