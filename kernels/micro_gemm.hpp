// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>

#include "epilogue.hpp"
#include "row_pointers.hpp"
#include "simd.hpp"
#include "table.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

// Tiles of a panel's vectors that fill most registers are most of the time of most layers. Alone on
// its core such a tile is bound by its FMAs, beside another thread by what it issues: 640 to 640
// channels 1x1 at 32x32 beside one, NHWC 110 -> 123 GFLOP/s, NCHW 95 -> 105 (Xeon, AVX-512), NHWC
// 59 -> 64 (AVX2), by the two below.
template <class V, int NR>
constexpr bool fills_registers(int rows, int vectors) noexcept {
  return V::fuses && vectors * V::width == NR && rows * vectors > V::registers / 2;
}
// Steps of depth that share what a loop takes beyond loads and FMAs. More would not stay decoded.
template <class V, int NR>
constexpr int steps_of_loop(int rows, int vectors) noexcept {
  if (V::has_fma_lane || !fills_registers<V, NR>(rows, vectors)) return 1;
  return V::registers == 16 ? 4 : 2;
}
// Rows that share a pointer: pairs where the scalar of the first, which has an address without an
// index, can be an operand of its FMAs.
template <class V, int NR>
constexpr int rows_of_pointer(int rows, int vectors) noexcept {
  if (rows <= kStraddlingRows<V>) return 1;
  return V::has_fma_broadcast && fills_registers<V, NR>(rows, vectors) ? 2 : 5;
}

// Vector v of a row of B; those behind a panel's row are in the next panel.
template <class V, int NR>
FASTCONV_INLINE V load_b(const float* b, std::int64_t panel_stride, int v) noexcept {
  constexpr int in_panel = NR / V::width;
  return V::load(b + v / in_panel * panel_stride + v % in_panel * V::width);
}

// sum += *a x columns; the scalar is loaded once for all or, of two, is an operand of each FMA:
// that is an operation less and a load more, so not for every row. Of one GCC makes it so by
// itself.
template <class V, int Vectors>
FASTCONV_INLINE void fma_scalar(const float* a, [[maybe_unused]] bool is_operand,
                                const V (&column)[Vectors], V (&sum)[Vectors]) noexcept {
  if constexpr (V::has_fma_broadcast && Vectors == 2) {
    if (is_operand) {
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[v] = V::fma_broadcast(a, column[v], sum[v]);
      return;
    }
  }
  const V scalar = V::broadcast(*a);
  FASTCONV_UNROLL
  for (int v = 0; v < Vectors; ++v) {
    if constexpr (V::has_fma_in_place && Vectors > 1) {
      V::fma_in_place(scalar, column[v], sum[v]);
    } else {
      sum[v] = V::fma(scalar, column[v], sum[v]);
    }
  }
}

