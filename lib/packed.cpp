// SPDX-License-Identifier: Apache-2.0
#include "packed.hpp"

#include <algorithm>
#include <atomic>
#include <iterator>

#include "../kernels/weights.hpp"
#include "depthwise.hpp"
#include "direct.hpp"
#include "error.hpp"
#include "integers.hpp"
#include "memory.hpp"
#include "plan.hpp"

namespace fastconv {
namespace {

// Allows the variants that the plan may take, and returns the one whose weights are transformed at
// creation, or -1. Few channels never pay for the transforms. The weights of many would crowd the
// caches if they are more than twice as many when transformed, and those of F(2 x 2, 3 x 3) are
// soon transformed.
int allow_winograd(const Conv2d& descriptor, const LayerOptions& options,
                   PackedWinograd (&winograd)[kWinogradCount]) noexcept {
  const std::int64_t in = descriptor.in_channels / descriptor.groups;
  const std::int64_t out = descriptor.out_channels / descriptor.groups;
  const bool named = winograd_size(options.algorithm) != 0;
  const bool automatic = options.algorithm == Algorithm::automatic && !options.strict &&
                         in >= kWinogradChannels && out >= kWinogradOutputs;
  int owned = -1;
  for (int i = 0; i < kWinogradCount; ++i) {
    const WinogradVariant& v = kWinogradVariants[i];
    const bool asked = named ? v.algorithm == options.algorithm
                             : automatic && v.algorithm != Algorithm::winograd_f6;
    if (!asked || !is_winograd(v, descriptor.window())) continue;
    winograd[i].allowed = true;
    const std::int64_t points = winograd_points(v);
    const std::int64_t taps = descriptor.kernel_size.h * descriptor.kernel_size.w;
    const bool few = points <= 2 * taps || points * in * out <= kMostTransformed;
    const bool soon = v.m == 2 && v.r == 3;
    if (few && !soon) owned = i;
  }
  return owned;
}

}  // namespace

bool lies_in_lanes(const Conv2d& descriptor, const KernelTable& table) noexcept {
  return is_depthwise(descriptor.in_channels / descriptor.groups,
                      descriptor.out_channels / descriptor.groups, table.width);
}

Status Layer::Packed::Layout::make(const Conv2d& descriptor, const LayerOptions& options,
                                   const KernelTable& table, bool has_bias) noexcept {
  const std::int64_t out = descriptor.out_channels;
  const std::int64_t group_in = descriptor.in_channels / descriptor.groups;
  const std::int64_t group_out = out / descriptor.groups;
  const Pair kernel = descriptor.kernel_size;
  panels = uses_panels(options.algorithm);
  // One channel a group, or narrow groups: panels of one group each would be mostly empty. Others
  // have their own: 8 groups of 1 to 24 channels 1x1 at 56x56, NHWC, 234 -> 135 us (AVX-512).
  merged = panels && descriptor.groups > 1 && options.algorithm != Algorithm::gemm &&
           winograd_size(options.algorithm) == 0 &&
           (lies_in_lanes(descriptor, table) || (group_in == 1 && 2 * group_out <= table.nr()));
  groups = merged ? 1 : descriptor.groups;
  nr = panels ? table.nr() : 1;
  if (!panel_elements({out, group_in, kernel.h, kernel.w}, groups, nr, elements)) {
    return fail(StatusCode::overflow, "weights: %lld x %lld x %lld x %lld exceed 64 bits", ll(out),
                ll(group_in), ll(kernel.h), ll(kernel.w));
  }
  transformed = merged ? -1 : allow_winograd(descriptor, options, winograd);
  const std::int64_t points = transformed < 0 ? 0 : winograd_points(kWinogradVariants[transformed]);
  const std::int64_t taps = kernel.h * kernel.w;
  tap = group_in * nr;
  panel_count = elements / (taps * tap);
  lanes = round_up(out / groups, nr);
  pads = panels && descriptor.padding_mode == PaddingMode::zeros && descriptor.padding.any();
  keeps_bias = has_bias || pads;
  // A product reads whole vectors from a group's lanes of a merged panel on, the last one's, too.
  whole = merged && nr % group_out == 0;
  behind = whole ? kMaxWidth : 0;
  // Merged panels serve as well where they hold whole groups.
  keeps_narrow =
      (options.algorithm == Algorithm::automatic || options.algorithm == Algorithm::direct) &&
      !whole && direct_lanes(group_out, nr) < nr;
  bytes = align_up(static_cast<std::int64_t>(sizeof(Packed)));
  const auto place = [&](std::int64_t floats) {
    const std::int64_t at = bytes;
    bytes += align_up(floats * kFloat);
    return at;
  };
  weights_at = place(elements + behind);
  bias_at = place(keeps_bias ? groups * lanes + behind : 0);
  narrow_at = place(keeps_narrow ? out * group_in * taps : 0);
  transformed_at = place(points * panel_count * winograd_point_stride(tap));
  return {};
}

Layer::Packed::Packed(const Layout& layout, const Conv2d& of, const LayerOptions& with,
                      const KernelTable& level, const ConstTensorView& source,
                      const float* given_bias) noexcept
    : descriptor(of),
      options(with),
      table(&level),
      bytes(layout.bytes),
      merged(layout.merged),
      whole(layout.whole),
      lanes_per_group(merged ? of.out_channels / of.groups : layout.lanes),
      has_bias(given_bias != nullptr) {
  static std::atomic<std::uint64_t> last_id{0};
  id = ++last_id;
  const auto floats = [this](std::int64_t at) {
    return reinterpret_cast<float*>(reinterpret_cast<char*>(this) + at);
  };
  weights = floats(layout.weights_at);
  if (layout.panels) {
    pack_panels(source, layout.groups, layout.nr, weights);
    std::fill_n(weights + layout.elements, layout.behind, 0.0F);
    finite = layout.pads && all_finite(weights, layout.elements);
  } else {
    pack_dense(source, weights);
  }
  if (layout.keeps_narrow) {
    narrow = floats(layout.narrow_at);
    pack_panels(source, of.groups, static_cast<int>(of.out_channels / of.groups), narrow);
  }
  std::copy(std::begin(layout.winograd), std::end(layout.winograd), winograd);
  if (layout.transformed >= 0) {
    float* const u = floats(layout.transformed_at);
    transform_weights(level, layout.transformed, weights, layout.panel_count, layout.tap, u);
    winograd[layout.transformed].weights = u;
  }
  if (!layout.keeps_bias) return;
  // Zeros, too, and none of them -0: of sums that underflowed to -0 all become 0, those that met
  // the padding's products and those that passed over them.
  bias = floats(layout.bias_at);
  const std::int64_t per_group = of.out_channels / layout.groups;
  for (std::int64_t group = 0; group < layout.groups; ++group) {
    for (std::int64_t k = 0; k < layout.lanes; ++k) {
      const bool given = given_bias != nullptr && k < per_group;
      bias[group * layout.lanes + k] = given ? given_bias[group * per_group + k] + 0.0F : 0.0F;
    }
  }
  std::fill_n(bias + layout.groups * layout.lanes, layout.behind, 0.0F);
}

}  // namespace fastconv
