// SPDX-License-Identifier: Apache-2.0
#include "weights.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "table.hpp"

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

// row[i][lane] = in[lane * stride + i] for four lanes and four steps of depth.
inline void transpose(const float* in, std::int64_t stride, float* out,
                      const std::int64_t* row) noexcept {
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
  for (int i = 0; i < 4; ++i) std::memcpy(out + row[i], &rows[i], sizeof rows[i]);
}

constexpr int kSteps = 72;  // of depth at a time: eight channels of 3x3, some lines of a source row
constexpr int kMaxNr = 32;

// Steps of depth in the source's order: where they lie in the source and in a panel.
struct Chunk {
  std::int64_t taps, channels;  // that it has
  std::int64_t source[kSteps];
  std::int64_t row[kSteps];
  bool adjacent = true;  // in the source

  Chunk(const ConstTensorView& weights, int nr) noexcept {
    const auto& [k_count, c_count, r_count, s_count] = weights.shape;
    const Dims<4>& strides = weights.strides;
    taps = r_count * s_count;
    // A source whose channels are its faster axis has the panels' order.
    if (std::abs(strides[1]) < std::abs(strides[3]) || taps > kSteps) taps = 1;
    channels = kSteps / taps;
    if (channels > 4) channels = channels / 4 * 4;
    channels = std::min(channels, c_count);
    for (std::int64_t i = 0; i < taps * channels; ++i) {
      const std::int64_t c = i / taps, tap = i % taps;
      source[i] = c * strides[1] + tap / s_count * strides[2] + tap % s_count * strides[3];
      row[i] = (tap * channels + c) * nr;
      adjacent = adjacent && source[i] == source[0] + i;
    }
  }
};

// The first `steps` of a chunk for `lanes` output channels `stride` apart. What comes after the
// next chunk is fetched: hardware follows a few streams, not one for every lane.
inline void gather(const Chunk& chunk, int steps, const float* in, std::int64_t stride, int lanes,
                   int nr, float* out) noexcept {
  if (lanes < nr) {
    for (int i = 0; i < steps; ++i) std::fill_n(out + chunk.row[i] + lanes, nr - lanes, 0.0F);
  }
  if (stride == 1) {
    for (int i = 0; i < steps; ++i) std::copy_n(in + chunk.source[i], lanes, out + chunk.row[i]);
    return;
  }
  const std::int64_t ahead = 2 * chunk.taps * chunk.channels;
  const int steps_by_four = chunk.adjacent ? steps / 4 * 4 : 0;
  for (int lane = 0; lane < lanes;) {
    const int count = lane + 4 <= lanes ? 4 : 1;
    const int done = count == 4 ? steps_by_four : 0;
    const float* const from = in + lane * stride;
    for (int i = 0; i < done; i += kLine) {
      for (int j = 0; j < count; ++j) __builtin_prefetch(from + j * stride + i + ahead);
    }
    for (int i = 0; i < done; i += 4) transpose(from + i, stride, out + lane, chunk.row + i);
    for (const int end = lane + count; lane < end; ++lane) {
      for (int i = done; i < steps; ++i) {
        out[chunk.row[i] + lane] = in[lane * stride + chunk.source[i]];
      }
    }
  }
}

}  // namespace

void stream(const float* in, std::int64_t count, float* out) noexcept {
  for (std::int64_t i = 0; i < count; i += 4) {
#if defined(__x86_64__) && defined(__clang__)
    __builtin_nontemporal_store(load(in + i), reinterpret_cast<Four*>(out + i));
#elif defined(__x86_64__)
    __builtin_ia32_movntps(out + i, load(in + i));
#else
    std::memcpy(out + i, in + i, sizeof(Four));
#endif
  }
}

void end_stream() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_sfence();
#endif
}

void pack_panels(const ConstTensorView& weights, std::int64_t groups, int nr, float* out) noexcept {
  const auto& [k_count, c_count, r_count, s_count] = weights.shape;
  const Dims<4>& strides = weights.strides;
  const std::int64_t taps = r_count * s_count;
  const std::int64_t per_group = k_count / groups;
  const Chunk chunk(weights, nr);
  // Rows of different taps lie so far apart in a panel that they evict each other from L1: a chunk
  // of several is put together here. So is what is streamed.
  alignas(64) float scratch[kSteps * kMaxNr];
  const bool streamed = nr % 4 == 0 && taps * c_count * k_count >= kStreamed;
  const bool direct = chunk.taps == 1 && !streamed;
  for (std::int64_t panel = 0; panel < k_count; out += taps * c_count * nr) {
    const std::int64_t left = per_group - panel % per_group;
    const int lanes = static_cast<int>(std::min<std::int64_t>(nr, left));
    for (std::int64_t tap = 0; tap < taps; tap += chunk.taps) {
      const float* in = weights.data + panel * strides[0] + tap / s_count * strides[2] +
                        tap % s_count * strides[3];
      for (std::int64_t c = 0; c < c_count; c += chunk.channels) {
        const std::int64_t channels = std::min(chunk.channels, c_count - c);
        float* const to = out + (tap * c_count + c) * nr;
        gather(chunk, static_cast<int>(channels * chunk.taps), in + c * strides[1], strides[0],
               lanes, nr, direct ? to : scratch);
        for (std::int64_t i = 0; i < chunk.taps && !direct; ++i) {
          const float* const from = scratch + i * chunk.channels * nr;
          if (streamed) {
            stream(from, channels * nr, to + i * c_count * nr);
          } else {
            std::copy_n(from, channels * nr, to + i * c_count * nr);
          }
        }
      }
    }
    panel += lanes;
  }
  if (streamed) end_stream();
}

bool all_finite(const float* weights, std::int64_t count) noexcept {
  // An exponent of ones, as the mask that a vector comparison gives.
  constexpr std::int32_t kExponent = 0x7f800000;
  // Several vectors a turn: one takes a cycle or two, by where the loop happens to lie.
  constexpr int kAtOnce = 16;
  std::int32_t found[kAtOnce] = {};
  const auto look = [&](const float* weight) {
    std::int32_t bits;
    std::memcpy(&bits, weight, sizeof bits);
    return (bits & kExponent) == kExponent ? -1 : 0;
  };
  for (; count >= kAtOnce; count -= kAtOnce, weights += kAtOnce) {
    for (int i = 0; i < kAtOnce; ++i) found[i] |= look(weights + i);
  }
  for (int i = 0; i < count; ++i) found[i] |= look(weights + i);
  return std::all_of(found, found + kAtOnce, [](std::int32_t mask) { return mask == 0; });
}

bool panel_elements(const Dims<4>& shape, std::int64_t groups, int nr,
                    std::int64_t& elements) noexcept {
  const std::int64_t per_group = shape[0] / groups;
  elements = groups;
  for (const std::int64_t factor :
       {(per_group + nr - 1) / nr, std::int64_t{nr}, shape[1], shape[2], shape[3]}) {
    if (__builtin_mul_overflow(elements, factor, &elements)) return false;
  }
  return elements <= std::int64_t{1} << 56;  // bytes of weights, transformed and bias fit
}

}  // namespace fastconv
