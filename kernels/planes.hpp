// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pack.hpp"
#include "padding.hpp"
#include "simd.hpp"
#include "table.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

// Pixels with adjacent channels to one row for each channel, and back: what lies between NHWC and
// kernels whose pixels lie along the vectors. Four channels of a vector of pixels at a time, the
// last four overlapping those before them; or three, if that is all there is between pixels. Three
// of more take a fourth along, which the next pixel owns; hence the last pixel, which has no next,
// goes element by element.

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

// out[c * plane + pixel] = in[pixel * step + c]
template <class Arch>
void split_channels(float* out, std::int64_t plane, const float* in, std::int64_t step,
                    std::int64_t channels, std::int64_t count) noexcept {
  using V = Vector<Arch>;
  const auto element = [&](std::int64_t pixel) {
    for (std::int64_t c = 0; c < channels; ++c) out[c * plane + pixel] = in[pixel * step + c];
  };
  if (channels < 3 || step < 3) {
    for (std::int64_t c = 0; c < channels; ++c)
      copy_run<Arch>(out + c * plane, in + c, step, count);
    return;
  }
  if (channels == 3 && step == 3) {
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
  cover_pixels<V::width>(
      count, channels > 3,
      [&](std::int64_t pixel) __attribute__((always_inline)) {
        for (std::int64_t c = 0; c < channels; c += 4) {
          if (c > 0 && c + 4 > channels) c = channels - 4;
          V quad[4];
          V::load_quads(in + pixel * step + c, step, quad);
          float* to = out + c * plane + pixel;
          FASTCONV_UNROLL
          for (int i = 0; i < 3; ++i) quad[i].store(to + i * plane);
          if (channels > 3) quad[3].store(to + 3 * plane);
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

// Copies a block of channels, rows and columns between tensors of any strides.
template <class Arch>
void copy_planes(const PlaneCopy& copy) {
  const auto [channels, rows, columns] = copy.shape;
  const auto [from_channel, from_row, from_column] = copy.from_strides;
  const auto [to_channel, to_row, to_column] = copy.to_strides;
  for (std::int64_t i = 0; i < rows; ++i) {
    const float* from = copy.from + i * from_row;
    float* to = copy.to + i * to_row;
    if (from_column == 1 && to_channel == 1 && to_column >= channels) {
      join_channels<Arch>(to, to_column, from, from_channel, channels, columns);
      continue;
    }
    if (from_channel == 1 && to_column == 1) {
      split_channels<Arch>(to, to_channel, from, from_column, channels, columns);
      continue;
    }
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t j = 0; j < columns; ++j) {
        to[c * to_channel + j * to_column] = from[c * from_channel + j * from_column];
      }
    }
  }
}

// The image under a block of output rows and columns, padded, as planes whose columns a stride
// visits one after the other: [channels][rows][phases][pitch], of which those under a tap.
template <class Arch>
void pack_planes(const RegionArguments& arguments) {
  const Problem& p = *arguments.problem;
  const auto [kernel, stride, padding, dilation, mode] = p.window;
  const std::int64_t top = arguments.first_row * stride.h - padding.top;
  const std::int64_t left = arguments.first_column * stride.w - padding.left;
  const std::int64_t step = stride.w * p.x_strides[3];
  const std::int64_t plane = arguments.plane;
  const std::int64_t row_pitch = arguments.phase_count * arguments.pitch;
  // Adjacent channels are read together, others one after the other.
  const bool together = p.x_strides[1] == 1 && step > 1;
  const std::int64_t at_once = together ? arguments.channels : 1;
  for (std::int64_t k = 0; k < arguments.phase_count; ++k) {
    const std::int64_t first = left + arguments.phases[k];
    const std::int64_t count = (arguments.columns - arguments.phases[k] + stride.w - 1) / stride.w;
    // Columns [begin, end) of the phase lie in the image.
    std::int64_t begin = first >= 0 ? 0 : (-first + stride.w - 1) / stride.w;
    std::int64_t end = first < p.w ? (p.w - 1 - first) / stride.w + 1 : 0;
    if (begin > count) begin = count;
    if (end > count) end = count;
    if (end < begin) end = begin;
    for (std::int64_t c = 0; c < arguments.channels; c += at_once) {
      float* out = arguments.out + c * plane + k * arguments.pitch;
      for (std::int64_t i = 0; i < arguments.rows; ++i, out += row_pitch) {
        const std::int64_t h = source_index(top + i * arguments.row_step, p.h, mode);
        if (h < 0) {
          for (std::int64_t n = 0; n < at_once; ++n) fill_zeros<Arch>(out + n * plane, count);
          continue;
        }
        const float* row = arguments.x + c * p.x_strides[1] + h * p.x_strides[2];
        const auto border = [&](std::int64_t j) {
          // C++17 lets no lambda capture a structured binding, hence the long names.
          const std::int64_t w =
              source_index(first + j * p.window.stride.w, p.w, p.window.padding_mode);
          for (std::int64_t n = 0; n < at_once; ++n) {
            out[n * plane + j] = w < 0 ? 0.0F : row[w * p.x_strides[3] + n];
          }
        };
        for (std::int64_t j = 0; j < begin; ++j) border(j);
        if (begin < end) {
          const float* in = row + (first + begin * stride.w) * p.x_strides[3];
          if (together) {
            split_channels<Arch>(out + begin, plane, in, step, at_once, end - begin);
          } else {
            copy_run<Arch>(out + begin, in, step, end - begin);
          }
        }
        for (std::int64_t j = end; j < count; ++j) border(j);
      }
    }
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
