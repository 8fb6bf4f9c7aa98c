// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fastconv/layer.hpp>

#include "simd.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

// The activations that take more than a compare, on `count` vectors in memory: exp, tanh and erf
// are long, and inlined into every tile they would be most of the library.
template <class Arch>
__attribute__((noinline)) void activate(float* values, int count, Activation activation) {
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
  switch (activation) {
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
    default:
      break;
  }
}

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
