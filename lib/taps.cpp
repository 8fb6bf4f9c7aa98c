// SPDX-License-Identifier: Apache-2.0
#include "taps.hpp"

#include <algorithm>
#include <numeric>

#include "integers.hpp"

namespace fastconv {
namespace {

TapRange taps_inside(std::int64_t size, std::int64_t kernel, std::int64_t stride,
                     std::int64_t before, std::int64_t dilation, std::int64_t outputs,
                     std::int64_t output) noexcept {
  const std::int64_t first = output * stride - before;  // of the image, under the first tap
  const std::int64_t room = size - 1 - first;
  TapRange taps{0, 0, outputs};
  if (first < 0) {
    taps.begin = std::min(kernel, ceil_div(-first, dilation));
    taps.until = ceil_div(before - (taps.begin - 1) * dilation, stride);
  }
  if (room >= 0) {
    taps.end = std::min(kernel, room / dilation + 1);
    const std::int64_t last = (size - 1 + before - (taps.end - 1) * dilation) / stride;
    taps.until = std::min(taps.until, last + 1);
  }
  taps.until = std::min(taps.until, outputs);
  return taps;
}

Range outputs_inside(std::int64_t size, std::int64_t stride, std::int64_t before,
                     std::int64_t dilation, std::int64_t outputs, std::int64_t tap) noexcept {
  const std::int64_t first = before - tap * dilation;  // of the image, from the first window on
  const std::int64_t last = size - 1 + first;
  return {std::max<std::int64_t>(0, ceil_div(first, stride)),
          last < 0 ? 0 : std::min(outputs, last / stride + 1)};
}

double share_inside(TapRange (*inside)(const Problem&, std::int64_t) noexcept, const Problem& p,
                    std::int64_t outputs, std::int64_t taps, std::int64_t together) noexcept {
  std::int64_t sum = 0;
  for (std::int64_t i = 0, next = 0; i < outputs; i = next) {
    const TapRange first = inside(p, i);
    next = std::max(first.until, std::min(i + together, outputs));
    const TapRange last = inside(p, next - 1);
    sum += std::max<std::int64_t>(0, first.end - last.begin) * (next - i);
  }
  return real(sum) / real(outputs * taps);
}

bool has_far_columns(const Window& window) noexcept {
  return window.kernel_size.w > 1 && window.dilation.w / window.stride.w >= 4;
}

}  // namespace

TapRange tap_rows_inside(const Problem& p, std::int64_t output_row) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  return taps_inside(p.h, kernel.h, stride.h, padding.top, dilation.h, p.oh, output_row);
}

TapRange tap_columns_inside(const Problem& p, std::int64_t output_column) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  return taps_inside(p.w, kernel.w, stride.w, padding.left, dilation.w, p.ow, output_column);
}

Range output_rows_inside(const Problem& p, std::int64_t tap_row) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  return outputs_inside(p.h, stride.h, padding.top, dilation.h, p.oh, tap_row);
}

Range output_columns_inside(const Problem& p, std::int64_t tap_column) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  return outputs_inside(p.w, stride.w, padding.left, dilation.w, p.ow, tap_column);
}

Range image_rows_read(const Problem& p, const Range& output_rows) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  const std::int64_t begin = output_rows.begin * stride.h - padding.top;
  const std::int64_t last =
      (output_rows.end - 1) * stride.h - padding.top + (kernel.h - 1) * dilation.h;
  const std::int64_t end = std::clamp<std::int64_t>(last + 1, 0, p.h);
  return {std::clamp<std::int64_t>(begin, 0, end), end};
}

double share_of_rows_inside(const Problem& p, std::int64_t together) noexcept {
  return share_inside(tap_rows_inside, p, p.oh, p.window.kernel_size.h, together);
}

double share_of_columns_inside(const Problem& p, std::int64_t together) noexcept {
  return share_inside(tap_columns_inside, p, p.ow, p.window.kernel_size.w, together);
}

std::int64_t column_cut(const Problem& p, int mr) noexcept {
  return has_far_columns(p.window) ? 1 : even_block(p.ow, mr, 1);
}

// Worth it where tiles of pixels far apart are not too short to keep the FMAs busy, and where the
// kernel is much wider than a tile: 16 groups of 48 channels 1x128 on 50 columns 4420 -> 2640 us,
// on 150 12760 -> 11430 (AVX2 4480 -> 2940, 12800 -> 12180).
bool cuts_columns(const Problem& p, int mr) noexcept {
  constexpr std::int64_t kLeastChannels = 16;  // or stretches are too short
  if (p.window.padding_mode != PaddingMode::zeros) return false;
  if (has_far_columns(p.window)) return true;
  return p.window.kernel_size.w >= 2 * mr && p.c_per_group() >= kLeastChannels &&
         share_of_columns_inside(p, column_cut(p, mr)) < 0.9;
}

Patch::Patch(const Problem& p, std::int64_t output_rows, std::int64_t output_columns) noexcept {
  const auto fit = [](std::int64_t outputs, std::int64_t stride, std::int64_t kernel,
                      std::int64_t dilation, std::int64_t& visited) {
    visited = kernel == 1 ? stride : outputs == 1 ? dilation : std::gcd(stride, dilation);
    return ((outputs - 1) * stride + (kernel - 1) * dilation) / visited + 1;
  };
  const Window& w = p.window;
  rows = fit(output_rows, w.stride.h, w.kernel_size.h, w.dilation.h, step.h);
  columns = fit(output_columns, w.stride.w, w.kernel_size.w, w.dilation.w, step.w);
}

Inside::Inside(const Problem& p) noexcept {
  const auto along = [](std::int64_t size, std::int64_t before, std::int64_t reach,
                        std::int64_t stride, std::int64_t outputs, std::int64_t& first,
                        std::int64_t& last) {
    first = std::min(ceil_div(before, stride), outputs);
    const std::int64_t room = size - 1 - reach + before;
    last = room < 0 ? 0 : std::min(room / stride + 1, outputs);
  };
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  along(p.h, padding.top, (kernel.h - 1) * dilation.h, stride.h, p.oh, begin.h, end.h);
  along(p.w, padding.left, (kernel.w - 1) * dilation.w, stride.w, p.ow, begin.w, end.w);
}

}  // namespace fastconv
