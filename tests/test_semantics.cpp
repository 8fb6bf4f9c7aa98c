// SPDX-License-Identifier: Apache-2.0
// What a result means beyond being close: special values, reproducible bits, many threads at once.
#include <doctest/doctest.h>

#include <cmath>
#include <fastconv/fastconv.hpp>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "compare.hpp"

namespace fastconv::testing {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kTiniest = std::numeric_limits<float>::denorm_min();

// Calls function(options) for each algorithm and tested level.
template <class Function>
void for_each_engine(Function function) {
  for (const Isa isa : tested_isas()) {
    for (const Algorithm algorithm : general_algorithms()) {
      if (!depends_on_isa(algorithm) && isa != Isa::generic) continue;
      CAPTURE(std::string(name(algorithm)));
      CAPTURE(std::string(name(isa)));
      function(LayerOptions{algorithm, isa});
    }
  }
}

// The formula of descriptor.hpp word for word, in double, over a padded copy.
double reference(const Conv2d& conv, const ConstTensorView& padded, const ConstTensorView& weights,
                 const float* bias, const Dims<4>& i) {
  double sum = bias != nullptr ? static_cast<double>(bias[i[1]]) : 0.0;
  const std::int64_t channels = weights.shape[1];
  const std::int64_t first = i[1] / (conv.out_channels / conv.groups) * channels;
  for_each_index({1, channels, weights.shape[2], weights.shape[3]}, [&](const Dims<4>& tap) {
    const float x =
        at(padded, {i[0], first + tap[1], i[2] * conv.stride.h + tap[2] * conv.dilation.h,
                    i[3] * conv.stride.w + tap[3] * conv.dilation.w});
    sum +=
        static_cast<double>(x) * static_cast<double>(at(weights, {i[1], tap[1], tap[2], tap[3]}));
  });
  return sum;
}

Conv2d padded_conv() {
  Conv2d conv;
  conv.in_channels = 3;
  conv.out_channels = 18;
  conv.kernel_size = {3, 2};
  conv.stride = {1, 2};
  conv.padding = {1, 2, 0, 1};
  return conv;
}

// x, weights and bias of padded_conv, for the test to put special values into.
struct Operands {
  explicit Operands(Layout layout)
      : x(layout, {2, 3, 6, 19}),
        weights(Layout::nchw, {18, 3, 3, 2}),
        bias(Layout::nchw, {1, 18, 1, 1}),
        expected(Layout::nchw, {2, 18, 7, 10}),
        y(layout, {2, 18, 7, 10}) {
    fill_integers(x.view(), 1);
    fill_integers(weights.view(), 2);
    fill_integers(bias.view(), 3);
  }

  void check(const LayerOptions& options) const {
    const Conv2d conv = padded_conv();
    const Tensor padded = padded_copy(x.view(), conv.padding, conv.padding_mode);
    for_each_index(expected.view().shape, [&](const Dims<4>& i) {
      at(expected.view(), i) =
          static_cast<float>(reference(conv, padded.view(), weights.view(), bias.view().data, i));
    });
    const Status status = conv2d(x.view(), weights.view(), bias.view().data, y.view(), conv.stride,
                                 conv.padding, 1, 1, PaddingMode::zeros, options);
    REQUIRE_MESSAGE(status.ok(), text(status));
    const Difference difference = compare_special(y.view(), expected.view());
    CHECK_MESSAGE(difference.none(), difference.text());
  }

  int nans() const {
    int count = 0;
    for_each_index(y.view().shape,
                   [&](const Dims<4>& i) { count += std::isnan(at(y.view(), i)) ? 1 : 0; });
    return count;
  }

  Tensor x, weights, bias, expected, y;
};

constexpr Layout kDense[] = {Layout::nchw, Layout::nhwc};

}  // namespace

