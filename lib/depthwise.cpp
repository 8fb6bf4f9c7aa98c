// SPDX-License-Identifier: Apache-2.0
#include "depthwise.hpp"

#include <algorithm>

#include "../kernels/padding.hpp"
#include "costs.hpp"
#include "integers.hpp"

namespace fastconv {
namespace {

constexpr std::int64_t kPixels = 64;     // of an output row at a time: bounds the pointers
constexpr std::int64_t kChannels = 512;  // bounds the zeros

// Columns of the padded image under a block.
std::int64_t columns_of(const Problem& p, std::int64_t pixels) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  return (pixels - 1) * stride.w + (kernel.w - 1) * dilation.w + 1;
}

// Bytes of the zeros, which the pointers follow.
std::int64_t zero_bytes(const DepthwiseBlocking& b) noexcept {
  return round_up(b.channels * static_cast<std::int64_t>(sizeof(float)), 64);
}

}  // namespace

bool choose_depthwise(const Problem& p, const Tile& tile, DepthwiseBlocking& b) noexcept {
  if (p.c_per_group() != 1 || p.k_per_group() != 1 || p.x_strides[1] != 1 || p.y_strides[1] != 1) {
    return false;
  }
  b.pixels = std::min(p.ow, kPixels);
  b.channels = std::min(p.k, kChannels);
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  const bool shared = stride.w == 1 && dilation.w == 1 && (kernel.w == 3 || kernel.w == 5);
  const double vectors = real(p.oh * p.ow * ceil_div(p.k, tile.width));
  b.fma_cycles = vectors * real(p.taps()) * (shared ? kFma : 2 * kFma);
  b.pack_cycles = real(p.oh * kernel.h * columns_of(p, p.ow)) * kCopyScalar;
  b.store_cycles = vectors * kStoreVector;
  return true;
}

std::int64_t depthwise_workspace_bytes(const Problem& p, const DepthwiseBlocking& b) noexcept {
  const std::int64_t pointers = p.window.kernel_size.h * columns_of(p, b.pixels);
  return zero_bytes(b) + round_up(pointers * static_cast<std::int64_t>(sizeof(const float*)), 64);
}

std::int64_t depthwise_blocks(const Problem& p, const DepthwiseBlocking& b) noexcept {
  return p.n * p.oh * ceil_div(p.ow, b.pixels) * ceil_div(p.k, b.channels);
}

void depthwise(const Operands& t, const DepthwiseBlocking& b, std::int64_t begin, std::int64_t end,
               void* workspace) noexcept {
  const Problem& p = t.problem;
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  auto* zeros = static_cast<float*>(workspace);
  auto* pointers = reinterpret_cast<const float**>(static_cast<char*>(workspace) + zero_bytes(b));
  std::fill(zeros, zeros + b.channels, 0.0F);
  const std::int64_t channel_blocks = ceil_div(p.k, b.channels);
  const std::int64_t pixel_blocks = ceil_div(p.ow, b.pixels);
  for (std::int64_t block = begin; block < end; ++block) {
    const std::int64_t channel = block % channel_blocks * b.channels;
    const std::int64_t ow = block / channel_blocks % pixel_blocks * b.pixels;
    const std::int64_t oh = block / channel_blocks / pixel_blocks % p.oh;
    const std::int64_t n = block / channel_blocks / pixel_blocks / p.oh;
    DepthwiseArguments d;
    d.pixels = std::min(b.pixels, p.ow - ow);
    d.channels = static_cast<int>(std::min(b.channels, p.k - channel));
    d.columns = columns_of(p, d.pixels);
    const float* x = t.x + n * p.x_strides[0] + channel;
    const float** pointer = pointers;
    for (std::int64_t r = 0; r < kernel.h; ++r) {
      const std::int64_t h = source_index(oh * stride.h + r * dilation.h - padding.top, p.h, mode);
      const std::int64_t left = ow * stride.w - padding.left;
      for (std::int64_t j = left; j < left + d.columns; ++j) {
        const std::int64_t w = source_index(j, p.w, mode);
        *pointer++ = h < 0 || w < 0 ? zeros : x + h * p.x_strides[2] + w * p.x_strides[3];
      }
    }
    d.inputs = pointers;
    d.kernel_h = kernel.h;
    d.kernel_w = kernel.w;
    d.stride_w = stride.w;
    d.dilation_w = dilation.w;
    d.weights = t.weights + channel * p.taps();
    d.bias = t.bias != nullptr ? t.bias + channel : nullptr;
    d.epilogue = &t.epilogue;
    const auto at = [&](const Dims<4>& s) {
      return n * s[0] + channel * s[1] + oh * s[2] + ow * s[3];
    };
    d.y = t.y + at(p.y_strides);
    d.y_pixel_stride = p.y_strides[3];
    const Dims<4>& rs = t.residual_strides;
    if (t.residual != nullptr && rs[1] == 1) {
      d.residual = t.residual + at(rs);
      d.residual_pixel_stride = rs[3];
    } else if (t.residual != nullptr) {
      // Taken to where the result will be, and added to from there.
      const float* in = t.residual + at(rs);
      for (std::int64_t i = 0; i < d.pixels; ++i) {
        for (int k = 0; k < d.channels; ++k) {
          d.y[i * d.y_pixel_stride + k] = in[i * rs[3] + k * rs[1]];
        }
      }
      d.residual = d.y;
      d.residual_pixel_stride = d.y_pixel_stride;
    }
    t.table.depthwise(d);
  }
}

}  // namespace fastconv
