// SPDX-License-Identifier: Apache-2.0
#include "axes.hpp"

#include "geometry.hpp"
#include "integers.hpp"
#include "taps.hpp"

namespace fastconv {
namespace {

// What a window does along one axis.
struct Axis {
  std::int64_t size = 0, output = 0;
  std::int64_t kernel = 1, stride = 1, dilation = 1, before = 0, after = 0;
  std::int64_t step = 1;  // of what windows read

  bool is_single() const noexcept {
    return size == 1 && output == 1 && kernel == 1 && before == 0 && after == 0;
  }
};

std::array<Axis, 4> axes_of(const Problem& p) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  const Pair step = window_steps(p.window);
  return {Axis{p.n, p.n}, Axis{p.c, p.k},
          Axis{p.h, p.oh, kernel.h, stride.h, dilation.h, padding.top, padding.bottom, step.h},
          Axis{p.w, p.ow, kernel.w, stride.w, dilation.w, padding.left, padding.right, step.w}};
}

// What windows read of an axis: one element of every `step`, from `first` on.
struct Visited {
  std::int64_t step, first;
};
Visited visited(const Axis& a) noexcept {
  const std::int64_t first = (a.step - a.before % a.step) % a.step;
  return a.step <= a.size ? Visited{a.step, first} : Visited{1, 0};
}

// Pixels with adjacent channels have no direction of their own. 1x7 at 17x17, 192 channels 1305 ->
// 1179 us, at 8x8 128 -> 102 us (AVX-512); below 4 % in the padding, or of so few rows that tiles
// are short, it loses up to 16 % (AVX2), and of few channels `direct` loses twice its time.
bool lies_in_padding(const Problem& p) noexcept {
  constexpr std::int64_t kLeastRows = 7, kLeastChannels = 16;
  constexpr double kLeastShare = 0.04;
  const Window& window = p.window;
  return window.kernel_size.h == 1 && window.kernel_size.w > 1 &&
         window.padding_mode == PaddingMode::zeros && p.x_strides[1] == 1 && p.y_strides[1] == 1 &&
         p.oh >= kLeastRows && p.c_per_group() >= kLeastChannels &&
         share_of_columns_inside(p) < 1.0 - kLeastShare;
}

}  // namespace

Axes useful_axes(const Problem& p) noexcept {
  const auto sides = axes_of(p);
  const bool row = sides[2].is_single();
  const bool column = sides[3].is_single();
  const Axes axes = row && column        ? Axes{2, 1, 3, 0}
                    : row                ? Axes{2, 1, 0, 3}
                    : column             ? Axes{3, 1, 0, 2}
                    : lies_in_padding(p) ? Axes{0, 1, 3, 2}
                                         : Axes{0, 1, 2, 3};
  return check_products(permuted(p, axes)).ok() ? axes : Axes{0, 1, 2, 3};
}

Problem permuted(const Problem& p, const Axes& axes) noexcept {
  auto sides = axes_of(p);
  Problem q = p;
  q.x_strides = permuted(p.x_strides, axes);
  q.y_strides = permuted(p.y_strides, axes);
  for (std::size_t i = 2; i < 4; ++i) {
    Axis& a = sides[axes[i]];
    const auto [step, first] = visited(a);
    a.size = ceil_div(a.size - first, step);
    a.stride /= step;
    a.dilation /= step;
    a.before = ceil_div(a.before, step);
    a.after = ceil_div(a.after, step);
    q.x_strides[i] *= step;
  }
  const Axis& rows = sides[axes[2]];
  const Axis& columns = sides[axes[3]];
  q.n = sides[axes[0]].size;
  q.h = rows.size;
  q.oh = rows.output;
  q.w = columns.size;
  q.ow = columns.output;
  q.window.kernel_size = {rows.kernel, columns.kernel};
  q.window.stride = {rows.stride, columns.stride};
  q.window.dilation = {rows.dilation, columns.dilation};
  q.window.padding = {rows.before, rows.after, columns.before, columns.after};
  return q;
}

std::int64_t first_visited(const Problem& p, const Axes& axes) noexcept {
  const auto sides = axes_of(p);
  std::int64_t offset = 0;
  for (const std::size_t i : {axes[2], axes[3]}) {
    offset += visited(sides[i]).first * p.x_strides[i];
  }
  return offset;
}

Dims<4> permuted(const Dims<4>& strides, const Axes& axes) noexcept {
  return {strides[axes[0]], strides[axes[1]], strides[axes[2]], strides[axes[3]]};
}

}  // namespace fastconv