// sum += A x B over `depth`, A in columns. Every step of k loads Vectors of B and broadcasts Rows
// scalars of A, a panel of weights. A tile may serve those that follow: the first of a panel
// fetches what lies `a_ahead` of it and, if they share a panel of B whose steps are far apart, the
// first of all leaves that packed to them.
template <class V, int Rows, int Vectors, int NR>
FASTCONV_INLINE void accumulate_columns(const float* a, const TileArguments& tile, bool first,
                                        bool first_of_panel, V (&sum)[Rows][Vectors]) noexcept {
  constexpr int kStepOfA = kMaxVectors * V::width;
  constexpr bool kCopies = Vectors <= NR / V::width;  // of wide tiles, pointers leave the registers
  // Of B, beside a scalar and, where it is one before it is added, a product.
  constexpr bool kKeeps = Rows * Vectors + Vectors + (V::fuses ? 1 : 2) <= V::registers;
  const auto add_step = [&](const float* weights, const V(&column)[Vectors], bool packed)
      __attribute__((always_inline)) {
    if constexpr (V::has_fma_lane) {
      V scalars[(Rows + V::width - 1) / V::width];
      FASTCONV_UNROLL
      for (int m = 0; m < Rows; m += V::width) scalars[m / V::width] = V::load(weights + m);
      FASTCONV_UNROLL
      for (int m = 0; m < Rows; ++m) {
        FASTCONV_UNROLL
        for (int v = 0; v < Vectors; ++v) {
          sum[m][v] = V::fma_lane(scalars[m / V::width], m % V::width, column[v], sum[m][v]);
        }
      }
    } else {
      FASTCONV_UNROLL
      for (int m = 0; m < Rows; ++m) fma_scalar(weights + m, packed && m % 2 == 0, column, sum[m]);
    }
  };
  const float* b = tile.b;
  float* copy = kCopies ? tile.b_copy : nullptr;
  std::int64_t stride = tile.b_stride;
  const std::int64_t panel_stride = tile.b_panel_stride;
  std::int64_t ahead = tile.b_ahead;
  const std::int64_t a_ahead = first_of_panel ? tile.a_ahead : 0;
  if (kCopies && copy != nullptr && !first) {
    b = copy;
    copy = nullptr;
    stride = NR;
    ahead = kStepsAhead * NR;
  }
  const bool serves = a_ahead != 0 || copy != nullptr;
  constexpr int kSteps = steps_of_loop<V, NR>(Rows, Vectors);
  std::int64_t depth = tile.depth;
  if constexpr (kSteps > 1) {
    // Packed steps follow each other, and come without being asked for.
    const bool follow = stride == NR && !serves;
    for (; follow && depth >= kSteps; depth -= kSteps, a += kSteps * kStepOfA, b += kSteps * NR) {
      FASTCONV_UNROLL
      for (int k = 0; k < kSteps; ++k) {
        V column[Vectors];
        FASTCONV_UNROLL
        for (int v = 0; v < Vectors; ++v) column[v] = V::load(b + k * NR + v * V::width);
        add_step(a + k * kStepOfA, column, true);
      }
    }
  }
  for (; depth > 0; --depth, a += kStepOfA, b += stride) {
    const float* next = b + ahead;
    V column[Vectors];
    FASTCONV_UNROLL
    for (int v = 0; v < Vectors; ++v) column[v] = load_b<V, NR>(b, panel_stride, v);
    if (__builtin_expect(serves, 0)) {
      if (a_ahead != 0) {
        FASTCONV_UNROLL
        for (int i = 0; i < kStepOfA; i += kLine) __builtin_prefetch(a + a_ahead + i, 0, 2);
      }
      if (kCopies && copy != nullptr) {
        // What is copied is not to be in L1 twice.
        FASTCONV_UNROLL
        for (int i = 0; i < Vectors * V::width; i += kLine) __builtin_prefetch(next + i, 0, 2);
        next = b;
        FASTCONV_UNROLL
        for (int v = 0; v < Vectors; ++v) column[v].store(copy + v * V::width);
        copy += NR;
      }
    }
    FASTCONV_UNROLL
    for (int i = 0; i < Vectors * V::width; i += kLine) __builtin_prefetch(next + i);
    if (!kKeeps) {
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) column[v] = load_b<V, NR>(b, panel_stride, v);
    }
    add_step(a, column, false);
  }
}

// What a tile fetches while it runs: `step` bytes each step of depth, or 0. To L2, but for the
// next tile's rows, of which a step takes Rows floats: L2 takes its time even for what it holds
// (1x1 at 112x112, NHWC, 16 to 16 channels 65 -> 49 us, 32 to 16 130 -> 84, Xeon, AVX-512). Deep
// ones, a line a step, would not stay in L1.
struct Fetch {
  static constexpr std::int64_t kNextRows = -1;  // no other is odd
  static constexpr std::int64_t kFloatBytes = sizeof(float);
  const char* next;
  std::int64_t step;

  Fetch(const float* from, std::int64_t floats) noexcept
      : next(reinterpret_cast<const char*>(from)), step(floats * kFloatBytes) {}
};

