// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fastconv/layer.hpp>

#include "winograd.hpp"

namespace fastconv {

// What a layer owns: at the start of one allocation, the arrays behind it.
struct Layer::Packed {
  std::uint64_t id;  // no other layer of this process ever has it
  Conv2d descriptor;
  LayerOptions options;
  const KernelTable* table;
  // Panels of narrow groups are merged, or each would fill a few lanes of its own panel.
  bool merged;
  bool whole;  // and a panel holds whole groups, whose lanes of it a product can read
  std::int64_t lanes_per_group;
  std::int64_t bytes;                       // of the allocation
  float* weights;                           // dense for the baselines, else panels
  float* narrow;                            // or null: panels of a group's few channels alone
  bool finite;                              // weights, all of them, as far as padding asks
  PackedWinograd winograd[kWinogradCount];  // by place in kWinogradVariants
  bool has_bias;                            // of the caller's
  float* bias;                              // or null; padded like the panels
};

}  // namespace fastconv
