// SPDX-License-Identifier: Apache-2.0
#include "depthwise_order.hpp"

#include <algorithm>
#include <cstdlib>

#include "costs.hpp"
#include "depthwise_blocks.hpp"
#include "integers.hpp"

namespace fastconv {
namespace {

// Do hardly two pixels of x share a page, of more pages than a TLB has entries for? Down the
// rows every line is one of another page: 32 images of 728 channels of 19x19 11.2 -> 7.9 ms, of
// 672, 5x5 on 14x14, 5.6 -> 4.1 (Xeon, AVX-512).
bool leaves_pages(const Problem& p) noexcept {
  constexpr std::int64_t kEntries = 1536;
  return p.x_strides[3] > kPageBytes / 2 / kFloat &&
         real(p.n) * real(p.image_elements()) * kFloat > real(kEntries * kPageBytes);
}

}  // namespace

bool is_far(const Problem& p, std::int64_t images, std::int64_t times,
            const CacheSizes& caches) noexcept {
  return real(images) * real(p.image_elements()) * kFloat > real(times * caches.l2);
}

bool comes_from_memory(const Problem& p, const Tile& tile, const CacheSizes& caches) noexcept {
  return tile.width < kMaxWidth && tile.zen && is_far(p, p.n, 10, caches);
}

std::int64_t kept_in_l1(const CacheSizes& caches) noexcept { return caches.l1 * 9 / 16; }

bool goes_down(const Problem& p, const Tile& tile, const CacheSizes& caches,
               const DepthwiseBlocking& b) noexcept {
  constexpr double kNearFloats = 6400;  // that are left in L1
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  const bool in_place = b.in_place();
  if (in_place && leaves_pages(p)) return false;
  const bool crowded = crowds(p, b);
  const bool far = in_place && is_far(p, 4 * p.n, 3, caches);  // more than three quarters of L2
  const bool fast = tile.two_long_fma();
  if (kernel.w == 3) {
    if (!fast) return !(crowded && stride.w == 2);
    // 128 channels of 56x56: 154 -> 125 us, by 2 77 -> 41; of 28x28 21 -> 19 the other way. Far
    // ones of parts of lines are brought twice: 88 of 56x56 98 -> 86.
    const std::int64_t pitch = p.x_strides[3] * column_phases(p, b.pixels);
    const bool even_lines = in_place && pitch % (2 * kLine) == 0;
    const bool parts = in_place && pitch % kLine != 0;
    if (stride.w == 1) return !((even_lines || parts) && (far || (even_lines && crowded)));
    return !even_lines;
  }
  // What the next row reads again. 128 channels of 56x56, 5x5 by 2: 126 -> 111 us (AVX2).
  const double across = real(b.channels) * (6 * real(stride.w) + real(kernel.w));
  const double again = across * (real(kernel.h) - real(stride.h)) * kFloat;
  const bool stays = far && again <= real(kept_in_l1(caches));
  // 5x5, 256 channels of 28x28 93 -> 78 us, 768 of 7x7 13.2 -> 10.4, 32 of 28x28 9.5 -> 8.7; but
  // 512 of 28x28, batch 8, 3260 -> 4950.
  if (fast && in_place) return !stays && !aliases(p.x_strides[3]);
  return !crowded && !stays && across * real(kernel.h) > kNearFloats;
}

bool rolls(const Problem& p, const Tile& tile, const DepthwiseBlocking& b) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  return b.down && b.in_place() && tile.many_registers() && p.k_per_group() == 1 && kernel.h == 3 &&
         kernel.w == 3 && stride.h == stride.w && stride.w <= 2 &&
         dilation.w == column_phases(p, b.pixels);
}

bool stays_down(const Problem& p, const CacheSizes& caches, const DepthwiseBlocking& b) noexcept {
  constexpr std::int64_t kTilePixels = 7, kEntries = 96;
  constexpr std::int64_t kLines = 64;  // of a page, and sets of L1
  std::int64_t in_set[kLines] = {}, fullest = 0, pages = 0;
  const auto visit = [&](std::int64_t rows, std::int64_t row_step, std::int64_t columns,
                         std::int64_t step) {
    const std::int64_t begin = step % kLine == 0 ? 0 : kLine / 2;
    std::int64_t next = 0, next_page = 0;
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t j = 0; j < columns; ++j) {
        const std::int64_t at = begin + r * std::abs(row_step) + j * std::abs(step);
        for (std::int64_t line = std::max(next, at / kLine); line * kLine < at + kLine; ++line) {
          next = line + 1;
          if (line / kLines >= next_page) ++pages;
          next_page = std::max(next_page, line / kLines + 1);
          fullest = std::max(fullest, ++in_set[line % kLines]);
        }
      }
    }
  };
  const std::int64_t stride = p.window.stride.w;
  const std::int64_t phases = column_phases(p, b.pixels), row_step = row_phases(p, b);
  const std::int64_t pixels = std::min(kTilePixels, ceil_div(b.pixels, phases));
  const std::int64_t columns = std::min((pixels - 1) * stride + 3, ceil_div(p.w, phases));
  visit(std::min(rows_of(p, b.rows), ceil_div(p.h, row_step)), row_step * p.x_strides[2], columns,
        phases * p.x_strides[3]);
  visit(b.rows, row_step * p.y_strides[2], pixels, phases * p.y_strides[3]);
  return fullest < caches.ways() && pages <= kEntries;
}

}  // namespace fastconv
