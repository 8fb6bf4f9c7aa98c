// SPDX-License-Identifier: Apache-2.0
#include "depthwise.hpp"

#include <algorithm>

#include "../kernels/padding.hpp"
#include "costs.hpp"
#include "integers.hpp"

namespace fastconv {
namespace {

// Output rows and pixels of a block: bound the pointers, of which neighbouring output rows share
// most. Multiples of seven, as most networks' sizes and the kernel's tiles are.
constexpr std::int64_t kRows = kMaxDepthwiseRows;
constexpr std::int64_t kPixels = 56;
constexpr std::int64_t kChannels = 128;  // bounds the zeros

// Rows that a dilated filter visits are an image of their own, in which it is dense: one of every
// so many rows.
std::int64_t row_phases(const Problem& p, const DepthwiseBlocking& b) noexcept {
  return b.lanes == Lanes::channels ? std::min(p.window.dilation.h, p.oh) : 1;
}

std::int64_t row_blocks(const Problem& p, const DepthwiseBlocking& b) noexcept {
  const std::int64_t phases = row_phases(p, b);
  return phases * ceil_div(ceil_div(p.oh, phases), b.rows);
}

// Rows of pointers of a block.
std::int64_t rows_of(const Problem& p, std::int64_t rows) noexcept {
  return (rows - 1) * p.window.stride.h + p.window.kernel_size.h;
}

// Columns of the padded image under a block.
std::int64_t columns_of(const Problem& p, std::int64_t pixels) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  return (pixels - 1) * stride.w + (kernel.w - 1) * dilation.w + 1;
}

// Bytes of the zeros, which the pointers follow.
std::int64_t zero_bytes(const DepthwiseBlocking& b) noexcept {
  return round_up(b.channels * static_cast<std::int64_t>(sizeof(float)), 64);
}

// Do pixels of x and y agree in the address bits by which a CPU tells loads from stores before
// them? Tensors often begin alike in their pages, and pixels are then a multiple of 1 or 2 KiB
// apart.
bool aliases(const Problem& p, std::int64_t phases, const float* x, const float* y) noexcept {
  constexpr std::int64_t kApart = 512;  // floats from one output's pixels to the next one's
  const std::int64_t stride = p.window.stride.w * phases;
  const auto bytes = reinterpret_cast<std::uintptr_t>(y) - reinterpret_cast<std::uintptr_t>(x);
  return p.x_strides[3] * stride % kApart == 0 && p.y_strides[3] * stride % kApart == 0 &&
         bytes % 1024 < 64;
}

// Does the kernel for adjacent columns serve the problem?
bool has_planes(const Problem& p) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  const bool pads = padding.top > 0 || padding.bottom > 0 || padding.left > 0 || padding.right > 0;
  return p.c_per_group() == 1 && (p.x_strides[3] == 1 || p.w == 1) &&
         (p.y_strides[3] == 1 || p.ow == 1) && (mode == PaddingMode::zeros || !pads) &&
         stride.h <= 2 && (stride.w == 1 || (stride.w == 2 && dilation.w == 1)) &&
         kernel.h <= kMaxPlaneTaps && kernel.w <= kMaxPlaneTaps &&
         (kernel.w - 1) * dilation.w <= kMaxPlaneReach;
}

// A block's planes of x and y together fit L1; its rows are whole tiles.
void choose_planes(const Problem& p, const Tile& tile, DepthwiseBlocking& b) noexcept {
  constexpr std::int64_t kOutputs = 4096;
  b.lanes = Lanes::pixels;
  b.pixels = p.ow;
  b.rows = std::min(p.oh, std::max(kRows, kOutputs / p.ow / kRows * kRows));
  b.channels = std::clamp<std::int64_t>(kOutputs / (b.rows * p.ow), 1, p.k);
  const double vectors = real(p.k * p.oh * ceil_div(p.ow, tile.width));
  b.fma_cycles = vectors * real(p.taps()) * kFma;
  b.pack_cycles = vectors * real(p.window.kernel_size.w) * kLoadUnaligned;
  b.store_cycles = vectors * kStoreVector;
}

}  // namespace

bool is_depthwise(std::int64_t in_per_group, std::int64_t out_per_group, int width) noexcept {
  return (in_per_group == 1 && out_per_group == 1) ||
         (2 * out_per_group <= width && width % out_per_group == 0 &&
          in_per_group <= out_per_group);
}

