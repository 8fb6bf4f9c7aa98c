// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>

#include <fastconv/layer.hpp>
#include <string>
#include <vector>

#include "check.hpp"

namespace fastconv::testing {

using Words = std::vector<std::string>;

inline void check_refusal(const Status& status, StatusCode code, const Words& words) {
  CAPTURE(text(status));
  CHECK(std::string(name(status.code())) == std::string(name(code)));
  for (const std::string& word : words) {
    CAPTURE(word);
    CHECK(std::string(status.message()).find(word) != std::string::npos);
  }
}

// A call that is right, to be spoilt in one place at a time: 4 channels to 6, 3x2 window, 5x7
// image.
struct Call {
  Call()
      : x_tensor(Layout::nchw, {2, 4, 5, 7}),
        weight_tensor(Layout::nchw, {6, 4, 3, 2}),
        y_tensor(Layout::nchw, {2, 6, 3, 6}),
        bias(6, 1.0F) {
    fill_integers(x_tensor.view(), 1);
    fill_integers(weight_tensor.view(), 2);
    conv.in_channels = 4;
    conv.out_channels = 6;
    conv.kernel_size = {3, 2};
    x = x_tensor.view();
    weights = weight_tensor.view();
    y = y_tensor.view();
  }

  Status create(Layer& layer) const {
    return Layer::create(conv, weights, bias.data(), options, layer);
  }
  Status run() const {
    Layer layer;
    const Status status = create(layer);
    return status.ok() ? layer.run(x, y) : status;
  }

  Tensor x_tensor, weight_tensor, y_tensor;
  std::vector<float> bias;
  Conv2d conv;
  LayerOptions options;
  ConstTensorView x, weights;
  TensorView y;
};

}  // namespace fastconv::testing
