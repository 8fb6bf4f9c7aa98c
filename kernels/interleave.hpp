// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "simd.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

// Calls vector(pixel) for vectors of pixels that cover [0, count), the last one overlapping the one
// before it, and element(pixel) for pixels that none covers.
template <int Width, class VectorStep, class ElementStep>
FASTCONV_INLINE void cover_pixels(std::int64_t count, bool exact, VectorStep vector,
                                  ElementStep element) noexcept {
  const std::int64_t covered = exact ? count : count - 1;
  std::int64_t pixel = 0;
  if (covered >= Width) {
    for (; pixel + Width <= covered; pixel += Width) vector(pixel);
    if (pixel < covered) vector(covered - Width);
    pixel = covered;
  }
  for (; pixel < count; ++pixel) element(pixel);
}

// `count` elements `step` apart, written side by side.
template <class Arch>
__attribute__((noinline)) void copy_strided(float* out, const float* in, std::int64_t step,
                                            std::int64_t count) noexcept {
  using V = Vector<Arch>;
  const auto element = [&](std::int64_t i) { out[i] = in[i * step]; };
  if (step == 2 && count >= V::width) {
    const auto even = [&](std::int64_t i) __attribute__((always_inline)) {
      V::load_even(in + 2 * i).store(out + i);
    };
    cover_pixels<V::width>(count, true, even, element);
    return;
  }
  // Four to a store: one by one takes 1 cycle or 2, by where the compiler happens to put the loop.
  const auto four = [&](std::int64_t i) __attribute__((always_inline)) {
    using Quad = float __attribute__((vector_size(16)));
    const float* from = in + i * step;
    const Quad quad{from[0], from[step], from[2 * step], from[3 * step]};
    __builtin_memcpy(out + i, &quad, sizeof quad);
  };
  cover_pixels<4>(count, true, four, element);
}

// The same. If they lie side by side may write up to a vector behind the last one: what lies there
// is written afterwards.
template <class Arch>
FASTCONV_INLINE void copy_run(float* out, const float* in, std::int64_t step,
                              std::int64_t count) noexcept {
  using V = Vector<Arch>;
  if (step != 1) return copy_strided<Arch>(out, in, step, count);
  std::int64_t i = 0;
  for (; i + V::width <= count; i += V::width) V::load(in + i).store(out + i);
  if (i < count) V::load_first(in + i, static_cast<int>(count - i)).store(out + i);
}

template <class Arch>
FASTCONV_INLINE void fill_zeros(float* out, std::int64_t count) noexcept {
  using V = Vector<Arch>;
  for (std::int64_t i = 0; i < count; i += V::width) V::zero().store(out + i);
}

// Pixels with adjacent channels to one row for each channel, and back: what lies between NHWC and
// kernels whose pixels lie along the vectors. Four channels of a vector of pixels at a time, the
// last four overlapping those before them; or three, if that is all there is between pixels. Two
// that are written as four are overwritten by the next pixel; the last, which has no next, goes
// element by element.

// Three channels side by side, in three vectors. A width is no multiple of 3: every lane has each
// channel in one of the three, from which two blends take it.
template <int Width, int First, int Step, int Owner>
struct Blend {
  static constexpr int lane(int i) noexcept {
    return (First + Step * i) % 3 == Owner ? Width + i : i;
  }
};
template <int Width, int First, int Step>
struct Spread {
  static constexpr int lane(int i) noexcept { return (First + Step * i) % Width; }
};

// The vector in which lane i has channel C is (C - i) * Width mod 3, as Width * Width mod 3 is 1.
template <int C, class V>
FASTCONV_INLINE V channel_of_triples(const V (&v)[3]) noexcept {
  constexpr int W = V::width;
  constexpr auto lanes = std::make_integer_sequence<int, W>();
  const V two = shuffle<Blend<W, C * W, 2 * W, 1>>(v[0], v[1], lanes);
  const V all = shuffle<Blend<W, C * W, 2 * W, 2>>(two, v[2], lanes);
  return shuffle<Spread<W, C, 3>>(all, all, lanes);
}
template <int I, class V>
FASTCONV_INLINE V vector_of_triples(const V (&spread)[3]) noexcept {
  constexpr int W = V::width;
  constexpr auto lanes = std::make_integer_sequence<int, W>();
  const V two = shuffle<Blend<W, I * W, 1, 1>>(spread[0], spread[1], lanes);
  return shuffle<Blend<W, I * W, 1, 2>>(two, spread[2], lanes);
}

template <class V>
FASTCONV_INLINE void split_triples(V (&v)[3]) noexcept {
  const V channel[3] = {channel_of_triples<0>(v), channel_of_triples<1>(v),
                        channel_of_triples<2>(v)};
  FASTCONV_UNROLL
  for (int c = 0; c < 3; ++c) v[c] = channel[c];
}
template <class V>
FASTCONV_INLINE void join_triples(V (&v)[3]) noexcept {
  constexpr int W = V::width;
  constexpr auto lanes = std::make_integer_sequence<int, W>();
  // Pixel p of channel c goes to lane 3 p + c; 11 is what 3 is divided by, in any width.
  const V spread[3] = {shuffle<Spread<W, 0, 11>>(v[0], v[0], lanes),
                       shuffle<Spread<W, 11 * (W - 1), 11>>(v[1], v[1], lanes),
                       shuffle<Spread<W, 11 * (W - 2), 11>>(v[2], v[2], lanes)};
  v[0] = vector_of_triples<0>(spread);
  v[1] = vector_of_triples<1>(spread);
  v[2] = vector_of_triples<2>(spread);
}

