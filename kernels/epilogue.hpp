// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "activation.hpp"
#include "simd.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

template <class V, int Rows, int Vectors, class Offset>
FASTCONV_INLINE void add_residual(const float* residual, Offset offset, int last_lanes,
                                  V (&sum)[Rows][Vectors]) noexcept {
  if (residual == nullptr) return;
  FASTCONV_UNROLL
  for (int m = 0; m < Rows; ++m) {
    FASTCONV_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      const float* in = residual + offset(m) + v * V::width;
      const bool partial = v == Vectors - 1 && last_lanes < V::width;
      sum[m][v] = sum[m][v] + (partial ? V::load_first(in, last_lanes) : V::load(in));
    }
  }
}

template <class Arch, int Rows, int Vectors>
FASTCONV_INLINE void apply_activation(const Epilogue& epilogue,
                                      Vector<Arch> (&sum)[Rows][Vectors]) noexcept {
  using V = Vector<Arch>;
  switch (epilogue.activation) {
    case Activation::none:
      return;
    case Activation::relu:
    case Activation::clamp: {
      const bool relu = epilogue.activation == Activation::relu;
      const V low = V::broadcast(relu ? 0.0F : epilogue.alpha);
      const V high = V::broadcast(relu ? __builtin_inff() : epilogue.beta);
      FASTCONV_UNROLL
      for (int m = 0; m < Rows; ++m) {
        FASTCONV_UNROLL
        for (int v = 0; v < Vectors; ++v) sum[m][v] = V::clamp(sum[m][v], low, high);
      }
      return;
    }
    case Activation::leaky_relu: {
      const V slope = V::broadcast(epilogue.alpha);
      FASTCONV_UNROLL
      for (int m = 0; m < Rows; ++m) {
        FASTCONV_UNROLL
        for (int v = 0; v < Vectors; ++v) sum[m][v] = V::leaky(sum[m][v], slope);
      }
      return;
    }
    default: {
      float values[Rows * Vectors * V::width];
      FASTCONV_UNROLL
      for (int m = 0; m < Rows; ++m) {
        FASTCONV_UNROLL
        for (int v = 0; v < Vectors; ++v) sum[m][v].store(values + (m * Vectors + v) * V::width);
      }
      activate<Arch>(values, Rows * Vectors, epilogue.activation);
      FASTCONV_UNROLL
      for (int m = 0; m < Rows; ++m) {
        FASTCONV_UNROLL
        for (int v = 0; v < Vectors; ++v) {
          sum[m][v] = V::load(values + (m * Vectors + v) * V::width);
        }
      }
    }
  }
}

// What happens to a tile of sums, bias included, before its one store: residual and activation in
// the order that the epilogue asks for. Row m lies at y + y_offset(m) and residual +
// residual_offset(m); only `last_lanes` of its last vector are outputs.
template <class Arch, int Rows, int Vectors, class ResidualOffset, class Offset>
FASTCONV_INLINE void finish_tile(const Epilogue& epilogue, const float* residual,
                                 ResidualOffset residual_offset, float* y, Offset y_offset,
                                 int last_lanes, Vector<Arch> (&sum)[Rows][Vectors]) noexcept {
  constexpr int W = Vector<Arch>::width;
  for (int step = 0; step < 2; ++step) {
    if ((step == 1) == epilogue.residual_last) {
      add_residual(residual, residual_offset, last_lanes, sum);
    } else {
      apply_activation<Arch>(epilogue, sum);
    }
  }
  if (last_lanes == W) {
    FASTCONV_UNROLL
    for (int m = 0; m < Rows; ++m) {
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[m][v].store(y + y_offset(m) + v * W);
    }
  } else {
    FASTCONV_UNROLL
    for (int m = 0; m < Rows; ++m) {
      float* out = y + y_offset(m);
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors - 1; ++v) sum[m][v].store(out + v * W);
      sum[m][Vectors - 1].store_first(out + (Vectors - 1) * W, last_lanes);
    }
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
