// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fastconv/layer.hpp>

#include "winograd.hpp"

namespace fastconv {

// Do a descriptor's groups lie side by side in the lanes of a level's vectors?
bool lies_in_lanes(const Conv2d& descriptor, const KernelTable& table) noexcept;

// What a layer owns: at the start of one allocation, the arrays behind it.
struct Layer::Packed {
  struct Layout;

  // At the start of as many bytes as the layout has. The bias may be null.
  Packed(const Layout& layout, const Conv2d& descriptor, const LayerOptions& options,
         const KernelTable& table, const ConstTensorView& weights, const float* bias) noexcept;

  std::uint64_t id;  // no other layer of this process ever has it
  Conv2d descriptor;
  LayerOptions options;
  const KernelTable* table;
  std::int64_t bytes;  // of the allocation
  // Panels of narrow groups are merged, or each would fill a few lanes of its own panel.
  bool merged;
  bool whole;  // and a panel holds whole groups, whose lanes of it a product can read
  std::int64_t lanes_per_group;
  float* weights = nullptr;                      // dense for the baselines, else panels
  float* narrow = nullptr;                       // or none: panels of a group's few channels alone
  bool finite = false;                           // weights, all of them, as far as padding asks
  PackedWinograd winograd[kWinogradCount] = {};  // by place in kWinogradVariants
  bool has_bias;                                 // of the caller's
  float* bias = nullptr;                         // or none; padded like the panels
};

// How the weights are packed and where, in bytes from the start of the allocation.
struct Layer::Packed::Layout {
  bool panels = false;  // or dense, of the baselines
  bool merged = false, whole = false;
  bool pads = false;             // with zeros, which weights that are not finite make NaN
  int nr = 1;                    // lanes of a panel
  std::int64_t groups = 1;       // that have panels of their own
  std::int64_t lanes = 0;        // of the panels of one
  std::int64_t elements = 0;     // of all panels
  std::int64_t panel_count = 0;  // of them
  std::int64_t tap = 0;          // floats of a panel under one tap
  std::int64_t behind = 0;       // floats that products read behind panels and bias
  int transformed = -1;          // the variant of Winograd whose weights are, or none
  PackedWinograd winograd[kWinogradCount] = {};
  bool keeps_bias = false, keeps_narrow = false;
  std::int64_t weights_at = 0, bias_at = 0, narrow_at = 0, transformed_at = 0, bytes = 0;

  // Errors: overflow.
  Status make(const Conv2d& descriptor, const LayerOptions& options, const KernelTable& table,
              bool has_bias) noexcept;
};

}  // namespace fastconv
