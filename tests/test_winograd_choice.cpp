// SPDX-License-Identifier: Apache-2.0
// Who may have Winograd, by name or by choice.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "check.hpp"
#include "compare.hpp"
#include "winograd.hpp"

namespace fastconv::testing {

TEST_SUITE("winograd") {
  TEST_CASE("who may have it") {
    const std::vector<float> weights(64 * 64 * 25);
    const auto planned = [&](const Conv2d& conv, std::int64_t size, const LayerOptions& options) {
      Layer layer;
      const Status status =
          Layer::create(conv,
                        oihw(weights.data(), conv.out_channels, conv.in_channels / conv.groups,
                             conv.kernel_size.h, conv.kernel_size.w),
                        nullptr, options, layer);
      REQUIRE_MESSAGE(status.ok(), text(status));
      const Problem p = problem_of(conv, 1, size, size);
      std::vector<float> x(static_cast<std::size_t>(conv.in_channels * size * size));
      std::vector<float> y(static_cast<std::size_t>(conv.out_channels * p.oh * p.ow));
      Plan plan;
      REQUIRE(layer
                  .plan(nhwc(x.data(), 1, conv.in_channels, size, size),
                        nhwc(y.data(), 1, conv.out_channels, p.oh, p.ow), plan)
                  .ok());
      return plan.algorithm();
    };
    LayerOptions options;
    CHECK(planned(conv_of(64, 64), 56, options) == Algorithm::winograd_f4);
    CHECK(winograd_size(planned(conv_of(64, 64), 1, options)) == 0);
    for (const Pair& kernel : kWinogradKernels) {
      const Padding same{kernel.h / 2, kernel.w / 2};
      CHECK(planned(conv_of(64, 64, kernel, same), 56, options) == only_algorithm(kernel));
      CHECK(planned(conv_of(64, 3, kernel, same), 56, options) != only_algorithm(kernel));
      CHECK(planned(conv_of(7, 64, kernel, same), 56, options) != only_algorithm(kernel));
    }
    Conv2d strided = conv_of(64, 64);
    strided.stride = 2;
    CHECK(winograd_size(planned(strided, 56, options)) == 0);
    options.strict = true;
    CHECK(winograd_size(planned(conv_of(64, 64), 56, options)) == 0);

    Layer empty;
    Plan plan;
    REQUIRE(Layer::create(conv_of(64, 64), oihw(weights.data(), 64, 64, 3, 3), nullptr, {}, empty)
                .ok());
    REQUIRE(empty.plan(nchw(weights.data(), 0, 64, 8, 8), nchw<float>(nullptr, 0, 64, 8, 8), plan)
                .ok());
    CHECK(plan.algorithm() != Algorithm::automatic);
    CHECK(std::string(plan.explain().text).find("empty batch") != std::string::npos);

    Layer layer;
    options.algorithm = Algorithm::winograd_f4;
    Status status =
        Layer::create(conv_of(8, 8), oihw(weights.data(), 8, 8, 3, 3), nullptr, options, layer);
    CHECK(status.code() == StatusCode::invalid_argument);
    CHECK(std::string(status.message()).find("strict") != std::string::npos);
    options.strict = false;
    strided = conv_of(8, 8);
    strided.stride = {1, 2};
    status = Layer::create(strided, oihw(weights.data(), 8, 8, 3, 3), nullptr, options, layer);
    CHECK(status.code() == StatusCode::unsupported);
    CHECK(std::string(status.message()).find("stride 1x2") != std::string::npos);
    options.algorithm = Algorithm::winograd_f6;
    status = Layer::create(conv_of(8, 8, {1, 3}, 1), oihw(weights.data(), 8, 8, 1, 3), nullptr,
                           options, layer);
    CHECK(status.code() == StatusCode::unsupported);
    CHECK(std::string(status.message()).find("got 1x3") != std::string::npos);
  }

  TEST_CASE("a stride above the image stays as it is, and winograd refuses it with the sizes") {
    Conv2d conv = conv_of(8, 8, 3, 12);
    conv.stride = conv.dilation = 4;
    const Problem problem = problem_of(conv, 1, 3, 40);
    const Tensor x(Layout::nhwc, {1, 8, 3, 40}), weights(Layout::nchw, {8, 8, 3, 3});
    fill_integers(x.view(), 1);
    fill_integers(weights.view(), 2);
    const Dims<4> shape{1, 8, problem.oh, problem.ow};
    const Tensor expected(Layout::nhwc, shape);
    for (const Algorithm algorithm : {Algorithm::naive, Algorithm::gemm, Algorithm::direct}) {
      LayerOptions options;
      options.algorithm = algorithm;
      const Tensor y(Layout::nhwc, shape);
      const Tensor& to = algorithm == Algorithm::naive ? expected : y;
      Layer layer;
      REQUIRE(Layer::create(conv, weights.view(), nullptr, options, layer).ok());
      REQUIRE(layer.run(x.view(), to.view()).ok());
      CHECK(compare_bits(to.view(), expected.view()).none());
    }
    LayerOptions options;
    options.algorithm = Algorithm::winograd_f2;
    Layer layer;
    REQUIRE(Layer::create(conv, weights.view(), nullptr, options, layer).ok());
    const Status status = layer.run(x.view(), expected.view());
    CHECK(status.code() == StatusCode::unsupported);
    CHECK(std::string(status.message()).find("got 3 x 40") != std::string::npos);
  }
}

}  // namespace fastconv::testing
