// SPDX-License-Identifier: Apache-2.0
#include <fastconv/layer.hpp>

#include <new>
#include <utility>

#include "depthwise.hpp"
#include "error.hpp"
#include "geometry.hpp"
#include "integers.hpp"
#include "memory.hpp"
#include "names.hpp"
#include "packed.hpp"
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

  Packed::Layout layout;
  FASTCONV_TRY(layout.make(descriptor, options, *table, bias != nullptr));
  void* memory = nullptr;
  FASTCONV_TRY(allocate(options.allocator, "layer", layout.bytes, memory));
  ConstTensorView source = weights;
  source.strides = used_strides(weights.shape, weights.strides);
  Layer made;
  made.packed_ = new (memory) Packed(layout, descriptor, options, *table, source, bias);
  layer = std::move(made);  // the old weights go with `made`
  return {};
}

}  // namespace fastconv
