// SPDX-License-Identifier: Apache-2.0
// What is asked for before it is read.
#include <algorithm>

#include "blocking.hpp"
#include "costs.hpp"
#include "operands.hpp"
#include "taps.hpp"

namespace fastconv {

void set_fetches(const Problem& p, std::int64_t weight_bytes, const CacheSizes& caches,
                 Blocking& b) noexcept {
  const std::int64_t depth = p.c_per_group() * p.taps();
  const std::int64_t pixels = p.oh * p.ow;
  const bool pixels_in_lanes = b.lanes == Lanes::pixels;
  // From beyond L2, which a first tile would wait for: 1280 to 1280 channels 1x1 at 8x8, NCHW,
  // 1967 -> 1838 us (AVX-512), 2516 -> 2039 (AVX2). One tile of all pixels has none to wait for it.
  b.fetch_weights =
      depth * p.k_per_group() * kFloat > caches.l2 / 2 && (pixels_in_lanes || pixels > b.tile.mr);
  // Those of tiles one below the other follow on: 256 to 21 channels at 129x129 3310 -> 2730 us
  // (AVX2 3320 -> 2270). Shallow ones come to L1 for every panel of weights, unless these are
  // fetched.
  const bool follow = !pixels_in_lanes && b.form == PixelForm::in_place && p.taps() == 1 &&
                      p.x_strides[3] == depth && p.x_strides[2] == p.w * depth &&
                      p.window.stride.h == 1 && p.window.stride.w == 1 && b.kc == depth;
  const bool shallow = depth <= kNearDepth && !b.fetch_weights;
  if (follow && x_bytes(p) > (shallow ? caches.l1 : caches.l2)) b.fetch_pixels = shallow ? p.k : 1;
  // Panels in place: the first tiles over one fetch what lies behind it, as the steps ahead are on
  // other pages. What is beyond L2 takes two panels' time to come, but several deep ones would
  // crowd it. A core that takes such a step in less time has them evicted from L1 before they are
  // read, but shallow ones: 64 to 32 channels 1x1 at 80x80, NCHW, 222 -> 180 us (Xeon, AVX-512).
  constexpr std::int64_t kShortPanel = 8192;  // floats
  const std::int64_t panel = b.kc * b.tile.nr;
  const bool steps = b.tile.two_long_fma() && !b.copies && 6 * panel * kFloat >= caches.l1;
  b.fetch_panels = steps ? 0 : panel <= kShortPanel ? 2 : 1;
  // Packing, too, waits for pixels from L3 or memory: 32 to 64 channels 3x3 by 2 at 416x416, NHWC,
  // 12.6 -> 11.4 ms. Of groups, which lie pages apart, only where windows come from L1 and weights
  // from L2, or they wait behind what is fetched: groups of 16 by 2 at 28x28 305 -> 270 us, but at
  // 56x56 1360 -> 1550, groups of 64 at 14x14 860 -> 1110 (Xeon, AVX-512).
  const Pair step = Patch(p, p.oh, p.ow).step;
  const bool dense = p.x_strides[1] == 1 && p.x_strides[2] == p.w * p.x_strides[3] &&
                     p.x_strides[3] > 0 && step.h == 1 && step.w == 1;
  const bool near = b.pack_elements * kFloat <= caches.l1 * 3 / 2 &&
                    weight_bytes <= caches.l2 / 2 && p.c_per_group() == p.k_per_group();
  b.fetch_patch = b.form == PixelForm::patch && dense && (p.groups == 1 || near) &&
                  b.pixel_block >= p.ow && b.kc == depth && !b.fetch_weights &&
                  x_bytes(p) > caches.l2 / 2;
  // In place prefetchers follow windows by 1, but not those by 2 and more: 3 to 16 channels 3x3 by
  // 2 at 224x224, NHWC, 87 -> 80 us, 16 to 32 at 320x320 1450 -> 1320 (Xeon, AVX-512; AVX2 gains
  // nothing).
  b.fetch_rows = !pixels_in_lanes && b.form == PixelForm::in_place && b.tile.two_long_fma() &&
                 dense && p.groups == 1 && p.taps() > 1 && p.window.stride.h > 1 &&
                 p.window.dilation.h == 1 && b.kc == depth && !b.fetch_weights &&
                 x_bytes(p) > caches.l2 / 4;
  // Stores that wait for L3 or memory hold up the next tile: 96 to 400 channels 1x1 at 28x28, 4
  // images, NCHW, 2920 -> 2190 us (AVX2). Where y is near, fetching costs 2 %, and rows that are
  // short, or deep on a core of two long FMAs a cycle, come faster unasked: 1 to 64 3x3 at 570x570,
  // NHWC, 6880 -> 6400 us (AVX2), 16 to 96 1x1 at 112x112 383 -> 337 (Xeon, AVX-512). Of memory
  // prefetchers follow one sweep over all channels, not several: 4 images, 16 to 256 1x1 at 80x80,
  // NHWC, 3370 -> 1930 us, but 3 to 32 3x3 at 416x416 2890 -> 3130 (Xeon, AVX-512). Nor do they
  // where a pixel is a line or so and tiles are small: 1 to 16 3x3 at 572x572, NHWC, 1630 -> 1520
  // us, 1 to 24 at 500x500 2010 -> 1860; of two lines it is as fast unasked (Xeon, AVX2).
  const int lanes = b.panels() * b.tile.nr;
  const bool asks = lanes >= 4 * kLine && (!b.tile.two_long_fma() || depth < kLine);
  const bool in_lines =
      b.tile.one_permutation() && !b.tile.two_long_fma() && 2 * p.k > kLine && p.k < 2 * kLine;
  const bool from_memory = (p.k_per_group() > lanes || in_lines) && y_bytes(p) > 8 * caches.l2;
  b.fetch_y = (y_bytes(p) > 2 * caches.l2 && (pixels_in_lanes || asks)) || from_memory;
  // A group's channels of a pixel and of the next may lie farther apart than prefetchers follow,
  // and what is asked for comes one by one. NHWC, Zen 3: 32 groups of 24 channels 1x1 at 52x52 7.2
  // -> 3.6 ms, 8 of 24 at 104x104 6.5 -> 2.4, 16 of 16 3x3 at 56x56 3.1 -> 2.9.
  b.reads_lines = b.groups_within && b.tile.zen && p.x_strides[3] == p.c &&
                  x_bytes(p) + y_bytes(p) > caches.l2 * 3 / 2;
}

void read_lines(const Operands& operands, std::int64_t n, const Pair& first,
                const Pair& outputs) noexcept {
  const Problem& p = operands.problem;
  const Window& window = p.window;
  const Patch patch(p, outputs.h, outputs.w);
  const std::int64_t top = first.h * window.stride.h - window.padding.top;
  const std::int64_t left = first.w * window.stride.w - window.padding.left;
  // Pixels that follow each other are one run.
  const std::int64_t runs = patch.step.w == 1 ? 1 : patch.columns;
  const std::int64_t pixels = patch.step.w == 1 ? patch.columns : 1;
  for (std::int64_t i = 0; i < patch.rows; ++i) {
    const std::int64_t h = top + i * patch.step.h;
    if (h < 0 || h >= p.h) continue;
    const volatile float* const row = operands.x + n * p.x_strides[0] + h * p.x_strides[2];
    for (std::int64_t j = 0; j < runs; ++j) {
      const std::int64_t at = left + j * patch.step.w;
      const std::int64_t begin = std::max<std::int64_t>(at, 0), end = std::min(at + pixels, p.w);
      for (std::int64_t f = begin * p.c; f < end * p.c; f += kLine) static_cast<void>(row[f]);
    }
  }
}

}  // namespace fastconv
