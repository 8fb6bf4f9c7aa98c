// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "depthwise_blocks.hpp"
#include "depthwise_part.hpp"
#include "operands.hpp"
#include "taps.hpp"

namespace fastconv {

// Pixels after which channels lie in the lanes of vectors as before.
inline std::int64_t interleaved_period(const Problem& p, int width) noexcept {
  return width / std::gcd(p.c, std::int64_t{width});
}

// Floats from a line of weights to the next: a vector may begin with any channel.
inline std::int64_t interleaved_line(const Problem& p, int width) noexcept {
  return round_up(p.c + width - 1, std::int64_t{width});
}

// Outputs of a part of a row: whole periods whose windows lie inside the image, and those beside
// them. Few are all beside.
struct InterleavedRow {
  static constexpr std::int64_t kFewPeriods = 2;
  std::int64_t left, inside, right;

  InterleavedRow(const Problem& p, std::int64_t period, std::int64_t ow,
                 std::int64_t pixels) noexcept {
    const Inside image(p);
    left = std::clamp<std::int64_t>(image.begin.w - ow, 0, pixels);
    inside = (std::clamp(image.end.w - ow, left, pixels) - left) / period * period;
    if (inside < kFewPeriods * period) {
      inside = 0;
      left = pixels;
    }
    right = pixels - left - inside;
  }

  // The most on one side of a part of up to `pixels`.
  static std::int64_t most(const Problem& p, std::int64_t period, std::int64_t pixels) noexcept {
    const Inside image(p);
    const std::int64_t left = std::clamp<std::int64_t>(image.begin.w, 0, pixels);
    const std::int64_t right = std::clamp<std::int64_t>(p.ow - image.end.w, 0, pixels);
    return std::min(pixels, left + right + (kFewPeriods + 1) * period);
  }
};

// What a block needs of scratch memory, in bytes, one behind the other: lines of weights and bias,
// pointers to rows, and a patch under the outputs beside those in place.
struct InterleavedScratch {
  std::int64_t weights, bias, inputs, patch;

  InterleavedScratch(const Problem& p, const DepthwiseBlocking& b) noexcept {
    const std::int64_t rows = rows_of(p, b.rows);
    const std::int64_t line = interleaved_line(p, kMaxWidth) * kFloat;
    weights = p.taps() * line;
    bias = line;
    inputs = round_up((rows + 1) * static_cast<std::int64_t>(sizeof(const float*)), 64);
    const std::int64_t columns = columns_of(p, InterleavedRow::most(p, kMaxWidth, b.pixels));
    // Packing may write up to a vector behind its end.
    patch = ((rows + kInterleavedRows) * columns * p.c + kMaxWidth) * kFloat;
  }

  std::int64_t bytes() const noexcept { return weights + bias + inputs + patch; }
};

// Blocks of few interleaved channels: in place, but for what windows find beside the image.
class InterleavedBlocks {
 public:
  InterleavedBlocks(const Operands& operands, const DepthwiseBlocking& blocking,
                    void* workspace) noexcept;

  void run(const DepthwisePart& part) noexcept;

 private:
  void repeat_weights() noexcept;
  void multiply(const DepthwisePart& part, std::int64_t patch_pitch) noexcept;
  void multiply_in_place(const DepthwisePart& part) noexcept;
  void multiply_patch(const DepthwisePart& part) noexcept;

  const Operands& t_;
  const Problem p_;
  const DepthwiseBlocking& b_;
  const std::int64_t period_;  // in pixels
  const std::int64_t line_;    // floats
  float* weights_;
  float* bias_;
  const float** inputs_;
  float* patch_;
};

}  // namespace fastconv
