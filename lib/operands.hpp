// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "../kernels/table.hpp"
#include "integers.hpp"

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

  // Where the panels of a group begin, or its lanes of a merged one, which then holds whole groups.
  const float* weights_of(std::int64_t lane, std::int64_t depth) const noexcept {
    const std::int64_t in_panel = lane % table.nr();
    return weights + (lane - in_panel) * depth + in_panel;
  }
  // May what is multiplied with padding be left out? It adds nothing to a sum.
  bool skips_padding() const noexcept {
    return finite && problem.window.padding_mode == PaddingMode::zeros;
  }
};

// Reads a float of each line of x under some rows and columns of outputs from `first` on, of all
// channels, in their order.
void read_lines(const Operands& operands, std::int64_t n, const Pair& first,
                const Pair& outputs) noexcept;

// Has the tiles over `rows` rows, of which `tile` are those of one height from `row` on, fetch
// `next`, a panel of `depth` steps of `nr`, each a part of it: the first one alone would wait for
// it where L3 is slow (512 to 1024 channels 3x3 stride 2 at 13x13, NHWC, 12.1 -> 10.3 ms, Xeon,
// AVX-512).
inline void share_fetch(const float* next, std::int64_t depth, std::int64_t nr, std::int64_t row,
                        std::int64_t height, std::int64_t rows, TileArguments& tile) noexcept {
  if (next == tile.b) return;  // it is the only one
  tile.fetch = next + depth * nr * row / rows;
  tile.fetch_step = ceil_div(nr * height, rows);
  tile.fetch_part = depth * tile.fetch_step;
}

}  // namespace fastconv
