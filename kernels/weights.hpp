// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fastconv/view.hpp>

namespace fastconv {

// Weights of shape (K, C/groups, R, S) and any strides in the orders that kernels read.

// (K, C/groups, R, S), dense: the baselines' order.
void pack_dense(const ConstTensorView& weights, float* out) noexcept;

// Panels of `nr` output channels, [groups][K/groups / nr][R*S*C/groups][nr], lanes behind a group's
// last channel zero. Serves as B panels (vectors loaded from it) and as A panels (scalars broadcast
// from it).
void pack_panels(const ConstTensorView& weights, std::int64_t groups, int nr, float* out) noexcept;

// Floats from which on weights are written past the caches; fewer stay in one until they are used.
constexpr std::int64_t kStreamed = (1 << 20) + 1;

// Copies past the caches where the compiler offers that: what is written to memory that is not in
// the cache is otherwise read from there first, which is half of the time. `count` is a multiple of
// four and `out` aligned for one.
void stream(const float* in, std::int64_t count, float* out) noexcept;
// Before other threads may see what was streamed.
void end_stream() noexcept;

// No infinity and no NaN among them?
bool all_finite(const float* weights, std::int64_t count) noexcept;

// Elements of the panels; false if they exceed 64 bits.
bool panel_elements(const Dims<4>& shape, std::int64_t groups, int nr,
                    std::int64_t& elements) noexcept;

}  // namespace fastconv