// Vector v of a row of `count` floats, which ends within it, before it or behind it.
template <class V>
FASTCONV_INLINE int lanes_of(int v, std::int64_t count) noexcept {
  const std::int64_t left = count - v * V::width;
  return left <= 0 ? 0 : left < V::width ? static_cast<int>(left) : V::width;
}

// out[c * plane + pixel] = in[pixel * step + c]
template <class Arch>
void split_channels(float* out, std::int64_t plane, const float* in, std::int64_t step,
                    std::int64_t channels, std::int64_t count) noexcept {
  using V = Vector<Arch>;
  const auto element = [&](std::int64_t pixel) {
    for (std::int64_t c = 0; c < channels; ++c) out[c * plane + pixel] = in[pixel * step + c];
  };
  // Three of more channels would be read with a fourth, which nobody gave.
  if (channels < 4 && (channels < 3 || step != 3)) {
    for (std::int64_t c = 0; c < channels; ++c)
      copy_run<Arch>(out + c * plane, in + c, step, count);
    return;
  }
  if (channels == 3) {
    if (V::free_masks && count < V::width) {  // 10x10, three images: 1.8 -> 1.1 us
      V triple[3];
      FASTCONV_UNROLL
      for (int v = 0; v < 3; ++v) {
        triple[v] = V::load_first(in + v * V::width, lanes_of<V>(v, 3 * count));
      }
      split_triples(triple);
      FASTCONV_UNROLL
      for (int c = 0; c < 3; ++c) triple[c].store_first(out + c * plane, static_cast<int>(count));
      return;
    }
    cover_pixels<V::width>(
        count, true,
        [&](std::int64_t pixel) __attribute__((always_inline)) {
          const float* from = in + 3 * pixel;
          V triple[3] = {V::load_once(from), V::load_once(from + V::width),
                         V::load_once(from + 2 * V::width)};
          split_triples(triple);
          FASTCONV_UNROLL
          for (int c = 0; c < 3; ++c) triple[c].store(out + c * plane + pixel);
        },
        element);
    return;
  }
  // Where a row is too short for a vector of pixels, four of a vector of channels.
  if (count >= 4 && count < V::width && channels >= V::width) {
    for (std::int64_t pixel = 0; pixel < count; pixel += 4) {
      if (pixel + 4 > count) pixel = count - 4;
      for (std::int64_t c = 0; c < channels; c += V::width) {
        if (c + V::width > channels) c = channels - V::width;
        const float* from = in + pixel * step + c;
        const V quad[4] = {V::load(from), V::load(from + step), V::load(from + 2 * step),
                           V::load(from + 3 * step)};
        V::store_quads(quad, out + c * plane + pixel, plane);
      }
    }
    return;
  }
  cover_pixels<V::width>(
      count, true,
      [&](std::int64_t pixel) __attribute__((always_inline)) {
        for (std::int64_t c = 0; c < channels; c += 4) {
          if (c > 0 && c + 4 > channels) c = channels - 4;
          V quad[4];
          V::load_quads(in + pixel * step + c, step, quad);
          float* to = out + c * plane + pixel;
          FASTCONV_UNROLL
          for (int i = 0; i < 4; ++i) quad[i].store(to + i * plane);
        }
      },
      element);
}

// out[pixel * step + c] = in[c * plane + pixel]
template <class Arch>
void join_channels(float* out, std::int64_t step, const float* in, std::int64_t plane,
                   std::int64_t channels, std::int64_t count) noexcept {
  using V = Vector<Arch>;
  const auto element = [&](std::int64_t pixel) {
    for (std::int64_t c = 0; c < channels; ++c) out[pixel * step + c] = in[c * plane + pixel];
  };
  // What a pixel writes into its successor is overwritten, what it writes between them is not.
  if (channels < 4 && (channels < 2 || channels != step)) {
    for (std::int64_t pixel = 0; pixel < count; ++pixel) element(pixel);
    return;
  }
  if (channels == 3) {
    if (V::free_masks && count < V::width) {
      const int lanes = static_cast<int>(count);
      V triple[3] = {V::load_first(in, lanes), V::load_first(in + plane, lanes),
                     V::load_first(in + 2 * plane, lanes)};
      join_triples(triple);
      FASTCONV_UNROLL
      for (int v = 0; v < 3; ++v) {
        triple[v].store_first(out + v * V::width, lanes_of<V>(v, 3 * count));
      }
      return;
    }
    cover_pixels<V::width>(
        count, true,
        [&](std::int64_t pixel) __attribute__((always_inline)) {
          const float* from = in + pixel;
          V triple[3] = {V::load(from), V::load(from + plane), V::load(from + 2 * plane)};
          join_triples(triple);
          FASTCONV_UNROLL
          for (int i = 0; i < 3; ++i) triple[i].store(out + 3 * pixel + i * V::width);
        },
        element);
    return;
  }
  const std::int64_t last = channels < 4 ? channels - 1 : 3;
  cover_pixels<V::width>(
      count, channels >= 4,
      [&](std::int64_t pixel) __attribute__((always_inline)) {
        for (std::int64_t c = 0; c < channels; c += 4) {
          if (c > 0 && c + 4 > channels) c = channels - 4;
          const float* from = in + c * plane + pixel;
          const V quad[4] = {V::load(from), V::load(from + plane),
                             V::load(from + (last < 2 ? last : 2) * plane),
                             V::load(from + last * plane)};
          V::store_quads(quad, out + pixel * step + c, step);
        }
      },
      element);
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
