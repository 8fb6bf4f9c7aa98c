// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fastconv/isa.hpp>

#include "../lib/geometry.hpp"

namespace fastconv {

// How a micro-kernel finds row m of its A operand at depth k; see kernels/README.md.
enum class AForm : std::int32_t {
  columns,  // a[k * NR + m]: a panel of NR columns, of which the tile takes some
  rows,     // a[m * kRowStride + k]: rows copied as they lie in the image
};

// Floats from one row of a rows panel to the next: compile-time, so that a tile addresses all its
// rows from one register, and an odd number of cache lines, so that they spread over L1's sets.
constexpr std::int64_t kRowStride = 272;

// One register tile: c[m][n] = sum over k of A[m][k] * B[k][n], m < rows, n < lanes.
struct TileArguments {
  std::int64_t depth = 0;    // of this k-block
  const float* a = nullptr;  // at the tile's first row
  const float* b = nullptr;  // depth x NR, from the tile's first column
  float* sums = nullptr;     // [rows][NR] between k-blocks
  bool first = true;         // start from zero rather than from sums
  bool last = true;          // store c rather than sums
  float* c = nullptr;        // lanes of a row are adjacent
  std::int64_t c_row_stride = 0;
  std::int32_t lanes = 0;        // <= NR
  bool bias_along_rows = false;  // bias[m] rather than bias[n]
  const float* bias = nullptr;   // or null
};

using MicroKernel = void (*)(const TileArguments& tile);

constexpr int kMaxRows = 14;
constexpr int kMaxVectors = 2;

// The pixels that a pack routine gathers: `count` of them from flattened output pixel `first`, the
// k-block [depth_begin, depth_end) of the depth (r, s, c), c of the group's channels.
struct PackArguments {
  const Problem* problem = nullptr;
  const float* x = nullptr;  // the image's group: channel 0 of the group, n fixed
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t depth_begin = 0;
  std::int64_t depth_end = 0;
  float* panels = nullptr;
};

// All that leaves the translation unit of one instruction-set level.
struct KernelTable {
  Isa isa;
  int width;     // floats per vector
  int vectors;   // NV: vectors per B row
  int max_rows;  // MR
  // micro_gemm[form][rows - 1][vectors - 1]
  MicroKernel micro_gemm[2][kMaxRows][kMaxVectors];
  // Panels of NR pixels, [pixels / NR][depth][NR], padded with zeros to whole panels.
  void (*pack_columns)(const PackArguments& arguments);
  // [pixels][kRowStride]; channels must be adjacent in x.
  void (*pack_rows)(const PackArguments& arguments);

  int nr() const noexcept { return width * vectors; }
};

// The table of a level, or null if this library has none for it (another architecture's).
const KernelTable* kernel_table(Isa isa) noexcept;

extern const KernelTable kernels_generic;
extern const KernelTable kernels_sse4;
extern const KernelTable kernels_avx2;
extern const KernelTable kernels_avx512;
extern const KernelTable kernels_neon;

}  // namespace fastconv
