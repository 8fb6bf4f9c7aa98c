// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace fastconv {

template <std::size_t Rank>
using Dims = std::array<std::int64_t, Rank>;

namespace detail {

// Product of two sizes; a negative factor or a product beyond 64 bits gives the largest int64,
// which every function that takes a view refuses.
constexpr std::int64_t size_product(std::int64_t a, std::int64_t b) noexcept {
  constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();
  if (a < 0 || b < 0) return largest;
  if (a == 0 || b == 0) return 0;
  return a > largest / b ? largest : a * b;
}

}  // namespace detail

// Non-owning strided view: element (i0, i1, …) lies at data[i0 * strides[0] + i1 * strides[1] + …].
// Strides are in elements and may be zero or negative (a destination's may be negative only).
// Making a view checks nothing and reads nothing; the functions that take views check them.
template <class T, std::size_t Rank>
struct View {
  T* data = nullptr;
  Dims<Rank> shape{};
  Dims<Rank> strides{};
  // The elements that the view may touch, if stated: [extent_begin, extent_begin + extent_size).
  T* extent_begin = nullptr;
  std::int64_t extent_size = -1;  // -1: not stated

  // View<float> converts to View<const float>.
  template <class U = T, class = std::enable_if_t<std::is_same_v<U, T> && !std::is_const_v<U>>>
  constexpr operator View<const U, Rank>() const noexcept {  // NOLINT: implicit
    return {data, shape, strides, extent_begin, extent_size};
  }

  // The same view with its extent stated, so that it is bounds-checked wherever it is used.
  constexpr View within(T* begin, std::int64_t elements) const noexcept {
    return {data, shape, strides, begin, elements};
  }

  // Elements begin, begin + step, … along `axis`, `count` of them; a negative step flips.
  // An impossible slice gives a view with shape -1 on that axis, which every function refuses.
  constexpr View slice(std::size_t axis, std::int64_t begin, std::int64_t count,
                       std::int64_t step = 1) const noexcept {
    View result = *this;
    if (axis >= Rank) {
      result.shape[0] = -1;
      return result;
    }
    const std::int64_t size = shape[axis];
    const std::int64_t reach = size > 0 ? kLargest / size : kLargest;  // no product below overflows
    bool possible = count >= 0 && begin >= 0 && begin <= size && step != 0 &&
                    strides[axis] <= reach && strides[axis] >= -reach;
    if (possible && count > 0) {
      const std::int64_t room = step > 0 ? size - 1 - begin : begin;
      const std::int64_t stride = step > 0 ? step : (step == kLowest ? kLargest : -step);
      possible = begin < size && count - 1 <= room / stride;
    }
    if (!possible) {
      result.shape[axis] = -1;
      return result;
    }
    result.shape[axis] = count;
    if (count > 0 && data != nullptr) result.data = data + begin * strides[axis];
    if (count > 1) result.strides[axis] = strides[axis] * step;
    return result;
  }

  // The axis read backwards.
  constexpr View flip(std::size_t axis) const noexcept {
    const bool filled = axis < Rank && shape[axis] > 0;
    return filled ? slice(axis, shape[axis] - 1, shape[axis], -1) : slice(axis, 0, 0);
  }

  // An axis of size 1 repeated `count` times with stride 0. For inputs only.
  constexpr View broadcast(std::size_t axis, std::int64_t count) const noexcept {
    View result = slice(axis, 0, 1);
    if (axis < Rank && shape[axis] != 1) result.shape[axis] = -1;
    if (axis < Rank && result.shape[axis] == 1) {
      result.shape[axis] = count;
      result.strides[axis] = 0;
    }
    return result;
  }

  // Axis i of the result is axis order[i] of this view.
  constexpr View permute(const std::array<std::size_t, Rank>& order) const noexcept {
    View result = *this;
    for (std::size_t i = 0; i < Rank; ++i) {
      if (order[i] >= Rank) {
        result.shape[i] = -1;
        continue;
      }
      result.shape[i] = shape[order[i]];
      result.strides[i] = strides[order[i]];
    }
    return result;
  }

 private:
  static constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();
  static constexpr std::int64_t kLowest = std::numeric_limits<std::int64_t>::min();
};

// Activations, in the order N, C, H, W whatever their layout in memory.
using TensorView = View<float, 4>;
using ConstTensorView = View<const float, 4>;

// Contiguous row-major view of any rank.
template <class T, std::size_t Rank>
constexpr View<T, Rank> contiguous(T* data, const Dims<Rank>& shape) noexcept {
  View<T, Rank> view{data, shape, {}, nullptr, -1};
  std::int64_t stride = 1;
  for (std::size_t i = Rank; i-- > 0;) {
    view.strides[i] = stride;
    stride = detail::size_product(stride, shape[i]);
  }
  return view;
}

// Dense activations of shape (n, c, h, w), W fastest.
template <class T>
constexpr View<T, 4> nchw(T* data, std::int64_t n, std::int64_t c, std::int64_t h,
                          std::int64_t w) noexcept {
  return contiguous<T, 4>(data, {n, c, h, w});
}

// Dense activations of shape (n, c, h, w), C fastest.
template <class T>
constexpr View<T, 4> nhwc(T* data, std::int64_t n, std::int64_t c, std::int64_t h,
                          std::int64_t w) noexcept {
  return contiguous<T, 4>(data, {n, h, w, c}).permute({0, 3, 1, 2});
}

// Dense filters of shape (k, c, r, s), where c = in_channels / groups.
template <class T>
constexpr View<T, 4> oihw(T* data, std::int64_t k, std::int64_t c, std::int64_t r,
                          std::int64_t s) noexcept {
  return contiguous<T, 4>(data, {k, c, r, s});
}
template <class T>
constexpr View<T, 4> ohwi(T* data, std::int64_t k, std::int64_t c, std::int64_t r,
                          std::int64_t s) noexcept {
  return contiguous<T, 4>(data, {k, r, s, c}).permute({0, 3, 1, 2});
}
template <class T>
constexpr View<T, 4> hwio(T* data, std::int64_t k, std::int64_t c, std::int64_t r,
                          std::int64_t s) noexcept {
  return contiguous<T, 4>(data, {r, s, c, k}).permute({3, 2, 0, 1});
}

// The memory of `base` seen with another shape and other strides (in elements), starting at
// base.data and keeping its stated extent: numpy.lib.stride_tricks.as_strided.
template <class T, std::size_t BaseRank, std::size_t Rank>
constexpr View<T, Rank> as_strided(const View<T, BaseRank>& base, const Dims<Rank>& shape,
                                   const Dims<Rank>& strides) noexcept {
  return {base.data, shape, strides, base.extent_begin, base.extent_size};
}

}  // namespace fastconv
