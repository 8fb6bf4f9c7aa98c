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

namespace {

// Four floats in whatever vectors the platform has; the compiler's own type, so that this file
// needs no instruction set.
using Four = float __attribute__((vector_size(16)));

inline Four load(const float* p) noexcept {
  Four v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// out[i * nr + lane] = in[lane * stride + i] for four lanes and four steps of depth.
inline void transpose(const float* in, std::int64_t stride, float* out, int nr) noexcept {
  const Four a = load(in), b = load(in + stride), c = load(in + 2 * stride),
             d = load(in + 3 * stride);
  const Four ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const Four ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Four cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const Four cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  const Four rows[] = {__builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5),
                       __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
                       __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5),
                       __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
  for (int i = 0; i < 4; ++i) std::memcpy(out + i * nr, &rows[i], sizeof rows[i]);
}

// in[lane * stride + source[i]] to out[i * nr + lane] for `lanes` lanes and `rows` steps of depth.
inline void gather_rows(const float* in, std::int64_t stride, const std::int64_t* source, int lanes,
                        int rows, int nr, float* out) noexcept {
  if (lanes < nr) {
    for (int i = 0; i < rows; ++i) std::fill(out + i * nr + lanes, out + (i + 1) * nr, 0.0F);
  }
  if (stride == 1) {
    for (int i = 0; i < rows; ++i) std::copy_n(in + source[i], lanes, out + i * nr);
    return;
  }
  bool adjacent = true;
  for (int i = 1; i < rows; ++i) adjacent = adjacent && source[i] == source[i - 1] + 1;
  const int rows_by_four = adjacent ? rows / 4 * 4 : 0;
  for (int lane = 0; lane < lanes;) {
    const int step = lane + 4 <= lanes ? 4 : 1;
    const int transposed = step == 4 ? rows_by_four : 0;
    const float* from = in + lane * stride;
    float* to = out + lane;
    for (int i = 0; i < transposed; i += 4) transpose(from + source[i], stride, to + i * nr, nr);
    for (int j = 0; j < step; ++j, from += stride, ++to) {
      for (int i = transposed; i < rows; ++i) to[i * nr] = from[source[i]];
    }
    lane += step;
  }
}

}  // namespace

void pack_panels(const ConstTensorView& weights, std::int64_t groups, int nr, float* out) noexcept {
  constexpr int kRows =
      64;  // four cache lines of a source row, and a scratch tile that stays in L1
  constexpr int kMaxNr = 32;
  alignas(64) float tile[kRows * kMaxNr];
  std::int64_t source[kRows];
  std::int64_t row[kRows];
  const auto& [k_count, c_count, r_count, s_count] = weights.shape;
  const Dims<4>& strides = weights.strides;
  const std::int64_t depth = c_count * r_count * s_count;
  const std::int64_t per_group = k_count / groups;
  // The source is read along its faster axis. If that is not the panels' order, rows of one tap lie
  // so far apart that they evict each other: they are gathered in the scratch tile.
  const bool in_order = std::abs(strides[1]) < std::abs(strides[3]) || r_count * s_count == 1;
  for (std::int64_t group = 0; group < groups; ++group) {
    for (std::int64_t first = 0; first < per_group; first += nr) {
      const int lanes = static_cast<int>(std::min<std::int64_t>(nr, per_group - first));
      const float* panel = weights.data + (group * per_group + first) * strides[0];
      std::int64_t c = 0, r = 0, s = 0;
      for (std::int64_t done = 0; done < depth; done += kRows) {
        const int rows = static_cast<int>(std::min<std::int64_t>(kRows, depth - done));
        for (int i = 0; i < rows; ++i) {
          source[i] = c * strides[1] + r * strides[2] + s * strides[3];
          row[i] = (r * s_count + s) * c_count + c;
          if (in_order) {
            if (++c == c_count) c = 0, ++s;
            if (s == s_count) s = 0, ++r;
          } else {
            if (++s == s_count) s = 0, ++r;
            if (r == r_count) r = 0, ++c;
          }
        }
        gather_rows(panel, strides[0], source, lanes, rows, nr, in_order ? out + done * nr : tile);
        for (int i = 0; i < rows && !in_order; ++i)
          std::copy_n(tile + i * nr, nr, out + row[i] * nr);
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
