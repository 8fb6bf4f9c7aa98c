// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "blocking.hpp"
#include "costs.hpp"
#include "taps.hpp"

namespace fastconv {
namespace {

// Cycles of a call for some outputs of a tap, beyond its tiles', and of a vector of their sums.
constexpr double kTapCall = 40.0;
constexpr double kTapSum = 2.0;
// And of a run of them that is moved.
constexpr double kTapMove = 15.0;
// Bytes a cycle of a tap's weights from L2, and while others come there: 1024 to 1024 channels 3x3
// at 7x7, NHWC, 6400 us where patches take 5500 (Xeon, AVX-512).
constexpr double kTapBytes = 26.0;
constexpr double kTapBytesFar = 16.0;
// And, of the core, of a step of depth of few sums, at least.
constexpr double kTapStep = 4.6;
// And of a line of pixels that a tap reads from L2; hardly felt where much is passed over.
constexpr double kTapLine = 0.6;
// The share of taps inside from which on what is passed over is worth no call, and the channels
// from which on a tap is, all the same.
constexpr double kMostInside = 0.75;
constexpr std::int64_t kDeepTap = 64;

// Taps of an axis that some output finds, outputs that find any, and pairs of both.
struct Found {
  std::int64_t taps = 0, outputs = 0, pairs = 0;

