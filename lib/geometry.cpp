// SPDX-License-Identifier: Apache-2.0
#include "geometry.hpp"

#include <algorithm>
#include <numeric>

#include "integers.hpp"
#include "names.hpp"
#include "views.hpp"

namespace fastconv {
namespace {

constexpr Named<PaddingMode> kModes[] = {
    {PaddingMode::zeros, "zeros"},
    {PaddingMode::reflect, "reflect"},
    {PaddingMode::replicate, "replicate"},
    {PaddingMode::circular, "circular"},
};

bool add(std::int64_t a, std::int64_t b, std::int64_t& sum) noexcept {
  return !__builtin_add_overflow(a, b, &sum);
}

Status check_positive(const char* argument, Pair value) noexcept {
  if (value.h < 1 || value.w < 1) {
    return fail(StatusCode::invalid_argument, "%s: must be at least 1, got %lld x %lld", argument,
                ll(value.h), ll(value.w));
  }
  return {};
}

Status check_window(const Window& window) noexcept {
  FASTCONV_TRY(check_positive("kernel_size", window.kernel_size));
  FASTCONV_TRY(check_positive("stride", window.stride));
  FASTCONV_TRY(check_positive("dilation", window.dilation));
  const Padding& p = window.padding;
  if (p.top < 0 || p.bottom < 0 || p.left < 0 || p.right < 0) {
    return fail(StatusCode::invalid_argument,
                "padding: must not be negative, got top %lld, bottom %lld, left %lld, right %lld",
                ll(p.top), ll(p.bottom), ll(p.left), ll(p.right));
  }
  for (const auto& mode : kModes) {
    if (mode.value == window.padding_mode) return {};
  }
  return fail(StatusCode::invalid_argument, "padding_mode: %d is no padding mode",
              static_cast<int>(window.padding_mode));
}

Status output_axis(const char* axis, std::int64_t size, std::int64_t kernel, std::int64_t stride,
                   std::int64_t before, std::int64_t after, std::int64_t dilation, PaddingMode mode,
                   std::int64_t& output) noexcept {
  if (size < 1) {
    return fail(StatusCode::invalid_argument, "x: %s must be at least 1, got %lld", axis, ll(size));
  }
  const std::int64_t limit = mode == PaddingMode::reflect ? size - 1 : size;
  if ((mode == PaddingMode::reflect || mode == PaddingMode::circular) &&
      (before > limit || after > limit)) {
    return fail(StatusCode::invalid_argument,
                "padding: mode %s fills at most %lld around a %s of %lld, got %lld and %lld",
                name(mode), ll(limit), axis, ll(size), ll(before), ll(after));
  }
  std::int64_t padded = 0;
  std::int64_t reach = 0;
  if (!add(size, before, padded) || !add(padded, after, padded) ||
      !multiply(dilation, kernel - 1, reach) || !add(reach, 1, reach)) {
    return fail(StatusCode::overflow,
                "%s: %lld with padding %lld and %lld, kernel %lld, dilation %lld exceeds 64 bits",
                axis, ll(size), ll(before), ll(after), ll(kernel), ll(dilation));
  }
  if (reach > padded) {
    return fail(StatusCode::invalid_argument,
                "kernel_size: %lld with dilation %lld reaches over %lld, more than the padded %s "
                "of %lld",
                ll(kernel), ll(dilation), ll(reach), axis, ll(padded));
  }
  output = (padded - reach) / stride + 1;
  return {};
}

}  // namespace

const char* name(PaddingMode mode) noexcept { return find_name(kModes, mode); }

Status parse_padding_mode(const char* text, PaddingMode& mode) noexcept {
  return find_value(kModes, "padding_mode", text, mode);
}

Status output_size(const Window& window, std::int64_t height, std::int64_t width,
                   Pair& output) noexcept {
  FASTCONV_TRY(check_window(window));
  Pair size;
  FASTCONV_TRY(output_axis("height", height, window.kernel_size.h, window.stride.h,
                           window.padding.top, window.padding.bottom, window.dilation.h,
                           window.padding_mode, size.h));
  FASTCONV_TRY(output_axis("width", width, window.kernel_size.w, window.stride.w,
                           window.padding.left, window.padding.right, window.dilation.w,
                           window.padding_mode, size.w));
  output = size;
  return {};
}

Status same_padding(Pair kernel_size, Pair stride, Pair dilation, std::int64_t height,
                    std::int64_t width, Padding& padding, bool extra_before) noexcept {
  FASTCONV_TRY(check_window({kernel_size, stride, 0, dilation, PaddingMode::zeros}));
  const auto total = [](const char* axis, std::int64_t size, std::int64_t kernel, std::int64_t step,
                        std::int64_t spacing, std::int64_t& result) -> Status {
    if (size < 1) {
      return fail(StatusCode::invalid_argument, "%s: must be at least 1, got %lld", axis, ll(size));
    }
    // (ceil(size / step) - 1) * step is at most size - 1.
    const std::int64_t last = (size - 1) / step * step;
    if (!multiply(spacing, kernel - 1, result)) {
      return fail(StatusCode::overflow, "kernel_size: %lld with dilation %lld exceeds 64 bits",
                  ll(kernel), ll(spacing));
    }
    result -= size - 1 - last;
    if (result < 0) result = 0;
    return {};
  };
  std::int64_t rows = 0, columns = 0;
  FASTCONV_TRY(total("height", height, kernel_size.h, stride.h, dilation.h, rows));
  FASTCONV_TRY(total("width", width, kernel_size.w, stride.w, dilation.w, columns));
  const std::int64_t extra_behind = extra_before ? 0 : 1;
  padding.bottom = rows / 2 + rows % 2 * extra_behind;
  padding.top = rows - padding.bottom;
  padding.right = columns / 2 + columns % 2 * extra_behind;
  padding.left = columns - padding.right;
  return {};
}

Status check_descriptor(const Conv2d& d) noexcept {
  if (d.in_channels < 1) {
    return fail(StatusCode::invalid_argument, "in_channels: must be at least 1, got %lld",
                ll(d.in_channels));
  }
  if (d.out_channels < 1) {
    return fail(StatusCode::invalid_argument, "out_channels: must be at least 1, got %lld",
                ll(d.out_channels));
  }
  if (d.groups < 1) {
    return fail(StatusCode::invalid_argument, "groups: must be at least 1, got %lld", ll(d.groups));
  }
  if (d.in_channels % d.groups != 0 || d.out_channels % d.groups != 0) {
    return fail(StatusCode::invalid_argument,
                "groups: must divide in_channels %lld and out_channels %lld, got %lld",
                ll(d.in_channels), ll(d.out_channels), ll(d.groups));
  }
  return check_window(d.window());
}

Dims<4> used_strides(const Dims<4>& shape, const Dims<4>& strides) noexcept {
  constexpr std::int64_t kHuge = std::int64_t{1}
                                 << 32;  // no dense tensor's stride beside a size of 1
  Dims<4> used = strides;
  for (std::size_t i = 0; i < used.size(); ++i) {
    if (shape[i] <= 1 && (strides[i] > kHuge || strides[i] < -kHuge)) used[i] = 0;
  }
  return used;
}

Status set_window(const Window& window, const ConstTensorView& x, Pair output,
                  Problem& problem) noexcept {
  const Dims<4> strides = used_strides(x.shape, x.strides);
  constexpr std::int64_t kFarthest = std::int64_t{1} << 61;
  const Padding& padding = window.padding;
  const std::int64_t padded[] = {x.shape[2] + padding.top + padding.bottom,
                                 x.shape[3] + padding.left + padding.right};
  for (std::size_t i = 0; i < 2; ++i) {
    std::int64_t offset = 0;
    if (!multiply(padded[i], strides[2 + i], offset) || offset > kFarthest || offset < -kFarthest) {
      return fail(StatusCode::overflow,
                  "x: a padded %s of %lld times its stride %lld exceeds 64 bits",
                  i == 0 ? "height" : "width", ll(padded[i]), ll(strides[2 + i]));
    }
  }
  problem.window = window;
  // A step that is never taken may be of any size.
  if (output.h == 1) problem.window.stride.h = 1;
  if (output.w == 1) problem.window.stride.w = 1;
  if (window.kernel_size.h == 1) problem.window.dilation.h = 1;
  if (window.kernel_size.w == 1) problem.window.dilation.w = 1;
  problem.n = x.shape[0];
  problem.c = x.shape[1];
  problem.h = x.shape[2];
  problem.w = x.shape[3];
  problem.oh = output.h;
  problem.ow = output.w;
  problem.x_strides = strides;
  return {};
}

bool pads_with_zeros(const Window& window) noexcept {
  return window.padding_mode == PaddingMode::zeros || !window.padding.any();
}

Pair window_steps(const Window& window) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = window;
  if (!pads_with_zeros(window)) return 1;  // mirrored, other pixels are read
  return {kernel.h > 1 ? std::gcd(stride.h, dilation.h) : 1,
          kernel.w > 1 ? std::gcd(stride.w, dilation.w) : 1};
}

