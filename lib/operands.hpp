// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "../kernels/table.hpp"

namespace fastconv {

// Of results that are staged, and finished on their way to y.
constexpr Epilogue kNoEpilogue;

// What every algorithm of the engine computes with.
struct Operands {
  const Problem& problem;
  const KernelTable& table;
  const float* x;
  const float* weights;          // panels
  std::int64_t lanes_per_group;  // lanes of the panels from one group of the problem to the next
  bool finite;                   // known of all of them: none makes more of a zero than a zero
  const float* bias;             // by lane, or null
  float* y;
  const float* residual;  // or null
  Dims<4> residual_strides;
  const Epilogue& epilogue;
  const float* transformed = nullptr;  // Winograd's weights, if the layer owns them
  const float* narrow = nullptr;       // or null: panels of a group's few channels alone

  // May what is multiplied with padding be left out? It adds nothing to a sum.
  bool skips_padding() const noexcept {
    return finite && problem.window.padding_mode == PaddingMode::zeros;
  }
};

}  // namespace fastconv