  template <class Inside>
  Found(const Problem& p, std::int64_t kernel, Inside outputs_inside) noexcept {
    std::int64_t begin = 0, end = 0;
    for (std::int64_t tap = 0; tap < kernel; ++tap) {
      const Range range = outputs_inside(p, tap);
      if (range.begin >= range.end) continue;
      begin = taps == 0 ? range.begin : std::min(begin, range.begin);
      end = std::max(end, range.end);
      ++taps;
      pairs += range.end - range.begin;
    }
    outputs = end - begin;
  }
};

// Of an image, by tiles of `b` whose rows lie along `b.along`.
double tap_cycles(const Problem& p, const CacheSizes& caches, const Blocking& b) noexcept {
  const Pair kernel = p.window.kernel_size;
  const Found rows(p, kernel.h, output_rows_inside);
  const Found columns(p, kernel.w, output_columns_inside);
  const std::int64_t channels = p.c_per_group();
  const std::int64_t lanes = p.k_per_group();
  const double cycle = b.tile.cycle;
  const std::int64_t wide = b.wide ? 2 * b.tile.nr : b.tile.nr;
  const double panels = real(ceil_div(lanes, wide));
  const double vectors = real(ceil_div(lanes, b.tile.width));
  Tile tile = b.tile;
  if (!b.wide) tile.wide_mr = 0;
  const bool column_by_column = b.along == Along::rows || b.along == Along::images;
  const std::int64_t weights = channels * (column_by_column ? columns.taps : 1) * wide * kFloat;
  const std::int64_t bytes = rows.taps * columns.taps * channels * lanes * kFloat;
  const bool far = bytes > caches.l2 * 3 / 4;
  const std::int64_t blocks = ceil_div(p.oh * p.ow, b.pixel_block);
  // All tiles but the first over the same weights find them in L1, if it has room for them.
  const double first = column_by_column
                           ? 1.0 / real(columns.outputs)
                           : std::min(1.0, real(blocks * rows.taps) / real(rows.pairs));
  // Of the calls for as many outputs.
  const auto run = [&](std::int64_t depth, const Range& range, std::int64_t calls) {
    const std::int64_t length = range.end - range.begin;
    if (length <= 0) return 0.0;
    const std::int64_t of_area = ceil_div(length, tile.rows(std::min<std::int64_t>(lanes, wide)));
    const double alone = b.along == Along::area ? 1.0 / real(of_area) : first;
    const double share = weights <= caches.l1 * 3 / 4 ? alone : 1.0;
    const auto tiles = [&](double from) {
      return tile_cycles(depth, length, lanes, length, tile, 1, kTapStep, from);
    };
    return share * tiles(far ? kTapBytesFar : kTapBytes) + (1 - share) * tiles(kL1Bytes) +
           real(calls) * (panels * kTapCall * cycle + real(length) * vectors * kTapSum);
  };
  double cycles = 0.0;
  if (b.along == Along::area) {
    // Taps of a row alike; what they leave out of the rows is moved to and fro.
    for (std::int64_t r = 0; r < kernel.h; ++r) {
      const Range inside = output_rows_inside(p, r);
      const std::int64_t count = inside.end - inside.begin;
      for (std::int64_t s = 0; s < kernel.w && count > 0; ++s) {
        const Range found = output_columns_inside(p, s);
        cycles += run(channels, {found.begin * count, found.end * count}, 1);
      }
      if (count > 0 && count < rows.outputs) {
        const double moved = real(count) * vectors * kTapSum + panels * kTapMove * cycle;
        cycles += real(2 * columns.outputs) * moved;
      }
    }
  } else if (!column_by_column) {
    for (std::int64_t s = 0; s < kernel.w; ++s) {
      cycles += real(rows.pairs) * run(channels, output_columns_inside(p, s), 1);
    }
  } else if (b.along == Along::rows) {
    for (std::int64_t r = 0; r < kernel.h; ++r) {
      cycles += run(channels * columns.pairs, output_rows_inside(p, r), columns.outputs);
    }
  } else if (!b.tile.straddles()) {
    cycles = real(rows.pairs) / real(b.images) *
             run(channels * columns.pairs, {0, b.images}, columns.outputs);
  } else {
    for (std::int64_t r = 0; r < kernel.h; ++r) {
      const auto [begin, end] = output_rows_inside(p, r);
      cycles += run(channels * columns.pairs, {begin * b.images, end * b.images}, columns.outputs) /
                real(b.images);
    }
  }
  const double pairs = real(rows.pairs * columns.pairs);
  if (pairs > kMostInside * real(p.oh * p.ow * p.taps()) &&
      p.h * p.w * b.pitch * kFloat > caches.l1) {
    cycles += panels * pairs * real(channels) / kLine * kTapLine * cycle;
  }
  if (!far) return cycles;
  const double read = real(blocks * bytes / b.images) * kWeightByte * cycle;
  return std::hypot(cycles, read);
}

}  // namespace

bool block_taps(const Problem& p, const CacheSizes& caches, Blocking& b) noexcept {
  if (p.window.padding_mode != PaddingMode::zeros || p.taps() == 1) return false;
  const double inside = share_of_rows_inside(p) * share_of_columns_inside(p);
  const std::int64_t channels = p.c_per_group();
  const bool deep = p.groups == 1 && channels >= kDeepTap;
  if (inside == 0.0 || (inside > kMostInside && !deep)) return false;
  const std::int64_t vectors = ceil_div(channels, b.tile.width);
  const bool in_place = has_adjacent_channels(p);
  const bool dense = in_place || channels < b.tile.width;
  b.kc = std::min<std::int64_t>(channels, kMaxKc);
  b.pitch = dense ? channels : vectors * b.tile.width;
  if (!dense && aliases(2 * b.pitch)) b.pitch += kLine;
  // Images that fit half of L2, or rows of one, and a quarter their sums of as many channels as are
  // multiplied at once.
  const std::int64_t floats = caches.l2 / kFloat;
  const std::int64_t lanes = std::min<std::int64_t>(b.channel_block, 2 * b.tile.nr);
  const auto image = [&](std::int64_t rows) {
    const Pair kernel = p.window.kernel_size, stride = p.window.stride;
    const std::int64_t read = (rows - 1) * stride.h + (kernel.h - 1) * p.window.dilation.h + 1;
    return std::min(read, p.h) * p.w * b.pitch;
  };
  const auto images = [&](std::int64_t rows) {
    return std::min(floats / 2 / image(rows), floats / 4 / lanes / (rows * p.ow));
  };
  std::int64_t rows = p.oh;
  while (rows > 1 && images(rows) < 1) rows = ceil_div(rows, 2);
  const std::int64_t most = images(rows);
  if (most < 1 || (rows == 1 && p.oh > 1)) return false;  // rows are to share a tap's weights
  b.images = rows < p.oh ? 1 : even_block(p.n, most, 1);
  b.pixel_block = rows * p.ow;
  b.pack_block = p.ow;  // what a thread may be left with
  Dims<4> strides = p.x_strides;
  if (!in_place) {
    strides = {image(rows), 1, p.w * b.pitch, b.pitch};
    b.pack_elements = b.images * image(rows);
    // What leaves L1 takes 8 to 11 cycles a vector, in patches too where they hold padding: 64 to 8
    // channels 2x2 by 4 at 58x58, NCHW, from a patch, 67 -> 44 us (Xeon, AVX-512).
    const bool leaves =
        inside == 1.0 && b.pack_elements * kFloat > caches.l1 && b.tile.one_permutation();
    const double pixel = p.x_strides[3] != 1 ? real(channels) * kCopyScalar * b.tile.cycle
                         : dense ? real(ceil_div(channels, 4)) * b.tile.quads() / b.tile.width
                                 : real(vectors) * (kCopyVector + kTranspose) * (leaves ? 2 : 1);
    b.pack_cycles = real(ceil_div(p.oh, rows) * image(rows) / b.pitch) * pixel;
  }
  Blocking best;
  for (const Along along : {Along::rows, Along::columns, Along::images, Along::area}) {
    if (rows < p.oh && along != Along::columns) continue;
    if (along == Along::area && !b.tile.straddles()) continue;
    Blocking candidate = b;
    candidate.along = along;
    const std::int64_t most_rows = std::min(p.oh, p.h);
    std::int64_t longest = std::min(p.ow, p.w);
    std::int64_t stride = p.window.stride.w * strides[3];
    if (along == Along::rows) {
      longest = most_rows;
      stride = p.window.stride.h * strides[2];
    } else if (along == Along::images) {
      longest = b.images * (b.tile.straddles() ? most_rows : 1);
      stride = strides[0];
    } else if (along == Along::area) {
      longest *= most_rows;
      stride = p.window.stride.h * strides[2];
    }
    candidate.wide = b.tile.wide_mr > 0 && longest <= b.tile.wide_mr && p.k_per_group() > b.tile.nr;
    candidate.tile.keep_rows_beside(stride, caches);
    candidate.fma_cycles = tap_cycles(p, caches, candidate);
    if (best.kc == 0 || candidate.fma_cycles < best.fma_cycles) best = candidate;
  }
  b = best;
  return true;
}

}  // namespace fastconv