// The same with A in rows, over one segment; `Moving` rows share a pointer that moves, or none do.
template <int NR, int Steps, int Moving, class V, int Rows, int Vectors, class Pointers>
FASTCONV_INLINE void accumulate_rows(Pointers& row, const float* b, std::int64_t panel_stride,
                                     Fetch& fetch, std::int64_t depth,
                                     V (&sum)[Rows][Vectors]) noexcept {
  const auto fetch_next = [&]() __attribute__((always_inline)) {
    // Narrow tiles are bound by their loads, one row most of all, shallow ones by what they issue.
    if (fetch.step == 0) return;
    if (Rows > 1 && fetch.step == Fetch::kNextRows) {
      __builtin_prefetch(fetch.next);
      fetch.next += Rows * Fetch::kFloatBytes;
      return;
    }
    constexpr int lanes = Rows == 1 ? 0 : Vectors * V::width < NR ? Vectors * V::width : NR;
    FASTCONV_UNROLL
    for (int i = 0; i < lanes; i += kLine) {
      __builtin_prefetch(fetch.next + i * Fetch::kFloatBytes, 0, 2);
    }
    fetch.next += fetch.step;
  };
  if constexpr (V::has_fma_lane) {
    // Four steps of k of a row come with one load.
    for (; depth >= V::width; depth -= V::width, b += V::width * NR) {
      V scalars[Rows];
      FASTCONV_UNROLL
      for (int m = 0; m < Rows; ++m) scalars[m] = V::load(row[m]);
      row.advance(V::width);
      FASTCONV_UNROLL
      for (int k = 0; k < V::width; ++k) {
        fetch_next();
        V column[Vectors];
        FASTCONV_UNROLL
        for (int v = 0; v < Vectors; ++v) column[v] = load_b<V, NR>(b + k * NR, panel_stride, v);
        FASTCONV_UNROLL
        for (int m = 0; m < Rows; ++m) {
          FASTCONV_UNROLL
          for (int v = 0; v < Vectors; ++v) {
            sum[m][v] = V::fma_lane(scalars[m], k, column[v], sum[m][v]);
          }
        }
      }
    }
  }
  const auto add_step = [&](const auto& from, int k) __attribute__((always_inline)) {
    if constexpr (Rows < Vectors) {  // the fewer are kept
      V scalar[Rows];
      FASTCONV_UNROLL
      for (int m = 0; m < Rows; ++m) scalar[m] = V::broadcast(from[m][k]);
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        const V column = load_b<V, NR>(b + k * NR, panel_stride, v);
        FASTCONV_UNROLL
        for (int m = 0; m < Rows; ++m) sum[m][v] = V::fma(scalar[m], column, sum[m][v]);
      }
    } else {
      V column[Vectors];
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) column[v] = load_b<V, NR>(b + k * NR, panel_stride, v);
      FASTCONV_UNROLL
      for (int m = 0; m < Rows; ++m) {
        fma_scalar(from[m] + k, !std::decay_t<decltype(from)>::has_index(m), column, sum[m]);
      }
    }
  };
  const auto add_steps = [&](auto& from, auto steps) __attribute__((always_inline)) {
    constexpr int kSteps = decltype(steps)::value;
    std::int64_t done = 0;
    for (; depth >= kSteps; depth -= kSteps, done += kSteps, b += kSteps * NR) {
      if (kSteps == 1 || fetch.step != 0) {
        FASTCONV_UNROLL
        for (int k = 0; k < kSteps; ++k) fetch_next();
      }
      FASTCONV_UNROLL
      for (int k = 0; k < kSteps; ++k) add_step(from, k);
      from.advance(kSteps);
    }
    return done;
  };
  if constexpr (Moving > 0) {
    MovingRows<Rows, Moving> moving(row);
    row.advance(add_steps(moving, Constant<kMovingSteps>()));
  }
  if constexpr (Steps > 1) add_steps(row, Constant<Steps>());
  add_steps(row, Constant<1>());
}

// The arguments, whose place is kept in memory with AVX-512. GCC keeps what finds no register in
// vectors', whose moves wait for the ports of FMAs: without them a tile of 14 by 1 takes 20 cycles
// less, one by 2 30 (Xeon). Elsewhere no vector's is left, or there are enough.
template <class V>
FASTCONV_INLINE const TileArguments& again(const TileArguments*& tile) noexcept {
  if constexpr (V::width == kMaxWidth) asm("" : "+m"(tile));
  return *tile;
}

// A tile's sums, with bias, residual and activation, to y.
template <class Arch, AForm Form, class V, int Rows, int Vectors>
FASTCONV_INLINE void finish(const TileArguments& tile, std::int64_t row,
                            V (&sum)[Rows][Vectors]) noexcept {
  constexpr int W = V::width;
  // By channel: a row of weights, a lane of pixels.
  if (tile.bias != nullptr && Form == AForm::columns) {
    FASTCONV_UNROLL
    for (int m = 0; m < Rows; ++m) {
      const V bias = V::broadcast(tile.bias[row + m]);
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[m][v] = sum[m][v] + bias;
    }
  } else if (tile.bias != nullptr) {
    FASTCONV_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      const V bias = V::load(tile.bias + v * W);
      FASTCONV_UNROLL
      for (int m = 0; m < Rows; ++m) sum[m][v] = sum[m][v] + bias;
    }
  }
  // A tile is chosen so that only its last vector is partial.
  const std::int64_t residual_stride = tile.residual_row_stride;
  const std::int64_t c_stride = tile.c_row_stride;
  const int last_lanes = tile.lanes - (Vectors - 1) * W;
  int careful = Rows;
  if constexpr (Form == AForm::rows && V::finishes_partial && !Vector<Arch>::free_masks) {
    // Pixels that follow each other in y: a vector reaches one or, of few lanes, some of the next.
    // 40 to 4 channels 1x1 at 28x28, NHWC, 6.4 -> 5.5 us, 8 to 12 3.0 -> 2.55 (Xeon, AVX2).
    if (tile.lanes == c_stride) {
      careful = Vectors > 1 || 2 * last_lanes >= W ? 1 : 4 * last_lanes >= W ? 3 : W - 1;
    }
  }
  finish_tile<Arch>(*tile.epilogue,
                    tile.residual != nullptr ? tile.residual + row * residual_stride : nullptr,
                    RowSteps(residual_stride), tile.c + row * c_stride, RowSteps(c_stride),
                    last_lanes, sum, Rows, careful);
}

