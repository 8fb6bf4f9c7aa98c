// SPDX-License-Identifier: Apache-2.0
#pragma once

// Lanes in another order, by the compiler's own shuffle, which knows every level's instructions:
// what a Vector of simd.hpp is to it is its width and register type.

#include <utility>

#include "inline.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

// Lane i of the result is lane Pick::lane(i) of a and b side by side.
template <class Pick, class V, int... I>
FASTCONV_INLINE V shuffle(V a, V b, std::integer_sequence<int, I...>) noexcept {
  return {static_cast<typename V::Native>(
      __builtin_shufflevector(static_cast<typename V::Raw>(a.value),
                              static_cast<typename V::Raw>(b.value), Pick::lane(I)...))};
}

// Units of Size floats that a and b take turns to give, from each Group floats of both: the first
// half of the group's units or the second.
template <int Width, int Group, int Size, bool Second>
struct Zip {
  static constexpr int lane(int i) noexcept {
    const int unit = i % Group / Size;
    return (unit % 2 != 0 ? Width : 0) + i / Group * Group + (Second ? Group / 2 : 0) +
           unit / 2 * Size + i % Size;
  }
};

// Transposes four vectors within each part of four lanes.
template <class V>
FASTCONV_INLINE void transpose_parts(V (&v)[4]) noexcept {
  constexpr int W = V::width;
  constexpr auto lanes = std::make_integer_sequence<int, W>();
  const V low01 = shuffle<Zip<W, 4, 1, false>>(v[0], v[1], lanes);
  const V low23 = shuffle<Zip<W, 4, 1, false>>(v[2], v[3], lanes);
  const V high01 = shuffle<Zip<W, 4, 1, true>>(v[0], v[1], lanes);
  const V high23 = shuffle<Zip<W, 4, 1, true>>(v[2], v[3], lanes);
  v[0] = shuffle<Zip<W, 4, 2, false>>(low01, low23, lanes);
  v[1] = shuffle<Zip<W, 4, 2, true>>(low01, low23, lanes);
  v[2] = shuffle<Zip<W, 4, 2, false>>(high01, high23, lanes);
  v[3] = shuffle<Zip<W, 4, 2, true>>(high01, high23, lanes);
}

// The even lanes of a and b side by side, or the odd ones, within parts of four lanes: one
// instruction, and Joined puts them in order.
template <int Width, bool Odd>
struct EverySecond {
  static constexpr int lane(int i) noexcept {
    return (i % 4 < 2 ? 0 : Width) + i / 4 * 4 + i % 2 * 2 + (Odd ? 1 : 0);
  }
};
template <int Width>
struct Joined {
  static constexpr int lane(int i) noexcept {
    return i % (Width / 2) / 2 * 4 + (i < Width / 2 ? 0 : 2) + i % 2;
  }
};

template <class V>
FASTCONV_INLINE void separate(V a, V b, V& even, V& odd) noexcept {
  constexpr auto lanes = std::make_integer_sequence<int, V::width>();
  even = shuffle<EverySecond<V::width, false>>(a, b, lanes);
  odd = shuffle<EverySecond<V::width, true>>(a, b, lanes);
}
template <class V>
FASTCONV_INLINE V join_separated(V v) noexcept {
  return shuffle<Joined<V::width>>(v, v, std::make_integer_sequence<int, V::width>());
}

// Two floats, as often as a vector holds both; the second one is read where it is no channel, too,
// as panels and the bias are padded.
template <int Width>
struct PairsOf {
  using Type __attribute__((vector_size(Width * sizeof(float)))) = long long;
};
template <class V>
FASTCONV_INLINE V repeat_pair(const float* p) noexcept {
  long long pair;
  __builtin_memcpy(&pair, p, sizeof pair);
  typename PairsOf<V::width>::Type pairs{};
  pairs |= pair;
  typename V::Raw raw;
  static_assert(sizeof raw == sizeof pairs);
  __builtin_memcpy(&raw, &pairs, sizeof raw);
  return {static_cast<typename V::Native>(raw)};
}

// The second half before the first one.
template <int Width>
struct Swapped {
  static constexpr int lane(int i) noexcept { return (i + Width / 2) % Width; }
};
template <class V>
FASTCONV_INLINE V swap_halves(V v) noexcept {
  return shuffle<Swapped<V::width>>(v, v, std::make_integer_sequence<int, V::width>());
}

// The even units of four floats of a, then those of b; or the odd ones.
template <int Width, bool Odd>
struct Quarters {
  static constexpr int lane(int i) noexcept { return i / 4 * 8 + (Odd ? 4 : 0) + i % 4; }
};

// Rows become columns, of as many vectors as a vector has lanes.
template <class V>
FASTCONV_INLINE void transpose(V (&row)[V::width]) noexcept {
  constexpr int W = V::width;
  constexpr auto lanes = std::make_integer_sequence<int, W>();
  FASTCONV_UNROLL
  for (int i = 0; i < W; i += 4) {
    V part[4] = {row[i], row[i + 1], row[i + 2], row[i + 3]};
    transpose_parts(part);
    FASTCONV_UNROLL
    for (int k = 0; k < 4; ++k) row[i + k] = part[k];
  }
  if constexpr (W == 8) {
    FASTCONV_UNROLL
    for (int i = 0; i < 4; ++i) {
      const V a = row[i], b = row[4 + i];
      row[i] = shuffle<Quarters<W, false>>(a, b, lanes);
      row[4 + i] = shuffle<Quarters<W, true>>(a, b, lanes);
    }
  } else if constexpr (W == 16) {
    FASTCONV_UNROLL
    for (int i = 0; i < 4; ++i) {
      const V even01 = shuffle<Quarters<W, false>>(row[i], row[4 + i], lanes);
      const V odd01 = shuffle<Quarters<W, true>>(row[i], row[4 + i], lanes);
      const V even23 = shuffle<Quarters<W, false>>(row[8 + i], row[12 + i], lanes);
      const V odd23 = shuffle<Quarters<W, true>>(row[8 + i], row[12 + i], lanes);
      row[i] = shuffle<Quarters<W, false>>(even01, even23, lanes);
      row[4 + i] = shuffle<Quarters<W, false>>(odd01, odd23, lanes);
      row[8 + i] = shuffle<Quarters<W, true>>(even01, even23, lanes);
      row[12 + i] = shuffle<Quarters<W, true>>(odd01, odd23, lanes);
    }
  } else {
    static_assert(W == 4);
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