bool choose_depthwise(const Problem& p, const Tile& tile, DepthwiseBlocking& b) noexcept {
  if (!is_depthwise(p.c_per_group(), p.k_per_group(), tile.width)) return false;
  if (p.x_strides[1] != 1 || p.y_strides[1] != 1) {
    if (!has_planes(p)) return false;
    choose_planes(p, tile, b);
    return true;
  }
  b.lanes = Lanes::channels;
  // Strides that leave many rows out share few.
  b.rows = p.window.stride.h <= 2 ? std::min(ceil_div(p.oh, row_phases(p, b)), kRows) : 1;
  b.pixels = std::min(p.ow, kPixels);
  b.channels = std::min(p.k, kChannels);
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  const bool shared = stride.w == 1 && (kernel.w == 3 || kernel.w == 5 || kernel.w == 7);
  const double vectors = real(p.oh * p.ow * ceil_div(p.k, tile.width));
  b.fma_cycles = vectors * real(p.c_per_group() * p.taps()) * (shared ? kFma : 2 * kFma);
  b.pack_cycles = real(row_blocks(p, b) * rows_of(p, b.rows) * columns_of(p, p.ow)) * kCopyScalar;
  b.store_cycles = vectors * kStoreVector;
  return true;
}

std::int64_t depthwise_workspace_bytes(const Problem& p, const DepthwiseBlocking& b) noexcept {
  if (b.lanes == Lanes::pixels) return 0;
  const std::int64_t pointers = rows_of(p, b.rows) * columns_of(p, b.pixels);
  return zero_bytes(b) + round_up(pointers * static_cast<std::int64_t>(sizeof(const float*)), 64);
}

std::int64_t depthwise_blocks(const Problem& p, const DepthwiseBlocking& b) noexcept {
  return p.n * row_blocks(p, b) * ceil_div(p.ow, b.pixels) * ceil_div(p.k, b.channels);
}

namespace {

// A block of an image's channels and rows, in whole rows.
void planes_block(const Operands& t, std::int64_t n, std::int64_t channel, std::int64_t channels,
                  std::int64_t row, std::int64_t rows) noexcept {
  const Problem& p = t.problem;
  PlaneArguments d;
  d.problem = &p;
  d.x = t.x + n * p.x_strides[0];
  d.first_channel = channel;
  d.channels = channels;
  d.first_row = row;
  d.rows = rows;
  d.weights = t.weights;
  d.lanes_per_group = t.lanes_per_group;
  d.y = t.y + n * p.y_strides[0];
  d.epilogue = &t.epilogue;
  d.bias = t.bias;
  if (t.residual != nullptr) {
    const Dims<4>& rs = t.residual_strides;
    const Dims<4>& ys = p.y_strides;
    d.residual = t.residual + n * rs[0];
    d.residual_channel_stride = rs[1];
    d.residual_row_stride = rs[2];
    if (rs[3] != 1) {
      // Taken to where the result will be, and added to from there.
      const std::int64_t from = channel * rs[1] + row * rs[2];
      const std::int64_t to = channel * ys[1] + row * ys[2];
      t.table.copy_planes({{channels, rows, p.ow},
                           d.residual + from,
                           {rs[1], rs[2], rs[3]},
                           d.y + to,
                           {ys[1], ys[2], ys[3]}});
      d.residual = d.y;
      d.residual_channel_stride = ys[1];
      d.residual_row_stride = ys[2];
    }
  }
  t.table.depthwise_planes(d);
}

}  // namespace