// The tile from `row` on: Rows x Vectors accumulators, vectors or halves, that stay in registers
// through the k-loop.
//
// Every output is one chain of fma in ascending depth, continued over k-blocks through `sums`, so
// its bits depend neither on the tile nor on the blocking.
template <class Arch, class Sum, int Rows, int Vectors, int PanelVectors, AForm Form>
FASTCONV_INLINE void micro_tile(const TileArguments*& arguments, std::int64_t row,
                                Cursor& cursor) noexcept {
  using V = Vector<Arch>;
  constexpr int W = V::width, NR = PanelVectors * W;
  static_assert(Sum::width == W || Vectors == 1, "halves do not follow each other");
  Sum sum[Rows][Vectors];
  const auto each_sum = [&](auto function) __attribute__((always_inline)) {
    float* const first = arguments->sums + row * NR;
    const std::int64_t next_panel = Vectors > PanelVectors ? arguments->sums_panel_stride : 0;
    FASTCONV_UNROLL
    for (int m = 0; m < Rows; ++m) {
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        function(sum[m][v], first + v / PanelVectors * next_panel + m * NR + v % PanelVectors * W);
      }
    }
  };
  const TileArguments& tile = again<V>(arguments);
  if (tile.fetch_c != nullptr) {
    FASTCONV_UNROLL
    for (int m = 0; m < Rows; ++m) {
      FASTCONV_UNROLL
      for (int v = 0; v < Vectors; v += kLine / W) {
        __builtin_prefetch(tile.fetch_c + (row + m) * tile.c_row_stride + v * W, 1);
      }
    }
  }
  if (tile.first) {
    each_sum([](Sum & x, const float*) __attribute__((always_inline)) { x = Sum::zero(); });
  } else {
    each_sum([](Sum & x, const float* from)
                 __attribute__((always_inline)) { x = Sum::load(from); });
  }

  if constexpr (Form == AForm::columns) {
    const bool first_of_panel = cursor.left == tile.a_run;
    accumulate_columns<V, Rows, Vectors, NR>(cursor.a, tile, row == 0, first_of_panel, sum);
    cursor = {cursor.a + Rows, cursor.left - Rows};
    constexpr bool kCrosses = kMaxVectors * W % Rows == 0;
    if (kCrosses && cursor.left == 0) cursor = {cursor.a + tile.a_run_gap, tile.a_run};
  } else {
    RowPointers<Rows, rows_of_pointer<V, NR>(Rows, Vectors)> rows(tile, cursor);
    Fetch fetch{tile.b, 0};
    if (row != 0 && tile.a_ahead != 0) {
      fetch = {tile.a + row * tile.a_row_stride + tile.a_ahead, kLine};
      if (tile.depth <= kNearDepth) fetch.step = Fetch::kNextRows;
    } else if (tile.fetch != nullptr) {
      fetch = {tile.fetch + row / Rows * tile.fetch_part, tile.fetch_step};
    }
    const auto add_segments = [&](auto moving) __attribute__((always_inline)) {
      for (int i = 0; i < again<V>(arguments).segment_count; ++i) {
        const Segment& segment = arguments->segments[i];
        rows.seek(segment.offset);
        accumulate_rows<NR, steps_of_loop<V, NR>(Rows, Vectors), moving.value>(
            rows, arguments->b + segment.depth * NR, arguments->b_panel_stride, fetch,
            segment.length, sum);
      }
    };
    constexpr int kMoving = rows_of_moving<V>(Rows, Vectors);
    bool moves = false;
    if constexpr (kMoving > 0) {
      const TileArguments& now = again<V>(arguments);
      moves = now.segment_count > 0 && now.segments[0].length >= kLongSegment;
      if (moves) add_segments(Constant<kMoving>());
    }
    if (!moves) add_segments(Constant<0>());
  }

  if (!again<V>(arguments).last) {
    each_sum([](const Sum& x, float* to) __attribute__((always_inline)) { x.store(to); });
  } else {
    finish<Arch, Form>(*arguments, row, sum);
  }
}

// The micro-kernel. What a call costs is spread over the tiles that share their B.
template <class Arch, class Sum, int Rows, int Vectors, int PanelVectors, AForm Form>
void micro_gemm(const TileArguments& tile) {
  Cursor cursor{tile.a, tile.a_run_left};
  const TileArguments* arguments = &tile;
  for (std::int64_t i = 0; i < again<Vector<Arch>>(arguments).tiles; ++i) {
    micro_tile<Arch, Sum, Rows, Vectors, PanelVectors, Form>(arguments, i * Rows, cursor);
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
