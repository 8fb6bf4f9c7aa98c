// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include "operands.hpp"
#include "taps.hpp"

namespace fastconv {

// A part of the depth.
struct Depths {
  std::int64_t begin, end;
};

// The part of a window that a k-block multiplies, as stretches of memory. Taps in the padding may
// be passed over by rows, and then by columns, too.
class WindowSegments {
 public:
  WindowSegments(const Problem& problem, bool skips_rows, bool skips_columns) noexcept
      : p_(problem), skips_rows_(skips_rows), skips_columns_(skips_columns) {}

  // All of a k-block, of windows that lie packed or whose taps are so many floats apart; without
  // columns of taps that no window finds in the image. Taps that touch are one stretch, unless
  // columns are passed over.
  void list(const Depths& block, bool packed, const Pair& tap_stride) noexcept {
    block_ = block;
    const Pair kernel = p_.window.kernel_size;
    const std::int64_t channels = p_.c_per_group();
    TapRange columns{0, kernel.w, p_.ow};
    if (skips_rows_) {
      const TapRange inside = tap_columns_inside(p_, 0);
      if (inside.until >= p_.ow) columns = inside;
    }
    count_ = 0;
    // Divided once: 9 taps of 3 channels in three images of 10x10 by 3 are 1.1 us, so 0.9.
    std::int64_t channel = block.begin % channels;
    std::int64_t column = block.begin / channels % kernel.w;
    std::int64_t offset = block.begin / channels / kernel.w * tap_stride.h;  // of the row of taps
    for (std::int64_t begin = block.begin, length = 0; begin < block.end; begin += length) {
      length = std::min(channels - channel, block.end - begin);
      if (column >= columns.begin && column < columns.end) {
        const std::int64_t depth = begin - block.begin;
        add({packed ? depth : offset + column * tap_stride.w + channel, length, depth});
      }
      channel = 0;
      if (++column < kernel.w) continue;
      column = 0;
      offset += tap_stride.h;
    }
  }

  // Those of a part of the k-block, and of the columns of taps that the windows of `pixels` of a
  // row from column `ow` on find in the image.
  void clip(const Depths& part, std::int64_t ow, std::int64_t pixels,
            TileArguments& tile) noexcept {
    tile.segments = all_;
    tile.segment_count = count_;
    if (!skips_rows_) return;
    tile.segments = clipped_;
    tile.segment_count = 0;
    TapRange columns{};
    if (skips_columns_) {
      columns = {tap_columns_inside(p_, ow + pixels - 1).begin, tap_columns_inside(p_, ow).end, 0};
    }
    for (int i = 0; i < count_; ++i) {
      const Segment& all = all_[i];
      const std::int64_t begin = block_.begin + all.depth;
      const std::int64_t from = std::max(begin, part.begin);
      const std::int64_t to = std::min(begin + all.length, part.end);
      if (from >= to) continue;
      if (skips_columns_) {
        const std::int64_t column = from / p_.c_per_group() % p_.window.kernel_size.w;
        if (column < columns.begin || column >= columns.end) continue;
      }
      clipped_[tile.segment_count++] = {all.offset + from - begin, to - from, from - block_.begin};
    }
  }

 private:
  void add(const Segment& next) noexcept {
    Segment* last = all_ + count_ - 1;
    if (!skips_columns_ && count_ > 0 && last->offset + last->length == next.offset &&
        last->depth + last->length == next.depth) {
      last->length += next.length;
    } else {
      all_[count_++] = next;
    }
  }

  const Problem& p_;
  bool skips_rows_;
  bool skips_columns_;
  Depths block_{0, 0};
  int count_ = 0;
  Segment all_[kMaxSegments];
  Segment clipped_[kMaxSegments];
};

}  // namespace fastconv