TEST_SUITE("semantics") {
  TEST_CASE("a NaN of the image reaches the windows that hold it and no other") {
    for_each_engine([](const LayerOptions& options) {
      for (const Layout layout : kDense) {
        const Operands operands(layout);
        at(operands.x.view(), {1, 2, 3, 4}) = kNan;
        operands.check(options);
        // 3 rows of windows, 1 column: stride 2 with a kernel of 2 meets each pixel once.
        CHECK(operands.nans() == 3 * 18);
      }
    });
  }

  TEST_CASE("infinities add up, cancel to NaN and times zero are NaN") {
    for_each_engine([](const LayerOptions& options) {
      for (const Layout layout : kDense) {
        const Operands operands(layout);
        at(operands.x.view(), {0, 0, 2, 2}) = kInfinity;
        at(operands.x.view(), {0, 1, 2, 3}) = -kInfinity;
        at(operands.x.view(), {1, 1, 5, 18}) = kInfinity;
        operands.check(options);
        CHECK(operands.nans() > 0);
      }
    });
  }

  TEST_CASE("padding taps multiply: an infinite or NaN weight meets them too") {
    for_each_engine([](const LayerOptions& options) {
      for (const Layout layout : kDense) {
        for (const float special : {kInfinity, -kInfinity, kNan}) {
          const Operands operands(layout);
          // The top row of the kernel lies in the padding for the first row of outputs, channel 4.
          at(operands.weights.view(), {4, 1, 0, 0}) = special;
          operands.check(options);
          CHECK(std::isnan(at(operands.y.view(), {0, 4, 0, 0})));
        }
      }
    });
  }

  TEST_CASE("padding taps of filters larger than the image multiply") {
    for_each_engine([](const LayerOptions& options) {
      for (const Layout layout : kDense) {
        const Tensor x(layout, {3, 20, 2, 2});
        const Tensor y(layout, {3, 18, 2, 2});
        const Tensor weights(Layout::nchw, {18, 20, 7, 7});
        fill_integers(x.view(), 1);
        fill_integers(weights.view(), 2);
        at(weights.view(), {5, 19, 0, 0}) = kInfinity;  // which no output finds in the image
        REQUIRE(conv2d(x.view(), weights.view(), nullptr, y.view(), 1, 3, 1, 1, PaddingMode::zeros,
                       options)
                    .ok());
        for_each_index(y.view().shape, [&](const Dims<4>& i) {
          CHECK(std::isnan(at(y.view(), i)) == (i[1] == 5));
        });
      }
    });
  }

  TEST_CASE("padding taps of depthwise filters multiply: above the image, below and beside it") {
    for (const Isa isa : tested_isas()) {
      for (const Layout layout : kDense) {
        for (const auto& [kernel, width] :
             {Pair{3, 9}, Pair{3, 6}, Pair{4, 9}, Pair{5, 9}, Pair{5, 6}, Pair{7, 9}}) {
          const Tensor x(layout, {1, 17, 6, width});
          const Tensor y(layout, {1, 17, 6, width});
          const Tensor weights(Layout::nchw, {17, 1, kernel, kernel});
          fill_integers(x.view(), 1);
          fill_integers(weights.view(), 2);
          at(weights.view(), {4, 0, 0, 0}) = kInfinity;
          at(weights.view(), {16, 0, kernel - 1, 0}) = kNan;
          at(weights.view(), {8, 0, kernel / 2, 0}) = kInfinity;
          at(weights.view(), {12, 0, kernel / 2, kernel - 1}) = kInfinity;
          const Padding padding{(kernel - 1) / 2, kernel / 2, (kernel - 1) / 2, kernel / 2};
          REQUIRE(conv2d(x.view(), weights.view(), nullptr, y.view(), 1, padding, 1, 17,
                         PaddingMode::zeros, LayerOptions{Algorithm::depthwise, isa})
                      .ok());
          CHECK(std::isnan(at(y.view(), {0, 4, 0, width - 1})));
          CHECK(std::isnan(at(y.view(), {0, 16, 5, width - 1})));
          CHECK(std::isnan(at(y.view(), {0, 8, 3, 0})));
          CHECK(std::isnan(at(y.view(), {0, 12, 3, width - 1})));
        }
      }
    }
  }

  TEST_CASE("padding taps of groups of a few channels multiply") {
    for (const Isa isa : tested_isas()) {
      for (const std::int64_t group : {2, 4, 8}) {
        for (const std::int64_t height : {6, 16}) {
          const std::int64_t channels = 3 * group;
          const Tensor x(Layout::nhwc, {1, channels, height, 9});
          const Tensor y(Layout::nhwc, {1, channels, height, 9});
          fill_integers(x.view(), 1);
          struct Special {
            std::int64_t r, s, h, w;  // of a tap, and of an output that finds it in the padding
          };
          for (const auto& [r, s, h, w] :
               {Special{0, 1, 0, 4}, {2, 1, height - 1, 4}, {1, 0, 3, 0}, {1, 2, 3, 8}}) {
            const Tensor weights(Layout::nchw, {channels, group, 3, 3});
            fill_integers(weights.view(), 2);
            at(weights.view(), {group + 1, 1, r, s}) = kInfinity;
            const Status status =
                conv2d(x.view(), weights.view(), nullptr, y.view(), 1, 1, 1, 3, PaddingMode::zeros,
                       LayerOptions{Algorithm::depthwise, isa});
            // Short vectors hold no two larger groups.
            if (group > 2 && status.code() == StatusCode::unsupported) continue;
            REQUIRE(status.ok());
            CHECK(std::isnan(at(y.view(), {0, group + 1, h, w})));
            CHECK(std::isfinite(at(y.view(), {0, group, h, w})));
          }
        }
      }
    }
  }

  TEST_CASE("a special bias stays in its channel") {
    for_each_engine([](const LayerOptions& options) {
      for (const Layout layout : kDense) {
        const Operands operands(layout);
        operands.bias.view().data[0] = kInfinity;
        operands.bias.view().data[17] = kNan;
        operands.check(options);
        CHECK(operands.nans() == 2 * 7 * 10);
      }
    });
  }

  TEST_CASE("denormals are kept, in and out") {
    for_each_engine([](const LayerOptions& options) {
      for (const Layout layout : kDense) {
        const Tensor x(layout, {1, 1, 3, 37});
        const Tensor y(layout, {1, 1, 3, 37});
        fill_with(x.view(), 5.0F * kTiniest);
        const float weight = -3.0F;
        REQUIRE(conv2d(x.view(), oihw(&weight, 1, 1, 1, 1), nullptr, y.view(), 1, 0, 1, 1,
                       PaddingMode::zeros, options)
                    .ok());
        for_each_index(y.view().shape,
                       [&](const Dims<4>& i) { CHECK(at(y.view(), i) == -15.0F * kTiniest); });
        // Normal factors with a product that is not.
        fill_with(x.view(), 0x1p-80F);
        const float small = 0x1p-66F;
        REQUIRE(conv2d(x.view(), oihw(&small, 1, 1, 1, 1), nullptr, y.view(), 1, 0, 1, 1,
                       PaddingMode::zeros, options)
                    .ok());
        for_each_index(y.view().shape,
                       [&](const Dims<4>& i) { CHECK(at(y.view(), i) == 0x1p-146F); });
      }
    });
  }

  TEST_CASE("negative zeros are zeros") {
    for_each_engine([](const LayerOptions& options) {
      for (const Layout layout : kDense) {
        const Operands operands(layout);
        fill_with(operands.x.view(), -0.0F);
        fill_with(operands.bias.view(), -0.0F);
        operands.check(options);
        CHECK(at(operands.y.view(), {1, 17, 6, 9}) == 0.0F);
      }
    });
  }

  TEST_CASE("the baselines round once") {
    Conv2d conv = padded_conv();
    conv.in_channels = 40;
    const Tensor x(Layout::nchw, {1, 40, 6, 19});
    const Tensor weights(Layout::nchw, {18, 40, 3, 2});
    const Tensor y(Layout::nchw, {1, 18, 7, 10});
    fill_floats(x.view(), 1);
    fill_floats(weights.view(), 2);
    const Tensor padded = padded_copy(x.view(), conv.padding, conv.padding_mode);
    for (const Algorithm algorithm : general_algorithms()) {
      if (depends_on_isa(algorithm)) continue;
      CAPTURE(std::string(name(algorithm)));
      REQUIRE(conv2d(x.view(), weights.view(), nullptr, y.view(), conv.stride, conv.padding, 1, 1,
                     PaddingMode::zeros, {algorithm, Isa::automatic})
                  .ok());
      for_each_index(y.view().shape, [&](const Dims<4>& i) {
        const double exact = reference(conv, padded.view(), weights.view(), nullptr, i);
        const float got = at(y.view(), i);
        const double unit = static_cast<double>(std::nextafter(std::fabs(got), kInfinity)) -
                            static_cast<double>(std::fabs(got));
        // 240 products below 1: either double sum is within 240 * 240 * 2^-53 of the truth.
        CHECK(std::fabs(static_cast<double>(got) - exact) <= 0.5 * unit + 2 * 240 * 240 * 0x1p-53);
      });
    }
  }

  TEST_CASE("the bits depend on neither batch nor alignment") {
    for_each_engine([](const LayerOptions& options) {
      for (const Layout layout : kDense) {
        const Conv2d conv = padded_conv();
        const Tensor x(layout, {3, 3, 6, 19}), weights(Layout::nchw, {18, 3, 3, 2});
        const Tensor together(layout, {3, 18, 7, 10});
        fill_floats(x.view(), 1);
        fill_floats(weights.view(), 2);
        Layer layer;
        REQUIRE(Layer::create(conv, weights.view(), nullptr, options, layer).ok());
        REQUIRE(layer.run(x.view(), together.view()).ok());
        for (std::int64_t n = 0; n < 3; ++n) {
          const Tensor alone(layout, {1, 18, 7, 10});
          REQUIRE(layer.run(x.view().slice(0, n, 1), alone.view()).ok());
          CHECK(compare_bits(alone.view(), together.view().slice(0, n, 1)).none());
        }
        for (const std::int64_t offset : {1, 2, 3, 7, 15}) {
          std::vector<float> source(3 * 3 * 6 * 19 + 16), destination(3 * 18 * 7 * 10 + 16);
          TensorView moved_x = x.view(), moved_y = together.view();
          moved_x.data = source.data() + offset;
          moved_y.data = destination.data() + 16 - offset;
          copy(x.view(), moved_x);
          REQUIRE(layer.run(moved_x, moved_y).ok());
          CHECK(compare_bits(moved_y, together.view()).none());
        }
      }
    });
  }

  TEST_CASE("many threads run one layer, and make their own, with the same bits") {
    for_each_engine([](const LayerOptions& options) {
      constexpr std::size_t kThreads = 8;
      const Conv2d conv = padded_conv();
      const Tensor x(Layout::nchw, {1, 3, 6, 19}), weights(Layout::nchw, {18, 3, 3, 2});
      fill_floats(x.view(), 1);
      fill_floats(weights.view(), 2);
      Layer shared;
      REQUIRE(Layer::create(conv, weights.view(), nullptr, options, shared).ok());
      const Tensor expected(Layout::nchw, {1, 18, 7, 10});
      REQUIRE(shared.run(x.view(), expected.view()).ok());
      Plan plan;
      REQUIRE(shared.plan(x.view(), expected.view(), plan).ok());

      std::vector<Tensor> outputs;
      for (std::size_t i = 0; i < kThreads; ++i) {
        outputs.emplace_back(Layout::nchw, Dims<4>{1, 18, 7, 10});
      }
      std::vector<int> failures(kThreads);
      std::vector<std::thread> threads;
      for (std::size_t i = 0; i < kThreads; ++i) {
        threads.emplace_back([&, i] {
          std::vector<char> workspace(static_cast<std::size_t>(plan.workspace_bytes()));
          for (int turn = 0; turn < 20; ++turn) {
            const TensorView& y = outputs[i].view();
            fill_with(y, kNan);
            Status status =
                shared.run(plan, x.view(), y, {workspace.data(), plan.workspace_bytes()});
            if (!status.ok() || !compare_bits(y, expected.view()).none()) ++failures[i];
            Layer own;
            fill_with(y, kNan);
            status = Layer::create(conv, weights.view(), nullptr, options, own);
            if (status.ok()) status = own.run(x.view(), y);
            if (!status.ok() || !compare_bits(y, expected.view()).none()) ++failures[i];
          }
        });
      }
      for (std::thread& thread : threads) thread.join();
      CHECK(failures == std::vector<int>(kThreads, 0));
    });
  }
}

}  // namespace fastconv::testing
