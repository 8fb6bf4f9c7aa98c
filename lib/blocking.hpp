// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "../kernels/problem.hpp"
#include "caches.hpp"
#include "integers.hpp"
#include "tiles.hpp"

namespace fastconv {

// Pixels of a block that keep the FMAs busy while its weights come from memory: 2048 to 512
// channels 3x3 stride 2 at 7x7, NCHW, 15.5 -> 9.0 ms (AVX-512), 23.5 -> 10.1 (AVX2).
constexpr std::int64_t kFewPixels = 64;

// How the pixels reach the micro-kernel: those along the vectors as columns or in place, those that
// are broadcast in any form but columns.
enum class PixelForm : std::int32_t {
  columns,   // packed panels of NR pixels
  rows,      // the window of every pixel, with adjacent channels, copied to a panel
  patch,     // the padded image under a block of pixels copied, windows read from it
  in_place,  // read from x: adjacent pixels of a 1x1 kernel, or windows of adjacent channels
  taps,      // tap by tap, from x or a copy without padding, those alone that find it in the image
};

// What of the output lies along a tile's rows, where they are multiplied tap by tap, area: all rows
// and columns that find the tap. TapProduct orders axes by it.
enum class Along : std::int32_t { images, rows, columns, area };

inline bool has_adjacent_channels(const Problem& p) noexcept {
  return p.x_strides[1] == 1 || p.c_per_group() == 1;
}

// Of the images and of all that comes of them.
inline std::int64_t x_bytes(const Problem& p) noexcept { return p.n * p.c * p.h * p.w * kFloat; }
inline std::int64_t y_bytes(const Problem& p) noexcept { return p.n * p.k * p.oh * p.ow * kFloat; }

// Does x come from memory, in planes of a page and more, which are streams to a prefetcher?
inline bool has_far_planes(const Problem& p, const CacheSizes& caches) noexcept {
  return p.h * p.w >= 1024 && x_bytes(p) > 12 * caches.l2;
}

// How an implicit GEMM is cut. Per image and group it multiplies weights (gemm_m = K/groups) by the
// im2col matrix (gemm_n = OH*OW) over gemm_k = C/groups*R*S.
struct Blocking {
  Lanes lanes = Lanes::pixels;
  PixelForm form = PixelForm::columns;
  Tile tile;  // the level's, or lower
  std::int64_t kc = 0;
  std::int64_t pack_block = 0;   // pixels packed at a time, to be used at once while they are in L1
  std::int64_t pixel_block = 0;  // pixels per pass over a k-block of the weights
  std::int64_t channel_block = 0;  // channels per pass
  std::int64_t images = 1;         // of which a block has the pixels: one, but by taps
  Along along = Along::columns;    // of taps
  std::int64_t pitch = 0;          // floats from a packed pixel to the next, but for columns
  std::int64_t pack_elements = 0;  // of the buffer that a pack block fills
  bool wide = false;               // tiles span two panels where their lanes follow on in y
  bool copies = false;             // pixels in place go packed to all but the first tile over them
  bool whole_rows = false;         // a block is whole output rows or part of one
  bool has_border = false;         // windows in place, of which some reach into the padding: in
                                   // parts, from patches unless padding may be left out
  bool groups_within = false;      // a block of pixels is of all groups: they share lines of x
  bool cuts_columns = false;       // tiles pass over columns of taps in the padding, see column_cut
  bool fetch_weights = false;      // of the next panel, by the tiles over one
  std::int64_t fetch_pixels = 0;   // of the next tile, by tiles over lanes before this one
  std::int64_t fetch_panels = 0;   // ahead, of pixels in place, or 0 for steps of depth ahead
  bool fetch_rows = false;         // of x, in place: what the next output row's windows find first
  bool fetch_patch = false;        // of the next block
  bool fetch_y = false;            // its lines are asked for before a tile is computed
  bool reads_lines = false;        // of x, all that its groups find, before the first one does
  double fma_cycles = 0, pack_cycles = 0, store_cycles = 0;  // the cost model's terms

  double cycles() const noexcept { return fma_cycles + pack_cycles + store_cycles; }
  // Panels under a tile.
  int panels() const noexcept { return wide ? 2 : 1; }
  // Floats of the pack buffer, with the vector that packing may write behind them.
  std::int64_t buffer_elements() const noexcept { return round_up(pack_elements + tile.nr, kLine); }
};

// The blocks of one form; false if it cannot serve the problem.
bool make_blocking(const Problem& problem, const Tiles& tiles, const CacheSizes& caches,
                   Lanes lanes, PixelForm form, Blocking& blocking) noexcept;

// The same of the form `taps`, for tiles and blocks of channels that are set.
bool block_taps(const Problem& problem, const CacheSizes& caches, Blocking& blocking) noexcept;

// What its tiles fetch. The weights are those of all groups.
void set_fetches(const Problem& problem, std::int64_t weight_bytes, const CacheSizes& caches,
                 Blocking& blocking) noexcept;

// The form that costs least for weights that are finite or not. A pure function of its arguments.
// None of its results changes a bit of the output: every output element is one chain of fma in
// ascending depth whatever the tile and the blocks.
Blocking choose_blocking(const Problem& problem, const Tiles& tiles, const CacheSizes& caches,
                         bool finite) noexcept;

}  // namespace fastconv
