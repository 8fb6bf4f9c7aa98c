// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "depthwise.hpp"
#include "depthwise_interleaved.hpp"
#include "depthwise_planes.hpp"
#include "direct.hpp"
#include "micro_gemm.hpp"
#include "pack.hpp"
#include "planes.hpp"
#include "table.hpp"
#include "winograd.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

template <class Arch, AForm Form, int Rows, int Vectors, int PanelVectors>
constexpr void fill_tiles(KernelTable& table) noexcept {
  constexpr int form = static_cast<int>(Form);
  table.micro_gemm[form][Rows - 1][Vectors - 1] =
      micro_gemm<Arch, Vector<Arch>, Rows, Vectors, PanelVectors, Form>;
  if (table.max_rows[form][Vectors - 1] < Rows) table.max_rows[form][Vectors - 1] = Rows;
  if constexpr (Rows > 1) fill_tiles<Arch, Form, Rows - 1, Vectors, PanelVectors>(table);
}

// The same over half a vector.
template <class Arch, int Rows>
constexpr void fill_halves(KernelTable& table) noexcept {
  if constexpr (Vector<Arch>::has_halves && Rows >= kLeastHalfRows) {
    using Half = typename Vector<Arch>::Half;
    table.half_gemm[Rows - 1] = micro_gemm<Arch, Half, Rows, 1, kMaxVectors, AForm::rows>;
    fill_halves<Arch, Rows - 1>(table);
  }
}

// Tiles of up to MR rows by a panel's vectors, of NarrowMR by one and, where a panel's are two, of
// JoinedMR by three and WideMR by four.
template <class Arch, AForm Form, int MR, int NarrowMR, int JoinedMR, int WideMR, int PanelVectors>
constexpr void fill_form(KernelTable& table) noexcept {
  fill_tiles<Arch, Form, NarrowMR, 1, PanelVectors>(table);
  fill_tiles<Arch, Form, MR, 2, PanelVectors>(table);
  if constexpr (PanelVectors > 2) {
    fill_tiles<Arch, Form, MR, 3, PanelVectors>(table);
  } else {
    fill_tiles<Arch, Form, JoinedMR, 3, PanelVectors>(table);
    fill_tiles<Arch, Form, WideMR, 4, PanelVectors>(table);
  }
}

template <class Arch, int Variant = 0>
constexpr void fill_winograd(KernelTable& table) noexcept {
  constexpr WinogradVariant v = kWinogradVariants[Variant];
  constexpr int points = v.m + v.r - 1;
  table.winograd_weights[Variant] = winograd_weights<Arch, v.m, v.r, v.square>;
  table.winograd_input[Variant] = winograd_input<Arch, points, v.square>;
  table.winograd_output[Variant] = winograd_output<Arch, v.m, v.r, v.square>;
  if constexpr (Variant + 1 < kWinogradCount) fill_winograd<Arch, Variant + 1>(table);
}

// The table of one level: tiles of up to MR rows by two vectors, of WideMR rows by four, of
// JoinedMR by three and of NarrowMR by one. Where pixels lie along the vectors, of up to PixelMR
// rows by a panel of PixelVectors.
template <class Arch, int MR, int WideMR, int JoinedMR = WideMR, int PixelMR = MR,
          int PixelVectors = kMaxVectors, int NarrowMR = MR>
constexpr KernelTable make_table(Isa isa) noexcept {
  static_assert(WideMR <= JoinedMR && JoinedMR <= MR && MR <= NarrowMR && NarrowMR <= kMaxRows);
  static_assert(PixelMR <= MR);
  static_assert(PixelVectors * Vector<Arch>::width <= kMaxVectors * kMaxWidth);
  constexpr int W = Vector<Arch>::width;
  KernelTable table{};
  table.isa = isa;
  table.width = W;
  table.vectors = kMaxVectors;
  table.pixel_vectors = PixelVectors;
  table.fuses = Vector<Arch>::fuses;
  table.straddling_rows = kStraddlingRows<Vector<Arch>>;
  fill_form<Arch, AForm::rows, MR, NarrowMR, JoinedMR, WideMR, kMaxVectors>(table);
  fill_halves<Arch, NarrowMR>(table);
  fill_form<Arch, AForm::columns, PixelMR, PixelMR, WideMR, WideMR, PixelVectors>(table);
  table.pack_columns = pack_columns<Arch, PixelVectors * W>;
  table.pack_rows = pack_rows<Arch>;
  table.pack_patch = pack_patch<Arch>;
  table.direct = direct<Arch>;
  table.pack_planes = pack_planes<Arch>;
  table.copy_planes = copy_planes<Arch>;
  table.depthwise = depthwise<Arch>;
  if constexpr (Vector<Arch>::fuses) table.depthwise_interleaved = depthwise_interleaved<Arch>;
  table.repeat_channels = repeat_channels<Arch>;
  table.depthwise_planes = depthwise_planes<Arch>;
  fill_winograd<Arch>(table);
  table.scatter = scatter<Arch>;
  return table;
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
