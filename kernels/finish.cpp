// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "baselines.hpp"

namespace fastconv {
namespace {

double clamp(double x, double low, double high) noexcept {  // NaN passes
  return x < low ? low : (x > high ? high : x);
}

double activate(const Epilogue& epilogue, double x) noexcept {
  switch (epilogue.activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return x < 0 ? 0 : x;
    case Activation::clamp:
      return clamp(x, static_cast<double>(epilogue.alpha), static_cast<double>(epilogue.beta));
    case Activation::leaky_relu:
      return x < 0 ? static_cast<double>(epilogue.alpha) * x : x;
    case Activation::hardsigmoid:
      return clamp(x / 6 + 0.5, 0, 1);
    case Activation::hardswish:
      return x * clamp(x / 6 + 0.5, 0, 1);
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::silu:
      return x / (1 + std::exp(-x));
    case Activation::tanh:
      return std::tanh(x);
    case Activation::gelu_erf:
      return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::gelu_tanh:
      return x / 2 *
             (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
  }
  return x;
}

}  // namespace

void finish(const BaselineArguments& arguments, double sum, std::int64_t n, std::int64_t k,
            std::int64_t oh, std::int64_t ow) noexcept {
  const Epilogue& epilogue = arguments.epilogue;
  const auto offset = [&](const Dims<4>& strides) {
    return n * strides[0] + k * strides[1] + oh * strides[2] + ow * strides[3];
  };
  if (arguments.bias != nullptr) sum += static_cast<double>(arguments.bias[k]);
  const double residual =
      arguments.residual != nullptr
          ? static_cast<double>(arguments.residual[offset(arguments.residual_strides)])
          : 0.0;
  sum = epilogue.residual_last ? activate(epilogue, sum) + residual
                               : activate(epilogue, sum + residual);
  arguments.y[offset(arguments.problem.y_strides)] = static_cast<float>(sum);
}

}  // namespace fastconv
