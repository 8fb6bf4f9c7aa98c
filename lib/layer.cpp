// SPDX-License-Identifier: Apache-2.0
#include <fastconv/layer.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <iterator>
#include <new>
#include <utility>

#include "../kernels/weights.hpp"
#include "depthwise.hpp"
#include "error.hpp"
#include "geometry.hpp"
#include "integers.hpp"
#include "memory.hpp"
#include "names.hpp"
#include "packed.hpp"
#include "plan.hpp"
#include "views.hpp"
#include "winograd.hpp"

namespace fastconv {
namespace {

constexpr Named<Algorithm> kAlgorithms[] = {
    {Algorithm::automatic, "auto"},          {Algorithm::naive, "naive"},
    {Algorithm::im2col, "im2col"},           {Algorithm::strided_im2col, "strided_im2col"},
    {Algorithm::strided, "strided"},         {Algorithm::gemm, "gemm"},
    {Algorithm::direct, "direct"},           {Algorithm::depthwise, "depthwise"},
    {Algorithm::winograd_f2, "winograd_f2"}, {Algorithm::winograd_f4, "winograd_f4"},
    {Algorithm::winograd_f6, "winograd_f6"},
};

constexpr Named<Activation> kActivations[] = {
    {Activation::none, "none"},
    {Activation::relu, "relu"},
    {Activation::clamp, "clamp"},
    {Activation::leaky_relu, "leaky_relu"},
    {Activation::hardsigmoid, "hardsigmoid"},
    {Activation::hardswish, "hardswish"},
    {Activation::sigmoid, "sigmoid"},
    {Activation::silu, "silu"},
    {Activation::tanh, "tanh"},
    {Activation::gelu_erf, "gelu_erf"},
    {Activation::gelu_tanh, "gelu_tanh"},
};

Status check_options(const LayerOptions& options) noexcept {
  if (!has_name(kAlgorithms, options.algorithm)) {
    return fail(StatusCode::invalid_argument, "algorithm: %d is no algorithm",
                static_cast<int>(options.algorithm));
  }
  const Epilogue& epilogue = options.epilogue;
  if (!has_name(kActivations, epilogue.activation)) {
    return fail(StatusCode::invalid_argument, "activation: %d is no activation",
                static_cast<int>(epilogue.activation));
  }
  if (epilogue.activation == Activation::clamp && !(epilogue.alpha < epilogue.beta)) {
    return fail(StatusCode::invalid_argument,
                "activation: clamp takes an alpha below its beta, got alpha %g and beta %g",
                static_cast<double>(epilogue.alpha), static_cast<double>(epilogue.beta));
  }
  if ((options.allocator.allocate == nullptr) != (options.allocator.deallocate == nullptr)) {
    return fail(StatusCode::invalid_argument,
                "allocator: allocate and deallocate must both be given or both be null");
  }
  return {};
}

Status check_weights(const Conv2d& descriptor, const ConstTensorView& weights) noexcept {
  const Dims<4> shape{descriptor.out_channels, descriptor.in_channels / descriptor.groups,
                      descriptor.kernel_size.h, descriptor.kernel_size.w};
  if (weights.shape != shape) {
    return fail(StatusCode::shape_mismatch,
                "weights: have shape %lld x %lld x %lld x %lld, the descriptor asks for %lld x "
                "%lld x %lld x %lld (out_channels, in_channels / groups, kernel_size)",
                ll(weights.shape[0]), ll(weights.shape[1]), ll(weights.shape[2]),
                ll(weights.shape[3]), ll(shape[0]), ll(shape[1]), ll(shape[2]), ll(shape[3]));
  }
  FASTCONV_TRY(check_shape("weights", weights.shape, weights.strides));
  return check_memory("weights", weights);
}

bool lies_in_lanes(const Conv2d& descriptor, const KernelTable& table) noexcept {
  return is_depthwise(descriptor.in_channels / descriptor.groups,
                      descriptor.out_channels / descriptor.groups, table.width);
}

// Of an algorithm asked for by name: can it compute such a layer?
Status check_algorithm(const Conv2d& descriptor, const LayerOptions& options,
                       const KernelTable& table) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = descriptor.window();
  if (options.algorithm == Algorithm::depthwise && !lies_in_lanes(descriptor, table) &&
      !fills_vectors(descriptor.window(), descriptor.in_channels / descriptor.groups,
                     descriptor.out_channels / descriptor.groups, table.width)) {
    const bool is_long = table.width == kMaxWidth;
    return fail(
        StatusCode::unsupported,
        "algorithm: depthwise takes groups of up to %d channels out%s and no more in, or from %d "
        "on dense 3x3 of stride 1%s, got %lld in, %lld out, %lldx%lld, stride %lldx%lld, "
        "dilation %lldx%lld, padding left %lld, right %lld",
        table.width / 2, is_long ? "" : " that divide a vector", table.width,
        is_long ? " (or 2, padded by 2 columns at most)" : "",
        ll(descriptor.in_channels / descriptor.groups),
        ll(descriptor.out_channels / descriptor.groups), ll(kernel.h), ll(kernel.w), ll(stride.h),
        ll(stride.w), ll(dilation.h), ll(dilation.w), ll(padding.left), ll(padding.right));
  }
  if (winograd_size(options.algorithm) == 0) return {};
  if (options.strict) {
    return fail(StatusCode::invalid_argument, "algorithm: %s is excluded by strict; got both",
                name(options.algorithm));
  }
  for (const WinogradVariant& v : kWinogradVariants) {
    if (v.algorithm == options.algorithm && is_winograd(v, descriptor.window())) return {};
  }
  return fail(StatusCode::unsupported,
              "algorithm: %s takes %s kernels of stride 1, or among zeros one that divides the "
              "dilation, and dilations below 2^30, got %lldx%lld, stride %lldx%lld, dilation "
              "%lldx%lld, padding_mode %s",
              name(options.algorithm),
              options.algorithm == Algorithm::winograd_f2   ? "3x3, 5x5, 1x5 and 5x1"
              : options.algorithm == Algorithm::winograd_f4 ? "3x3, 1x3 and 3x1"
                                                            : "3x3",
              ll(kernel.h), ll(kernel.w), ll(stride.h), ll(stride.w), ll(dilation.h),
              ll(dilation.w), name(mode));
}

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

const char* name(Algorithm algorithm) noexcept { return find_name(kAlgorithms, algorithm); }

Status parse_algorithm(const char* text, Algorithm& algorithm) noexcept {
  return find_value(kAlgorithms, "algorithm", text, algorithm);
}

const char* name(Activation activation) noexcept { return find_name(kActivations, activation); }

Status parse_activation(const char* text, Activation& activation) noexcept {
  return find_value(kActivations, "activation", text, activation);
}

Layer::~Layer() {
  if (packed_ == nullptr) return;
  const Allocator allocator = packed_->options.allocator;
  deallocate(allocator, packed_, packed_->bytes);
}

Layer::Layer(Layer&& other) noexcept : packed_(std::exchange(other.packed_, nullptr)) {}

Layer& Layer::operator=(Layer&& other) noexcept {
  Layer taken(std::move(other));  // what this layer had goes with it
  std::swap(packed_, taken.packed_);
  return *this;
}

std::int64_t Layer::bytes() const noexcept { return packed_ != nullptr ? packed_->bytes : 0; }

Status Layer::create(const Conv2d& descriptor, const ConstTensorView& weights, const float* bias,
                     const LayerOptions& options, Layer& layer) noexcept {
  FASTCONV_TRY(check_descriptor(descriptor));
  Isa isa{};
  FASTCONV_TRY(resolve_isa(options.isa, isa));
  FASTCONV_TRY(check_options(options));
  FASTCONV_TRY(check_weights(descriptor, weights));
  const KernelTable* table = kernel_table(isa);
  FASTCONV_TRY(check_algorithm(descriptor, options, *table));

  const Dims<4>& shape = weights.shape;
  const std::int64_t groups = descriptor.groups;
  const bool panels = uses_panels(options.algorithm);
  // One channel a group, or narrow groups: panels of one group each would be mostly empty. Others
  // have their own: 8 groups of 1 to 24 channels 1x1 at 56x56, NHWC, 234 -> 135 us (AVX-512).
  const bool merged = panels && groups > 1 && options.algorithm != Algorithm::gemm &&
                      winograd_size(options.algorithm) == 0 &&
                      (lies_in_lanes(descriptor, *table) ||
                       (shape[1] == 1 && 2 * (shape[0] / groups) <= table->nr()));
  const std::int64_t packed_groups = merged ? 1 : groups;
  const int nr = panels ? table->nr() : 1;
  std::int64_t elements = 0;
  if (!panel_elements(shape, packed_groups, nr, elements)) {
    return fail(StatusCode::overflow, "weights: %lld x %lld x %lld x %lld exceed 64 bits",
                ll(shape[0]), ll(shape[1]), ll(shape[2]), ll(shape[3]));
  }
  PackedWinograd winograd[kWinogradCount] = {};
  const int owned = merged ? -1 : allow_winograd(descriptor, options, winograd);
  const std::int64_t points = owned < 0 ? 0 : winograd_points(kWinogradVariants[owned]);
  const std::int64_t taps = shape[2] * shape[3];
  const std::int64_t tap = shape[1] * nr;              // of a panel
  const std::int64_t count = elements / (taps * tap);  // of panels
  const std::int64_t per_group = shape[0] / packed_groups;
  const std::int64_t lanes = round_up(per_group, nr);
  const bool pads =
      panels && descriptor.padding_mode == PaddingMode::zeros && descriptor.padding.any();
  const bool keeps_bias = bias != nullptr || pads;

  std::int64_t bytes = align_up(static_cast<std::int64_t>(sizeof(Packed)));
  const auto place = [&](std::int64_t floats) {
    const std::int64_t at = bytes;
    bytes += align_up(floats * kFloat);
    return at;
  };
  // A product reads whole vectors from a group's lanes of a merged panel on, the last one's, too.
  const std::int64_t group_out = shape[0] / groups;
  const bool whole = merged && nr % group_out == 0;
  const std::int64_t behind = whole ? kMaxWidth : 0;
  const std::int64_t weights_at = place(elements + behind);
  const std::int64_t bias_at = place(keeps_bias ? packed_groups * lanes + behind : 0);
  // Merged panels serve as well where they hold whole groups.
  const bool reads_narrow =
      (options.algorithm == Algorithm::automatic || options.algorithm == Algorithm::direct) &&
      !whole && direct_lanes(group_out, nr) < nr;
  const std::int64_t narrow_at = place(reads_narrow ? shape[0] * shape[1] * taps : 0);
  const std::int64_t transformed_at = place(points * count * winograd_point_stride(tap));
  void* allocated = nullptr;
  FASTCONV_TRY(allocate(options.allocator, "layer", bytes, allocated));
  auto* const memory = static_cast<char*>(allocated);
  static std::atomic<std::uint64_t> last_id{0};
  auto* packed = new (memory) Packed{};
  packed->id = ++last_id;
  packed->descriptor = descriptor;
  packed->options = options;
  packed->bytes = bytes;
  packed->table = table;
  packed->merged = merged;
  packed->whole = whole;
  packed->lanes_per_group = merged ? shape[0] / groups : lanes;
  packed->weights = reinterpret_cast<float*>(memory + weights_at);
  ConstTensorView source = weights;
  source.strides = used_strides(weights.shape, weights.strides);
  if (panels) {
    pack_panels(source, packed_groups, nr, packed->weights);
    std::fill_n(packed->weights + elements, behind, 0.0F);
    packed->finite = pads && all_finite(packed->weights, elements);
    if (reads_narrow) {
      packed->narrow = reinterpret_cast<float*>(memory + narrow_at);
      pack_panels(source, groups, static_cast<int>(group_out), packed->narrow);
    }
  } else {
    pack_dense(source, packed->weights);
  }
  std::copy(std::begin(winograd), std::end(winograd), packed->winograd);
  if (owned >= 0) {
    auto* const u = reinterpret_cast<float*>(memory + transformed_at);
    transform_weights(*table, owned, packed->weights, count, tap, u);
    packed->winograd[owned].weights = u;
  }
  packed->has_bias = bias != nullptr;
  if (keeps_bias) {
    // Zeros, too, and none of them -0: of sums that underflowed to -0 all become 0, those that met
    // the padding's products and those that passed over them.
    packed->bias = reinterpret_cast<float*>(memory + bias_at);
    for (std::int64_t group = 0; group < packed_groups; ++group) {
      for (std::int64_t k = 0; k < lanes; ++k) {
        const bool given = bias != nullptr && k < per_group;
        packed->bias[group * lanes + k] = given ? bias[group * per_group + k] + 0.0F : 0.0F;
      }
    }
    std::fill_n(packed->bias + packed_groups * lanes, behind, 0.0F);
  }
  Layer made;
  made.packed_ = packed;
  layer = std::move(made);  // the old weights go with `made`
  return {};
}

Status fold_batch_norm(const View<float, 4>& weights, float* bias, const float* gamma,
                       const float* beta, const float* mean, const float* variance,
                       float epsilon) noexcept {
  FASTCONV_TRY(check_shape("weights", weights.shape, weights.strides));
  FASTCONV_TRY(check_memory("weights", weights));
  FASTCONV_TRY(check_no_self_overlap("weights", weights));
  const Dims<4>& shape = weights.shape;
  const ConstTensorView source = weights;
  const Footprint folded("weights", source), shifted("bias", bias, shape[0] * kFloat);
  const struct {
    const char* argument;
    const float* pointer;
    bool needed;
  } inputs[] = {{"bias", bias, true},
                {"mean", mean, true},
                {"variance", variance, true},
                {"gamma", gamma, false},
                {"beta", beta, false}};
  for (const auto& [argument, pointer, needed] : inputs) {
    if (pointer == nullptr) {
      if (needed) return fail(StatusCode::invalid_argument, "%s: is null", argument);
      continue;
    }
    const Footprint from(argument, pointer, shape[0] * kFloat);
    FASTCONV_TRY(check_disjoint(from, folded));
    if (pointer != bias) FASTCONV_TRY(check_disjoint(from, shifted));
  }
  for (std::int64_t k = 0; k < shape[0]; ++k) {
    if (!(variance[k] + epsilon > 0.0F)) {
      return fail(StatusCode::invalid_argument, "variance: %g + epsilon %g at %lld is not positive",
                  static_cast<double>(variance[k]), static_cast<double>(epsilon), ll(k));
    }
  }
  const Dims<4> strides = used_strides(shape, weights.strides);
  for (std::int64_t k = 0; k < shape[0]; ++k) {
    const double scale = (gamma != nullptr ? static_cast<double>(gamma[k]) : 1.0) /
                         std::sqrt(static_cast<double>(variance[k]) + static_cast<double>(epsilon));
    const double shift = beta != nullptr ? static_cast<double>(beta[k]) : 0.0;
    for (std::int64_t c = 0; c < shape[1]; ++c) {
      for (std::int64_t r = 0; r < shape[2]; ++r) {
        for (std::int64_t s = 0; s < shape[3]; ++s) {
          float& weight =
              weights.data[k * strides[0] + c * strides[1] + r * strides[2] + s * strides[3]];
          weight = static_cast<float>(static_cast<double>(weight) * scale);
        }
      }
    }
    bias[k] = static_cast<float>(
        (static_cast<double>(bias[k]) - static_cast<double>(mean[k])) * scale + shift);
  }
  return {};
}

}  // namespace fastconv
