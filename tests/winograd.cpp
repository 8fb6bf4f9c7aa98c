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

struct Doubles {
  static double fma(double a, double b, double c) noexcept { return a * b + c; }
  static double multiply(double a, double b) noexcept { return a * b; }
};

template <int M>
WinogradMatrices matrices() {
  using T = Winograd<M, Doubles>;
  constexpr int P = M + 2;
  WinogradMatrices result;
  result.input.assign(P, std::vector<double>(P));
  result.weights.assign(P, std::vector<double>(3));
  result.output.assign(M, std::vector<double>(P));
  for (std::size_t j = 0; j < P; ++j) {
    double unit[P] = {};
    unit[j] = 1.0;
    double m[P] = {};
    m[j] = 1.0;
    T::input(unit);
    T::output(m);
    for (std::size_t i = 0; i < P; ++i) result.input[i][j] = unit[i];
    for (std::size_t i = 0; i < M; ++i) result.output[i][j] = m[i];
  }
  for (std::size_t j = 0; j < 3; ++j) {
    double column[P];
    T::weights(j == 0 ? 1.0 : 0.0, j == 1 ? 1.0 : 0.0, j == 2 ? 1.0 : 0.0, column);
    for (std::size_t i = 0; i < P; ++i) result.weights[i][j] = column[i];
  }
  return result;
}

// |matrix| |block| |matrix|^T.
std::vector<double> spread(const std::vector<std::vector<double>>& matrix,
                           const std::vector<double>& block) {
  const std::size_t rows = matrix.size();
  const std::size_t columns = matrix[0].size();
  std::vector<double> half(rows * columns), result(rows * rows);
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < columns; ++j) {
      for (std::size_t k = 0; k < columns; ++k) {
        half[i * columns + j] += std::fabs(matrix[i][k] * block[k * columns + j]);
      }
    }
  }
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < rows; ++j) {
      for (std::size_t k = 0; k < columns; ++k) {
        result[i * rows + j] += std::fabs(half[i * columns + k] * matrix[j][k]);
      }
    }
  }
  return result;
}

}  // namespace

WinogradMatrices winograd_matrices(int m) {
  return m == 2 ? matrices<2>() : m == 4 ? matrices<4>() : matrices<6>();
}

std::vector<double> winograd_error_bounds(const Conv2d& d, const ConstTensorView& x,
                                          const ConstTensorView& weights, int m) {
  const WinogradMatrices matrices = winograd_matrices(m);
  const std::int64_t side = m + 2;
  const auto points = static_cast<std::size_t>(side * side);
  const std::int64_t channels = weights.shape[1];
  const std::int64_t out_channels = weights.shape[0];
  const std::int64_t dh = d.dilation.h, dw = d.dilation.w;
  const std::int64_t oh = x.shape[2] - 2 * dh, ow = x.shape[3] - 2 * dw;
  std::vector<std::vector<double>> u;
  for (std::int64_t k = 0; k < out_channels; ++k) {
    for (std::int64_t c = 0; c < channels; ++c) {
      std::vector<double> g;
      for_each_index({1, 1, 3, 3}, [&](const Dims<4>& i) {
        g.push_back(std::fabs(static_cast<double>(at(weights, {k, c, i[2], i[3]}))));
      });
      u.push_back(spread(matrices.weights, g));
    }
  }
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
    std::vector<std::vector<double>> v;
    for (std::int64_t c = 0; c < channels; ++c) {
      std::vector<double> block;
      for_each_index({1, 1, side, side}, [&](const Dims<4>& i) {
        const std::int64_t h = top + i[2] * dh, w = left + i[3] * dw;
        const bool inside = h < x.shape[2] && w < x.shape[3];
        block.push_back(
            inside ? std::fabs(static_cast<double>(at(x, {t[0], t[1] * channels + c, h, w})))
                   : 0.0);
      });
      v.push_back(spread(matrices.input, block));
    }
    for (std::int64_t k = t[1] * out_channels / groups; k < (t[1] + 1) * out_channels / groups;
         ++k) {
      std::vector<double> sum(points);
      for (std::int64_t c = 0; c < channels; ++c) {
        const std::vector<double>& weight = u[static_cast<std::size_t>(k * channels + c)];
        for (std::size_t i = 0; i < points; ++i) {
          sum[i] += weight[i] * v[static_cast<std::size_t>(c)][i];
        }
      }
      const std::vector<double> y = spread(matrices.output, sum);
      for_each_index({1, 1, std::min<std::int64_t>(m, (oh - top + dh - 1) / dh),
                      std::min<std::int64_t>(m, (ow - left + dw - 1) / dw)},
                     [&](const Dims<4>& i) {
                       const std::int64_t h = top + i[2] * dh, w = left + i[3] * dw;
                       const std::int64_t position = ((t[0] * out_channels + k) * oh + h) * ow + w;
                       bounds[static_cast<std::size_t>(position)] =
                           gamma * y[static_cast<std::size_t>(i[2] * m + i[3])];
                     });
    }
  });
  return bounds;
}

}  // namespace fastconv::testing
