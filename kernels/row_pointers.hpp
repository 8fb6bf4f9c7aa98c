// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "simd.hpp"
#include "table.hpp"

// Where a micro-kernel's rows are, of A, y and the residual, in as many registers as there are.

namespace fastconv::FASTCONV_LEVEL {
namespace {

// Where the next tile's rows begin, and how many are left of their run or, of weights, their panel;
// 0 and less if it is endless.
struct Cursor {
  const float* a;
  std::int64_t left;
};

// Rows up to which each has a pointer, as the registers hold them. Of ten, one and the count of
// steps would be on the stack: over a vector 10 rows took as long for each as 8, not 0.87 to 0.82
// of that (Xeon, AVX2).
template <class V>
constexpr int kStraddlingRows = V::registers == 16 ? 8 : 9;

// The rows of a tile, so many from each pointer. Those that share one are of one run, which may end
// behind them: x86 addresses p, p + s, p + 2s, p + 3s (with 3s in a register) and p + 4s without
// arithmetic. 2s and 4s would take two more registers if GCC knew that s stays the same.
template <int Rows, int Share>
class RowPointers {
 public:
  static constexpr bool has_index(int m) noexcept { return m % Share != 0; }
  FASTCONV_INLINE RowPointers(const TileArguments& tile, Cursor& cursor) noexcept
      : a_(cursor.a),
        stride_(kFloatBytes * tile.a_row_stride),
        stride3_(3 * kFloatBytes * tile.a_row_stride),
        pointer_stride_(Share * tile.a_row_stride) {
    cursor.a += Rows * tile.a_row_stride;
    cursor.left -= Rows;
    if (cursor.left == 0) cursor = {cursor.a + tile.a_run_gap, tile.a_run};
  }
  FASTCONV_INLINE void seek(std::int64_t offset) noexcept {
    FASTCONV_UNROLL
    for (int i = 0; i < kPointers; ++i) pointer_[i] = a_ + offset + i * pointer_stride_;
  }
  FASTCONV_INLINE const float* operator[](int m) const noexcept {
    const char* p = reinterpret_cast<const char*>(pointer_[m / Share]);
    const int row = m % Share;
    return reinterpret_cast<const float*>(row == 3 ? p + stride3_ : p + row * stride_);
  }
  FASTCONV_INLINE void advance(std::int64_t steps) noexcept {
    FASTCONV_UNROLL
    for (int i = 0; i < kPointers; ++i) pointer_[i] += steps;
    asm("" : "+r"(stride_));
  }

 private:
  static constexpr int kPointers = (Rows + Share - 1) / Share;
  static constexpr std::int64_t kFloatBytes = sizeof(float);
  const float* a_;
  const float* pointer_[kPointers];
  std::int64_t stride_, stride3_;  // in bytes
  std::int64_t pointer_stride_;
};

// Few have one each, at a common offset, and may belong to several runs.
template <int Rows>
class RowPointers<Rows, 1> {
 public:
  static constexpr bool has_index(int /*m*/) noexcept { return true; }
  FASTCONV_INLINE RowPointers(const TileArguments& tile, Cursor& cursor) noexcept {
    if (static_cast<std::uint64_t>(cursor.left) - 1 >= Rows) {
      FASTCONV_UNROLL
      for (int m = 0; m < Rows; ++m) pointer_[m] = cursor.a + m * tile.a_row_stride;
      cursor.a += Rows * tile.a_row_stride;
      cursor.left -= Rows;
      return;
    }
    FASTCONV_UNROLL
    for (int m = 0; m < Rows; ++m) {
      pointer_[m] = cursor.a;
      cursor.a += tile.a_row_stride;
      if (--cursor.left == 0) {
        cursor.a += tile.a_run_gap;
        cursor.left = tile.a_run;
      }
    }
  }
  FASTCONV_INLINE void seek(std::int64_t offset) noexcept { offset_ = offset; }
  FASTCONV_INLINE const float* operator[](int m) const noexcept { return pointer_[m] + offset_; }
  // GCC would move every pointer.
  FASTCONV_INLINE void advance(std::int64_t steps) noexcept {
    offset_ += steps;
    asm("" : "+r"(offset_));
  }

 private:
  const float* pointer_[Rows];
  std::int64_t offset_ = 0;
};

inline constexpr int kMovingSteps = 3;
inline constexpr std::int64_t kLongSegment = 32;
// Rows that share a pointer of MovingRows, or 0 where a tile has none.
template <class V>
constexpr int rows_of_moving(int rows, int vectors) noexcept {
  if (V::width < kMaxWidth || vectors > 1 || rows < 6) return 0;
  return rows <= kStraddlingRows<V> ? 1 : 2;
}

// Rows of a tile of one vector, whose scalars are its FMAs' operands: one with an index in its
// address would be split from it again. So every pointer moves, of pairs where there are too many,
// once for some steps; segments pay for that if they are long, tiles if they are not low. Beside
// another thread 512 to 10 channels 1x1 at 14x14, NHWC, 57 -> 68 GFLOP/s, 40 to 10 3x3 at 9x9
// 49 -> 72, alone 95 -> 104 and 87 -> 91; of 15 steps, 3 channels 5x5, alone 160 -> 149 (Xeon,
// AVX-512).
template <int Rows, int Share>
class MovingRows {
 public:
  template <class Pointers>
  explicit FASTCONV_INLINE MovingRows(const Pointers& row) noexcept {
    FASTCONV_UNROLL
    for (int m = 0; m < Rows; m += Share) pointer_[m / Share] = row[m];
    stride_ = row[1] - row[0];
  }
  static constexpr bool has_index(int m) noexcept { return m % Share != 0; }
  FASTCONV_INLINE const float* operator[](int m) const noexcept {
    return pointer_[m / Share] + m % Share * stride_;
  }
  // Compilers would move one offset.
  FASTCONV_INLINE void advance(std::int64_t steps) noexcept {
    FASTCONV_UNROLL
    for (int i = 0; i < kPointers; ++i) {
      pointer_[i] += steps;
      asm("" : "+r"(pointer_[i]));
    }
    asm("" : "+r"(stride_));
  }

 private:
  static constexpr int kPointers = (Rows + Share - 1) / Share;
  const float* pointer_[kPointers];
  std::int64_t stride_;
};

// Offsets of rows, asked for in their order, one from the other: all at once they would take a
// register each.
class RowSteps {
 public:
  explicit FASTCONV_INLINE RowSteps(std::int64_t stride) noexcept : stride_(stride) {}
  FASTCONV_INLINE std::int64_t operator()(int) noexcept {
    const std::int64_t offset = offset_;
    offset_ += stride_;
    asm("" : "+r"(offset_));
    return offset;
  }

 private:
  std::int64_t stride_;
  std::int64_t offset_ = 0;
};

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
