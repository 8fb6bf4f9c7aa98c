// SPDX-License-Identifier: Apache-2.0
#include "weights.hpp"

#include <algorithm>
#include <cstring>

#include "geometry.hpp"

namespace fastconv {

void pack_dense(const ConstTensorView& weights, float* out) noexcept {
  const auto& [k_count, c_count, r_count, s_count] = weights.shape;
  const Dims<4>& strides = weights.strides;
  for (std::int64_t k = 0; k < k_count; ++k) {
    for (std::int64_t c = 0; c < c_count; ++c) {
      for (std::int64_t r = 0; r < r_count; ++r) {
        for (std::int64_t s = 0; s < s_count; ++s) {
          *out++ = weights.data[k * strides[0] + c * strides[1] + r * strides[2] + s * strides[3]];
        }
      }
    }
  }
}

void pack_panels(const ConstTensorView& weights, std::int64_t groups, int nr, float* out) noexcept {
  constexpr int kRows = 16;  // a cache line of the source and a scratch tile that stays in L1
  constexpr int kMaxNr = 32;
  float tile[kRows * kMaxNr];
  std::int64_t source[kRows];
  std::int64_t row[kRows];
  const auto& [k_count, c_count, r_count, s_count] = weights.shape;
  const Dims<4>& strides = weights.strides;
  const std::int64_t depth = c_count * r_count * s_count;
  const std::int64_t per_group = k_count / groups;
  // The source is read along its faster axis.
  const bool channels_fastest = std::abs(strides[1]) < std::abs(strides[3]);
  for (std::int64_t group = 0; group < groups; ++group) {
    for (std::int64_t first = 0; first < per_group; first += nr) {
      const int lanes = static_cast<int>(std::min<std::int64_t>(nr, per_group - first));
      const float* panel = weights.data + (group * per_group + first) * strides[0];
      std::int64_t c = 0, r = 0, s = 0;
      if (lanes < nr) std::fill(tile, tile + kRows * nr, 0.0F);
      for (std::int64_t done = 0; done < depth; done += kRows) {
        const int rows = static_cast<int>(std::min<std::int64_t>(kRows, depth - done));
        for (int i = 0; i < rows; ++i) {
          source[i] = c * strides[1] + r * strides[2] + s * strides[3];
          row[i] = (r * s_count + s) * c_count + c;
          if (channels_fastest) {
            if (++c == c_count) c = 0, ++s;
            if (s == s_count) s = 0, ++r;
          } else {
            if (++s == s_count) s = 0, ++r;
            if (r == r_count) r = 0, ++c;
          }
        }
        for (int lane = 0; lane < lanes; ++lane) {
          const float* in = panel + lane * strides[0];
          for (int i = 0; i < rows; ++i) tile[i * nr + lane] = in[source[i]];
        }
        for (int i = 0; i < rows; ++i) {
          std::memcpy(out + row[i] * nr, tile + i * nr, sizeof(float) * static_cast<unsigned>(nr));
        }
      }
      out += depth * nr;
    }
  }
}

bool panel_elements(const Dims<4>& shape, std::int64_t groups, int nr,
                    std::int64_t& elements) noexcept {
  const std::int64_t per_group = shape[0] / groups;
  elements = groups;
  for (const std::int64_t factor :
       {(per_group + nr - 1) / nr, std::int64_t{nr}, shape[1], shape[2], shape[3]}) {
    if (!multiply(elements, factor, elements)) return false;
  }
  return true;
}

}  // namespace fastconv