// What algorithms copy or point to of the padded image: eight bytes for each of C * (padded height)
// * (padded width), columns counted twice, and the taps' own columns. The largest product is one
// image's im2col matrix, C*R*S*OH*OW*4 bytes.
Status check_products(const Problem& p) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  std::int64_t matrix = sizeof(float);
  for (const std::int64_t factor : {p.c, kernel.h, kernel.w, p.oh, p.ow}) {
    if (!multiply(matrix, factor, matrix)) {
      return fail(StatusCode::overflow,
                  "x: %lld channels x kernel %lld x %lld x output %lld x %lld exceeds 64 bits",
                  ll(p.c), ll(kernel.h), ll(kernel.w), ll(p.oh), ll(p.ow));
    }
  }
  const std::int64_t height = p.h + padding.top + padding.bottom;  // output_size has added these
  const std::int64_t width = p.w + padding.left + padding.right;
  std::int64_t taps = 0, columns = 0, rows = 0, bytes = 8;
  if (!multiply(64, kernel.w, taps) || !multiply(2, width, columns) ||
      !add(columns, taps, columns) || !add(height, 64, rows) || !multiply(bytes, p.c, bytes) ||
      !multiply(bytes, rows, bytes) || !multiply(bytes, columns, bytes)) {
    return fail(StatusCode::overflow,
                "padding: %lld channels of a padded image of %lld x %lld exceed 64 bits", ll(p.c),
                ll(height), ll(width));
  }
  std::int64_t outputs = 8;
  for (const std::int64_t factor : {p.k, p.oh + 64, p.ow + 64}) {
    if (!multiply(outputs, factor, outputs)) {
      return fail(StatusCode::overflow, "y: %lld channels of %lld x %lld exceed 64 bits", ll(p.k),
                  ll(p.oh), ll(p.ow));
    }
  }
  return {};
}

