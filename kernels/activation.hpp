// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fastconv/layer.hpp>

#include "simd.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

FASTCONV_INLINE bool is_clamp(Activation activation) noexcept {
  return activation == Activation::relu || activation == Activation::clamp;
}

// What relu or clamp keeps to.
template <class V>
struct Range {
  V low, high;

  explicit FASTCONV_INLINE Range(const Epilogue& epilogue) noexcept {
    const bool relu = epilogue.activation == Activation::relu;
    low = V::broadcast(relu ? 0.0F : epilogue.alpha);
    high = V::broadcast(relu ? __builtin_inff() : epilogue.beta);
  }
};

// The activation of `count` vectors in memory.
template <class Arch>
__attribute__((noinline)) void activate(float* values, int count,
                                        const Epilogue& epilogue) noexcept {
  using V = Vector<Arch>;
  const V half = V::broadcast(0.5F);
  const V one = V::broadcast(1.0F);
  const auto each = [&](auto&& function) {
    for (int i = 0; i < count; ++i) {
      function(V::load(values + i * V::width)).store(values + i * V::width);
    }
  };
  const auto hardsigmoid = [&](V x) {
    return V::clamp(V::fma(x, V::broadcast(1.0F / 6.0F), half), V::zero(), one);
  };
  const auto sigmoid = [&](V x) { return one / (one + V::exp(V::zero() - x)); };
  switch (epilogue.activation) {
    case Activation::none:
      break;
    case Activation::relu:
    case Activation::clamp: {
      const Range<V> range(epilogue);
      each([&](V x) { return V::clamp(x, range.low, range.high); });
      break;
    }
    case Activation::leaky_relu: {
      const V slope = V::broadcast(epilogue.alpha);
      each([&](V x) { return V::leaky(x, slope); });
      break;
    }
    case Activation::hardsigmoid:
      each(hardsigmoid);
      break;
    case Activation::hardswish:
      each([&](V x) { return x * hardsigmoid(x); });
      break;
    case Activation::sigmoid:
      each(sigmoid);
      break;
    case Activation::silu:
      each([&](V x) { return x * sigmoid(x); });
      break;
    case Activation::tanh:
      each([](V x) { return V::tanh(x); });
      break;
    case Activation::gelu_erf:
      each([&](V x) {
        const V scaled = x * V::broadcast(0.707106781186547524F);
        return half * x * (one + V::erf(scaled));
      });
      break;
    case Activation::gelu_tanh:
      each([&](V x) {
        const V cubic = V::fma(x * x * x, V::broadcast(0.044715F), x);
        return half * x * (one + V::tanh(cubic * V::broadcast(0.797884560802865356F)));
      });
      break;
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
