// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "depthwise.hpp"
#include "depthwise_planes.hpp"
#include "direct.hpp"
#include "micro_gemm.hpp"
#include "pack.hpp"
#include "planes.hpp"
#include "table.hpp"
#include "winograd.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

template <class Arch, int Rows, int NV, int NR>
constexpr void fill_kernels(KernelTable& table) noexcept {
  constexpr AForm columns = AForm::columns, rows = AForm::rows;
  table.micro_gemm[static_cast<int>(columns)][Rows - 1][NV - 1] =
      micro_gemm<Arch, Rows, NV, NR, columns>;
  table.micro_gemm[static_cast<int>(rows)][Rows - 1][NV - 1] = micro_gemm<Arch, Rows, NV, NR, rows>;
  if constexpr (Rows > 1) fill_kernels<Arch, Rows - 1, NV, NR>(table);
}

template <class Arch, int M, int NR>
constexpr void fill_winograd(KernelTable& table) noexcept {
  table.winograd_weights[winograd_index(M)] = winograd_weights<Arch, M>;
  table.winograd_input[winograd_index(M)] = winograd_input<Arch, M>;
  table.winograd_output[winograd_index(M)] = winograd_output<Arch, M, NR>;
}

// The table of one level: tiles of up to MR rows by two vectors, and of WideMR rows by four.
template <class Arch, int MR, int WideMR>
constexpr KernelTable make_table(Isa isa) noexcept {
  static_assert(WideMR <= MR && MR <= kMaxRows);
  constexpr int W = Vector<Arch>::width;
  constexpr int NR = kMaxVectors * W;
  KernelTable table{};
  table.isa = isa;
  table.width = W;
  table.vectors = kMaxVectors;
  table.max_rows = MR;
  table.wide_rows = WideMR;
  fill_kernels<Arch, MR, 1, NR>(table);
  fill_kernels<Arch, MR, 2, NR>(table);
  fill_kernels<Arch, WideMR, 3, NR>(table);
  fill_kernels<Arch, WideMR, 4, NR>(table);
  table.pack_columns = pack_columns<Arch, NR>;
  table.pack_rows = pack_rows<Arch>;
  table.pack_patch = pack_patch<Arch>;
  table.direct = direct<Arch>;
  table.pack_planes = pack_planes<Arch>;
  table.copy_planes = copy_planes<Arch>;
  table.depthwise = depthwise<Arch>;
  table.depthwise_planes = depthwise_planes<Arch>;
  fill_winograd<Arch, 2, NR>(table);
  fill_winograd<Arch, 4, NR>(table);
  fill_winograd<Arch, 6, NR>(table);
  table.scatter = scatter<Arch>;
  return table;
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
