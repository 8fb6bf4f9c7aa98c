// SPDX-License-Identifier: Apache-2.0
#include "depthwise_interleaved.hpp"

#include "../kernels/padding.hpp"

namespace fastconv {

InterleavedBlocks::InterleavedBlocks(const Operands& t, const DepthwiseBlocking& b,
                                     void* workspace) noexcept
    : t_(t),
      p_(found_taps(t.problem, b)),
      b_(b),
      period_(interleaved_period(p_, t.table.width)),
      line_(interleaved_line(p_, t.table.width)) {
  const InterleavedScratch scratch(p_, b);
  auto* memory = static_cast<char*>(workspace);
  weights_ = reinterpret_cast<float*>(memory);
  bias_ = reinterpret_cast<float*>(memory += scratch.weights);
  inputs_ = reinterpret_cast<const float**>(memory += scratch.bias);
  patch_ = reinterpret_cast<float*>(memory + scratch.inputs);
  repeat_weights();
}

void InterleavedBlocks::repeat_weights() noexcept {
  const Pair kernel = p_.window.kernel_size;
  const std::int64_t nr = t_.table.nr(), row_taps = t_.problem.window.kernel_size.w;
  for (std::int64_t i = 0; i < p_.c + t_.table.width - 1; ++i) {
    const std::int64_t channel = i % p_.c;
    const float* in = t_.weights_of(channel, t_.problem.taps());
    in += (b_.first_tap.h * row_taps + b_.first_tap.w) * nr;
    float* out = weights_ + i;
    for (std::int64_t r = 0; r < kernel.h; ++r, in += row_taps * nr) {
      for (std::int64_t s = 0; s < kernel.w; ++s, out += line_) *out = in[s * nr];
    }
    if (t_.bias != nullptr) bias_[i] = t_.bias[channel];
  }
}

void InterleavedBlocks::run(const DepthwisePart& part) noexcept {
  const InterleavedRow row(p_, period_, part.ow, part.pixels);
  DepthwisePart some = part;
  some.pixels = row.left;
  if (some.pixels > 0) multiply_patch(some);
  some.ow += some.pixels;
  some.pixels = row.inside;
  if (some.pixels > 0) multiply_in_place(some);
  some.ow += some.pixels;
  some.pixels = row.right;
  if (some.pixels > 0) multiply_patch(some);
}

void InterleavedBlocks::multiply_in_place(const DepthwisePart& part) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p_.window;
  const float* x = t_.x + part.n * p_.x_strides[0] + (part.ow - padding.left) * p_.c;
  const std::int64_t top = part.oh - padding.top, rows = rows_of(p_, part.rows);
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::int64_t h = source_index(top + i * dilation.h, p_.h, mode);
    inputs_[i] = h < 0 ? nullptr : x + h * p_.x_strides[2];
  }
  inputs_[rows] = nullptr;
  multiply(part, 0);
}

// From a copy of what its windows find, with the padding.
void InterleavedBlocks::multiply_patch(const DepthwisePart& part) noexcept {
  RegionArguments region;
  region.problem = &p_;
  region.x = t_.x + part.n * p_.x_strides[0];
  region.channels = p_.c;
  region.first_row = part.oh;
  region.first_column = part.ow;
  region.rows = rows_of(p_, part.rows);
  region.columns = columns_of(p_, part.pixels);
  region.row_step = p_.window.dilation.h;
  region.pitch = p_.c;
  region.out = patch_;
  t_.table.pack_patch(region);
  const std::int64_t pitch = region.columns * p_.c;
  for (std::int64_t i = 0; i < region.rows; ++i) inputs_[i] = patch_ + i * pitch;
  multiply(part, pitch);
}

void InterleavedBlocks::multiply(const DepthwisePart& part, std::int64_t patch_pitch) noexcept {
  const std::int64_t apart = row_phases(p_, b_);  // output rows of a block
  const Window& window = p_.window;
  InterleavedArguments d;
  d.inputs = inputs_;
  d.patch_pitch = patch_pitch;
  d.column_step = window.dilation.w * p_.c;
  d.kernel_h = window.kernel_size.h;
  d.kernel_w = window.kernel_size.w;
  d.count = part.pixels * p_.c;
  d.period = period_ * p_.c;
  d.channels = p_.c;
  d.weights = weights_;
  d.weights_pitch = line_;
  d.rows = part.rows;
  d.y = t_.y + offset(part, p_.y_strides);
  d.y_row_stride = apart * p_.y_strides[2];
  if (t_.residual != nullptr) {
    const Dims<4>& rs = t_.residual_strides;
    const auto [data, strides] = addend(t_, part, rs[1] == 1 && rs[3] == p_.c, apart);
    d.residual = data + offset(part, strides);
    d.residual_row_stride = apart * strides[2];
  }
  d.epilogue = &t_.epilogue;
  d.bias = t_.bias != nullptr ? bias_ : nullptr;
  t_.table.depthwise_interleaved(d);
}

}  // namespace fastconv
