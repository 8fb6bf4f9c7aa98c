// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "../kernels/table.hpp"
#include "blocking.hpp"
#include "geometry.hpp"

namespace fastconv {

// The implicit-GEMM convolution: blocks of the im2col matrix packed straight from the image, times
// the weights' panels, one register tile at a time.
struct GemmArguments {
  const Problem& problem;
  const Blocking& blocking;
  const KernelTable& table;
  const float* x;
  const float* weights;  // pack_panels
  const float* bias;     // padded like the weights' lanes, or null
  float* y;
  void* workspace;  // aligned to 64 bytes
};

// Bytes of scratch memory; bounded by the caches, whatever the problem.
std::int64_t gemm_workspace_bytes(const Problem& problem, const Blocking& blocking,
                                  int nr) noexcept;

void gemm(const GemmArguments& arguments) noexcept;

}  // namespace fastconv
