// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "../kernels/table.hpp"
#include "blocking.hpp"
#include "operands.hpp"

namespace fastconv {

// Bytes of scratch memory of one slot, a multiple of 64; bounded by the caches, whatever the
// problem.
std::int64_t gemm_workspace_bytes(const Problem& problem, const Blocking& blocking,
                                  int weight_nr) noexcept;

// The blocks of pixels and channels of all images and groups, in the order in which tasks take
// them.
std::int64_t gemm_blocks(const Problem& problem, const Blocking& blocking) noexcept;

// Shrinks blocks until there are a few for every thread, if the problem has that many.
void split_for_threads(const Problem& problem, int weight_nr, int threads,
                       Blocking& blocking) noexcept;

// The implicit-GEMM convolution: blocks of the im2col matrix packed straight from the image, times
// the weights' panels, one register tile at a time. Computes blocks [begin, end) with scratch
// memory aligned to 64 bytes.
void gemm(const Operands& operands, const Blocking& blocking, std::int64_t begin, std::int64_t end,
          void* workspace) noexcept;

}  // namespace fastconv
