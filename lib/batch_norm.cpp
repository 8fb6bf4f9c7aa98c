// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstdint>
#include <fastconv/layer.hpp>

#include "error.hpp"
#include "geometry.hpp"
#include "integers.hpp"
#include "views.hpp"

namespace fastconv {

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
