// SPDX-License-Identifier: Apache-2.0
// What a plan says of itself.
#include <doctest/doctest.h>

#include <fastconv/fastconv.hpp>
#include <string>
#include <vector>

#include "../kernels/table.hpp"
#include "check.hpp"

namespace fastconv::testing {

TEST_SUITE("explain") {
  TEST_CASE("explain tells of the window, the epilogue in its order, and the numbers") {
    const Tensor x(Layout::nchw, {2, 8, 12, 13}), weights(Layout::nchw, {24, 8, 3, 3});
    const Tensor y(Layout::nchw, {2, 24, 12, 13});
    fill_integers(weights.view(), 1);
    const std::vector<float> bias(24, 1.0F);
    LayerOptions options;
    options.epilogue = {Activation::clamp, -1.5F, 6.0F, true};
    options.strict = true;
    options.flush_denormals = true;
    for (int i = 0; i < 3; ++i) {
      Layer layer;
      Plan plan;
      REQUIRE(Layer::create(conv_of(8, 24), weights.view(), bias.data(), options, layer).ok());
      REQUIRE(layer.plan(x.view(), y.view(), plan).ok());
      const Explanation explanation = plan.explain();
      const std::string all = explanation.text;
      CAPTURE(all);
      CHECK(all.size() < sizeof explanation.text - 100);
      const char* const epilogues[] = {"bias, clamp -1.5 to 6, residual if given\n",
                                       "bias, residual if given, leaky_relu of slope 0.5\n",
                                       "bias, residual if given, no activation\n"};
      for (const char* part :
           {"stride 1x1", "padding 1 1 1 1 of zeros", epilogues[i], "numbers: strict, denormals"}) {
        CHECK(all.find(part) != std::string::npos);
      }
      options.epilogue = {};
      if (i == 0) options.epilogue = {Activation::leaky_relu, 0.5F, 0.0F, false};
    }
  }

  TEST_CASE("explain tells of the axes as kernels see them") {
    // Much of a filter of one row lies in the padding.
    const Conv2d conv = conv_of(16, 5, {1, 7}, {0, 3});
    const Tensor weights(Layout::nchw, {5, 16, 1, 7});
    fill_integers(weights.view(), 1);
    const struct {
      Layout layout;
      Dims<4> shape;
      const char* seen;
    } cases[] = {{Layout::nhwc,
                  {2, 16, 8, 9},
                  "seen as: x 2x16x9x8, kernel 7x1, stride 1x1, dilation 1x1\n"},
                 {Layout::nhwc, {2, 16, 8, 99}, nullptr},
                 {Layout::nchw, {2, 16, 8, 9}, nullptr},
                 {Layout::nhwc,
                  {3, 16, 1, 9},
                  "seen as: x 1x16x3x9, kernel 1x7, stride 1x1, dilation 1x1\n"}};
    for (const auto& c : cases) {
      CAPTURE(c.shape[3]);
      const Tensor x(c.layout, c.shape);
      const Tensor y(c.layout, {c.shape[0], 5, c.shape[2], c.shape[3]});
      Layer layer;
      Plan plan;
      REQUIRE(Layer::create(conv, weights.view(), nullptr, {}, layer).ok());
      REQUIRE(layer.plan(x.view(), y.view(), plan).ok());
      const Explanation explanation = plan.explain();
      const std::string all = explanation.text;
      CAPTURE(all);
      CHECK((all.find("seen as") != std::string::npos) == (c.seen != nullptr));
      if (c.seen != nullptr) CHECK(all.find(c.seen) != std::string::npos);
    }
  }

  TEST_CASE("explain tells of the layout") {
    const Conv2d conv = conv_of(4, 4, 1, 0);
    const Tensor weights(Layout::nchw, {4, 4, 1, 1});
    fill_integers(weights.view(), 1);
    Layer layer;
    REQUIRE(Layer::create(conv, weights.view(), nullptr, {}, layer).ok());
    float data = 0;
    const TensorView planes = nchw(&data, 2, 8, 5, 6), pixels = nhwc(&data, 2, 8, 5, 6);
    const struct {
      TensorView x, y;
      const char* text;
    } cases[] = {
        {nchw(&data, 2, 4, 5, 6), nhwc(&data, 2, 4, 5, 6), "layout: x NCHW, y NHWC\n"},
        {pixels.slice(1, 4, 4), planes.slice(1, 0, 4),
         "layout: x with adjacent channels, y with adjacent columns\n"},
        {planes.slice(1, 0, 4, 2).slice(3, 0, 3, 2), pixels.slice(1, 0, 4, 2).slice(3, 0, 3),
         "layout: x with nothing adjacent, y with nothing adjacent\n"},
        {nhwc(&data, 1, 4, 1, 1), nhwc(&data, 1, 4, 1, 1), "layout: x NCHW, y NCHW\n"},
    };
    for (const auto& c : cases) {
      CAPTURE(c.text);
      Plan plan;
      REQUIRE(layer.plan(c.x, c.y, plan).ok());
      const std::string all = plan.explain().text;
      CAPTURE(all);
      CHECK(all.find(c.text) != std::string::npos);
    }
  }

  TEST_CASE("explain gives the reason why an algorithm was not tried") {
    const struct {
      std::int64_t groups, channels, kernel, size;
      PaddingMode mode;
      const char* reason;
    } kCases[] = {
        {1, 2, 3, 12, PaddingMode::zeros, "refused: depthwise, which takes more groups than one"},
        {1, 1, 3, 12, PaddingMode::reflect, "which pads with zeros alone where channels lie apart"},
        {4, 16, 3, 12, PaddingMode::zeros, "winograd, which takes 8 channels of a group"},
        {1, 16, 7, 12, PaddingMode::zeros, "winograd, which takes kernels of 3x3"},
        {8, 8, 3, 12, PaddingMode::reflect, "which pads with zeros alone where channels lie apart"},
    };
    for (const auto& c : kCases) {
      Conv2d conv = conv_of(c.channels, c.channels, c.kernel, 1, c.groups);
      conv.padding_mode = c.mode;
      conv.stride = c.mode == PaddingMode::zeros ? 1 : 3;  // or planes would serve
      const Problem problem = problem_of(conv, 1, c.size, c.size);
      const Tensor x(Layout::nchw, {1, c.channels, c.size, c.size});
      const Tensor y(Layout::nchw, {1, c.channels, problem.oh, problem.ow});
      const Tensor weights(Layout::nchw, {c.channels, c.channels / c.groups, c.kernel, c.kernel});
      Layer layer;
      Plan plan;
      REQUIRE(Layer::create(conv, weights.view(), nullptr, {}, layer).ok());
      REQUIRE(layer.plan(x.view(), y.view(), plan).ok());
      const std::string all = plan.explain().text;
      CAPTURE(all);
      CHECK(all.find(c.reason) != std::string::npos);
    }
  }

  TEST_CASE(
      "groups of one channel in have panels of their own where these are half full and more") {
    const int nr = kernel_table(Isa::generic)->nr();
    LayerOptions options;
    options.isa = Isa::generic;
    for (const std::int64_t out : {nr / 2 - 1, nr / 2 + 1}) {
      const Conv2d conv = conv_of(4, 4 * out, 1, 0, 4);
      const std::vector<float> weights(static_cast<std::size_t>(4 * out));
      Layer layer;
      Plan plan;
      float* const none = nullptr;
      REQUIRE(Layer::create(conv, oihw(weights.data(), 4 * out, 1, 1, 1), nullptr, options, layer)
                  .ok());
      REQUIRE(layer.plan(nhwc(none, 1, 4, 9, 9), nhwc(none, 1, 4 * out, 9, 9), plan).ok());
      const std::string all = plan.explain().text;
      CAPTURE(all);
      CHECK((all.find("gemm, which would leave most lanes") != std::string::npos) ==
            (2 * out < nr));
    }
  }
}

}  // namespace fastconv::testing