void depthwise(const Operands& t, const DepthwiseBlocking& b, std::int64_t begin, std::int64_t end,
               void* workspace) noexcept {
  const Problem& p = t.problem;
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  auto* zeros = static_cast<float*>(workspace);
  auto* pointers = reinterpret_cast<const float**>(static_cast<char*>(workspace) + zero_bytes(b));
  if (b.lanes == Lanes::channels) std::fill(zeros, zeros + b.channels, 0.0F);
  const std::int64_t channel_blocks = ceil_div(p.k, b.channels);
  const std::int64_t pixel_blocks = ceil_div(p.ow, b.pixels);
  const std::int64_t blocks_of_rows = row_blocks(p, b);
  const std::int64_t apart = row_phases(p, b);  // output rows of a block
  for (std::int64_t block = begin; block < end; ++block) {
    std::int64_t rest = block;
    const std::int64_t channel = rest % channel_blocks * b.channels;
    rest /= channel_blocks;
    const std::int64_t ow = rest % pixel_blocks * b.pixels;
    rest /= pixel_blocks;
    const std::int64_t oh =
        rest % blocks_of_rows / apart * b.rows * apart + rest % blocks_of_rows % apart;
    const std::int64_t n = rest / blocks_of_rows;
    const std::int64_t rows = std::min(b.rows, ceil_div(p.oh - oh, apart));
    if (rows <= 0) continue;
    if (b.lanes == Lanes::pixels) {
      planes_block(t, n, channel, std::min(b.channels, p.k - channel), oh, rows);
      continue;
    }
    DepthwiseArguments d;
    const std::int64_t pixels = std::min(b.pixels, p.ow - ow);
    d.channels = static_cast<int>(std::min(b.channels, p.k - channel));
    const std::int64_t columns = columns_of(p, pixels);
    const float* x = t.x + n * p.x_strides[0] + channel / p.k_per_group() * p.c_per_group();
    const std::int64_t top = oh * stride.h - padding.top;
    const std::int64_t left = ow * stride.w - padding.left;
    // Columns that a dilated filter visits lie side by side, so that to the kernel it is dense; a
    // part of a row is then one of every `phases` pixels.
    const bool dense = stride.w == 1 && pixels >= 7 * dilation.w;
    const std::int64_t phases = dense ? dilation.w : 1;
    const float** pointer = pointers;
    for (std::int64_t i = 0; i < rows_of(p, rows); ++i) {
      const std::int64_t h = source_index(top + i * dilation.h, p.h, mode);
      for (std::int64_t phase = 0; phase < phases; ++phase) {
        for (std::int64_t j = left + phase; j < left + columns; j += phases) {
          const std::int64_t w = source_index(j, p.w, mode);
          *pointer++ = h < 0 || w < 0 ? zeros : x + h * p.x_strides[2] + w * p.x_strides[3];
        }
      }
    }
    d.row_step = columns;
    d.kernel_h = kernel.h;
    d.kernel_w = kernel.w;
    d.stride_w = stride.w;
    d.dilation_w = dense ? 1 : dilation.w;
    d.group_in = static_cast<int>(p.c_per_group());
    d.group_out = static_cast<int>(p.k_per_group());
    d.weights = t.weights + channel * p.taps() * d.group_in;
    d.bias = t.bias != nullptr ? t.bias + channel : nullptr;
    d.epilogue = &t.epilogue;
    const Dims<4>& rs = t.residual_strides;
    const auto at = [&](const Dims<4>& s) {
      return n * s[0] + channel * s[1] + oh * s[2] + ow * s[3];
    };
    d.rows = rows;
    d.row_stride = stride.h * columns;
    d.inputs = pointers;
    d.y = t.y + at(p.y_strides);
    d.y_row_stride = apart * p.y_strides[2];
    d.y_pixel_stride = p.y_strides[3];
    d.y_aliases = aliases(p, phases, x, d.y);
    if (t.residual != nullptr && rs[1] == 1) {
      d.residual = t.residual + at(rs);
      d.residual_row_stride = apart * rs[2];
      d.residual_pixel_stride = rs[3];
    } else if (t.residual != nullptr) {
      // Taken to where the result will be, and added to from there.
      const float* in = t.residual + at(rs);
      for (std::int64_t row = 0; row < rows; ++row) {
        for (std::int64_t i = 0; i < pixels; ++i) {
          for (int k = 0; k < d.channels; ++k) {
            d.y[row * d.y_row_stride + i * d.y_pixel_stride + k] =
                in[row * apart * rs[2] + i * rs[3] + k * rs[1]];
          }
        }
      }
      d.residual = d.y;
      d.residual_row_stride = d.y_row_stride;
      d.residual_pixel_stride = d.y_pixel_stride;
    }
    d.y_pixel_stride *= phases;
    d.residual_pixel_stride *= phases;
    for (std::int64_t phase = 0; phase < phases; ++phase) {
      d.pixels = ceil_div(pixels - phase, phases);
      t.table.depthwise(d);
      d.inputs += ceil_div(columns - phase, phases);
      d.y += d.y_pixel_stride / phases;
      if (t.residual != nullptr) d.residual += d.residual_pixel_stride / phases;
    }
  }
}

}  // namespace fastconv
