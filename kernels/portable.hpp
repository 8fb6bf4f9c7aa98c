// SPDX-License-Identifier: Apache-2.0
#pragma once

// What vectors are at every level without xsimd: their declaration, what stands in for masks where
// there are none, and the vectors of a level that has none of its own.

#include <cstdint>

#include "inline.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

template <class Arch>
struct Vector;

template <class Arch>
FASTCONV_INLINE Vector<Arch> operator+(Vector<Arch> a, Vector<Arch> b) noexcept {
  return {a.value + b.value};
}
template <class Arch>
FASTCONV_INLINE Vector<Arch> operator-(Vector<Arch> a, Vector<Arch> b) noexcept {
  return {a.value - b.value};
}
template <class Arch>
FASTCONV_INLINE Vector<Arch> operator*(Vector<Arch> a, Vector<Arch> b) noexcept {
  return {a.value * b.value};
}
template <class Arch>
FASTCONV_INLINE Vector<Arch> operator/(Vector<Arch> a, Vector<Arch> b) noexcept {
  return {a.value / b.value};
}

// A number as an argument that chooses among kernels.
template <int Value>
struct Constant {
  static constexpr int value = Value;
};

// Masks where the level has none: a bit for each lane.
using LaneBits = unsigned;

FASTCONV_INLINE LaneBits lane_bits(int begin, int end) noexcept {
  return (1U << end) - (1U << begin);
}

template <class V>
__attribute__((noinline)) V load_lane_bits(const float* p, LaneBits bits) noexcept {
  typename V::Raw lanes{};  // in a register: memory would have them wait for each other
  FASTCONV_UNROLL
  for (int i = 0; i < V::width; ++i) {
    if ((bits >> i & 1U) != 0) lanes[i] = p[i];
  }
  return {static_cast<typename V::Native>(lanes)};
}

// The compiler's vectors, four wide, for whatever the platform has.
struct Portable {};

template <>
struct Vector<Portable> {
  static constexpr int width = 4;
  static constexpr int registers = 16;
  static constexpr bool has_masks = false;
  static constexpr bool finishes_partial = false;
  static constexpr bool free_masks = false;
  static constexpr bool has_halves = false;
  static constexpr bool has_fma_lane = false;
  static constexpr bool has_fma_broadcast = false;
  static constexpr bool has_fma_in_place = false;
  static constexpr bool fuses = false;  // multiplies and adds, for certain, in one operation
  using Native = float __attribute__((vector_size(16)));
  using Raw = Native;  // the compiler's own type
  Native value;

  static FASTCONV_INLINE Vector zero() noexcept { return {Native{0, 0, 0, 0}}; }
  static FASTCONV_INLINE Vector broadcast(float x) noexcept { return {Native{x, x, x, x}}; }
  static FASTCONV_INLINE Vector load(const float* p) noexcept {
    Vector v;
    __builtin_memcpy(&v.value, p, sizeof v.value);
    return v;
  }
  static FASTCONV_INLINE Vector load_once(const float* p) noexcept { return load(p); }
  static FASTCONV_INLINE Vector broadcast_once(const float* p) noexcept { return broadcast(*p); }
  FASTCONV_INLINE void store(float* p) const noexcept { __builtin_memcpy(p, &value, sizeof value); }
  static FASTCONV_INLINE Vector load_first(const float* p, int count) noexcept {
    return load_lane_bits<Vector>(p, lane_bits(0, count));
  }
  FASTCONV_INLINE void store_first(float* p, int count) const noexcept {
    for (int i = 0; i < width; ++i) {
      if (i < count) p[i] = value[i];
    }
  }
  static FASTCONV_INLINE Vector widen(Vector x) noexcept { return x; }
  using Mask = LaneBits;
  static FASTCONV_INLINE Mask mask(int begin, int end) noexcept { return lane_bits(begin, end); }
  static FASTCONV_INLINE Vector load_lanes(const float* p, Mask mask) noexcept {
    return load_lane_bits<Vector>(p, mask);
  }
  static FASTCONV_INLINE Vector load_even(const float* p) noexcept {
    return {Native{p[0], p[2], p[4], p[6]}};
  }

  // Lane i of quad[c] is p[i * stride + c]: four neighbours of each of `width` pixels.
  static FASTCONV_INLINE void load_quads(const float* p, std::int64_t stride,
                                         Vector (&quad)[4]) noexcept {
    for (int c = 0; c < 4; ++c) {
      quad[c] = {Native{p[c], p[stride + c], p[2 * stride + c], p[3 * stride + c]}};
    }
  }
  // The inverse; pixels are stored in ascending order.
  static FASTCONV_INLINE void store_quads(const Vector (&quad)[4], float* p,
                                          std::int64_t stride) noexcept {
    for (int i = 0; i < width; ++i) {
      const Native pixel{quad[0].value[i], quad[1].value[i], quad[2].value[i], quad[3].value[i]};
      __builtin_memcpy(p + i * stride, &pixel, sizeof pixel);
    }
  }

  // Compares rather than max and min, so that NaN passes.
  static FASTCONV_INLINE Vector clamp(Vector x, Vector low, Vector high) noexcept {
    x.value = x.value < low.value ? low.value : x.value;
    return {x.value > high.value ? high.value : x.value};
  }
  // x < 0 ? slope * x : x
  static FASTCONV_INLINE Vector leaky(Vector x, Vector slope) noexcept {
    return {x.value < Native{} ? slope.value * x.value : x.value};
  }
  static FASTCONV_INLINE Vector exp(Vector x) noexcept {
    return map(x, [](float lane) { return __builtin_expf(lane); });
  }
  static FASTCONV_INLINE Vector tanh(Vector x) noexcept {
    return map(x, [](float lane) { return __builtin_tanhf(lane); });
  }
  static FASTCONV_INLINE Vector erf(Vector x) noexcept {
    return map(x, [](float lane) { return __builtin_erff(lane); });
  }

  template <class Function>
  static FASTCONV_INLINE Vector map(Vector x, Function function) noexcept {
    for (int i = 0; i < width; ++i) x.value[i] = function(x.value[i]);
    return x;
  }

  // Lane i of the result is lane lane[i] of x; lane points to one for each.
  struct Lanes {
    int lane[width];
  };
  static FASTCONV_INLINE Lanes lanes(const int* lane) noexcept {
    return {{lane[0], lane[1], lane[2], lane[3]}};
  }
  static FASTCONV_INLINE Vector permute(Vector x, const Lanes& l) noexcept {
    return {Native{x.value[l.lane[0]], x.value[l.lane[1]], x.value[l.lane[2]], x.value[l.lane[3]]}};
  }

  // a * b + c; rounded twice, as the platform has no fused operation for certain.
  static FASTCONV_INLINE Vector fma(Vector a, Vector b, Vector c) noexcept {
    return {a.value * b.value + c.value};
  }
};

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