Status make_problem(const Conv2d& d, const ConstTensorView& x, const TensorView& y,
                    Problem& problem) noexcept {
  FASTCONV_TRY(check_shape("x", x.shape, x.strides));
  FASTCONV_TRY(check_shape("y", y.shape, y.strides));
  if (x.shape[1] != d.in_channels) {
    return fail(StatusCode::shape_mismatch,
                "x: has %lld channels (its N, C, H and W are %lld, %lld, %lld, %lld), the layer "
                "takes in_channels %lld",
                ll(x.shape[1]), ll(x.shape[0]), ll(x.shape[1]), ll(x.shape[2]), ll(x.shape[3]),
                ll(d.in_channels));
  }
  Pair output;
  FASTCONV_TRY(output_size(d.window(), x.shape[2], x.shape[3], output));
  if (y.shape != Dims<4>{x.shape[0], d.out_channels, output.h, output.w}) {
    return fail(StatusCode::shape_mismatch,
                "y: has shape %lld x %lld x %lld x %lld, the result has %lld x %lld x %lld x %lld",
                ll(y.shape[0]), ll(y.shape[1]), ll(y.shape[2]), ll(y.shape[3]), ll(x.shape[0]),
                ll(d.out_channels), ll(output.h), ll(output.w));
  }
  FASTCONV_TRY(set_window(d.window(), x, output, problem));
  problem.groups = d.groups;
  problem.k = y.shape[1];
  problem.y_strides = used_strides(y.shape, y.strides);
  return check_products(problem);
}

}  // namespace fastconv
