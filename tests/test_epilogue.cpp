// SPDX-License-Identifier: Apache-2.0
// Activations: their error against double over all magnitudes, special values, and the same in
// every layout and tail of a tile.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fastconv/fastconv.hpp>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "compare.hpp"

namespace fastconv::testing {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// layer.hpp's bound: this many times 2^-24 * max(|x|, |y|), and a denormal step.
constexpr double kBound = 3.0;

std::vector<Epilogue> all_epilogues() {
  std::vector<Epilogue> result;
  for (int i = 0; std::strcmp(name(static_cast<Activation>(i)), "unknown") != 0; ++i) {
    const auto activation = static_cast<Activation>(i);
    result.push_back({activation, activation == Activation::clamp ? -1.25F : 0.0F, 6.0F, false});
    if (activation == Activation::leaky_relu) {
      for (const float slope : {0.01F, -0.5F, 3.0F}) {
        result.push_back({activation, slope, 0.0F, false});
      }
    }
  }
  return result;
}

// The formulas of layer.hpp, in forms that lose nothing to cancellation in double.
double reference(const Epilogue& epilogue, double x) {
  const double pi = std::acos(-1.0);
  switch (epilogue.activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return std::max(x, 0.0);
    case Activation::clamp:
      return std::min(std::max(x, static_cast<double>(epilogue.alpha)),
                      static_cast<double>(epilogue.beta));
    case Activation::leaky_relu:
      return x < 0 ? static_cast<double>(epilogue.alpha) * x : x;
    case Activation::hardsigmoid:
      return std::min(std::max((x + 3) / 6, 0.0), 1.0);
    case Activation::hardswish:
      return x * std::min(std::max((x + 3) / 6, 0.0), 1.0);
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::silu:
      return x / (1 + std::exp(-x));
    case Activation::tanh:
      return std::tanh(x);
    case Activation::gelu_erf:
      return x / 2 * std::erfc(-x / std::sqrt(2.0));
    case Activation::gelu_tanh:
      return x / (1 + std::exp(-2 * std::sqrt(2 / pi) * (x + 0.044715 * x * x * x)));
  }
  return kNan;
}

// A layer that does nothing but its epilogue.
Layer identity(Isa isa, const Epilogue& epilogue, Algorithm algorithm = Algorithm::automatic) {
  Conv2d conv;
  conv.in_channels = conv.out_channels = 1;
  conv.kernel_size = 1;
  const float one = 1.0F;
  LayerOptions options;
  options.algorithm = algorithm;
  options.isa = isa;
  options.epilogue = epilogue;
  Layer layer;
  const Status status = Layer::create(conv, oihw(&one, 1, 1, 1, 1), nullptr, options, layer);
  REQUIRE_MESSAGE(status.ok(), text(status));
  return layer;
}

std::vector<float> applied(const Layer& layer, const std::vector<float>& x) {
  std::vector<float> y(x.size());
  const auto count = static_cast<std::int64_t>(x.size());
  const Status status = layer.run(nchw(x.data(), 1, 1, 1, count), nchw(y.data(), 1, 1, 1, count));
  REQUIRE_MESSAGE(status.ok(), text(status));
  return y;
}

template <class Function>
void for_each_level_and_epilogue(Function function) {
  for (const Isa isa : tested_isas()) {
    for (const Epilogue& epilogue : all_epilogues()) {
      CAPTURE(std::string(name(isa)));
      CAPTURE(std::string(name(epilogue.activation)));
      CAPTURE(epilogue.alpha);
      function(isa, epilogue);
    }
  }
}

bool is_exact(Activation activation) {
  return activation == Activation::none || activation == Activation::relu ||
         activation == Activation::clamp;
}

// Runs a layer beside the naive one. Sums are exact, so that nothing but the activation differs.
void check_beside_naive(const Conv2d& conv, Layout layout, const Dims<4>& shape, Isa isa,
                        Algorithm algorithm, const Epilogue& epilogue, bool with_residual) {
  CAPTURE(std::string(name(layout)));
  CAPTURE(to_string(problem_of(conv, shape[0], shape[2], shape[3])));
  const Dims<4> filter{conv.out_channels, conv.in_channels, conv.kernel_size.h, conv.kernel_size.w};
  const Tensor x(layout, {shape[0], conv.in_channels, shape[2], shape[3]}), y(layout, shape);
  const Tensor weights(Layout::nchw, filter), bias(Layout::nchw, {1, shape[1], 1, 1});
  const Tensor residual(layout, shape), expected(Layout::nchw, shape);
  std::uint64_t seed = static_cast<std::uint64_t>(shape[1] + shape[3]);
  for (const Tensor* tensor : {&x, &weights, &bias, &residual}) {
    fill_integers(tensor->view(), ++seed);
  }
  // Sums and their parts stay below 100.
  const float scale = conv.in_channels > 24 ? 0x1p-10F : 0x1p-6F;
  for_each_index(x.view().shape, [&](const Dims<4>& i) { at(x.view(), i) *= scale; });
  RunOptions run;
  if (with_residual) run.residual = residual.bounded();
  for (const bool naive : {true, false}) {
    LayerOptions options;
    options.algorithm = naive ? Algorithm::naive : algorithm;
    options.isa = isa;
    options.epilogue = epilogue;
    Layer layer;
    Plan plan;
    REQUIRE(Layer::create(conv, weights.view(), bias.view().data, options, layer).ok());
    const Tensor& out = naive ? expected : y;
    REQUIRE(layer.plan(x.view(), out.view(), plan).ok());
    const GuardedBuffer workspace(plan.workspace_bytes(), Guard::after);
    run.workspace = workspace.data();
    run.workspace_bytes = workspace.bytes();
    const Status status = layer.run(plan, x.bounded(), out.bounded(), run);
    REQUIRE_MESSAGE(status.ok(), text(status));
  }
  const auto outputs = static_cast<std::size_t>(shape[0] * shape[1] * shape[2] * shape[3]);
  const std::vector<double> bounds(outputs, (kBound + 1) * 0x1p-24 * 100);
  const Difference difference = is_exact(epilogue.activation)
                                    ? compare_exact(y.view(), expected.view())
                                    : compare_within(y.view(), expected.view(), bounds);
  CHECK_MESSAGE(difference.none(), difference.text());
  CHECK(y.gaps_are_untouched());
}

}  // namespace

TEST_SUITE("epilogue") {
  TEST_CASE("error against double, over every exponent") {
    std::vector<float> x;
    for (std::uint32_t bits = 0; bits < 0x7F800000U; bits += 9973) {
      float value = 0.0F;
      std::memcpy(&value, &bits, sizeof value);
      x.push_back(value);
      x.push_back(-value);
    }
    for (int i = -60000; i <= 60000; ++i) x.push_back(static_cast<float>(i) * 0.0017F);
    for_each_level_and_epilogue([&](Isa isa, const Epilogue& epilogue) {
      const std::vector<float> y = applied(identity(isa, epilogue), x);
      double worst = 0.0;
      float worst_x = 0.0F;
      int wrong = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double expected = reference(epilogue, static_cast<double>(x[i]));
        if (std::isinf(static_cast<float>(expected))) {
          wrong += y[i] != static_cast<float>(expected) ? 1 : 0;
          continue;
        }
        const double off = std::fabs(static_cast<double>(y[i]) - expected);
        const double unit =
            0x1p-24 * std::max(std::fabs(static_cast<double>(x[i])), std::fabs(expected));
        if (!(off <= kBound * unit + 0x1p-149)) ++wrong;
        if (is_exact(epilogue.activation) && y[i] != static_cast<float>(expected)) ++wrong;
        if (std::fabs(x[i]) > 0x1p-120F && off > worst * unit) {
          worst = off / unit;
          worst_x = x[i];
        }
      }
      CAPTURE(worst);
      CAPTURE(worst_x);
      CHECK(wrong == 0);
    });
  }

  TEST_CASE("sigmoid and tanh are within 3 units in the last place") {
    std::vector<float> x;
    for (int i = -80000; i <= 80000; ++i) x.push_back(static_cast<float>(i) * 0.001F);
    for (const Isa isa : tested_isas()) {
      for (const Activation activation : {Activation::sigmoid, Activation::tanh}) {
        CAPTURE(std::string(name(isa)));
        const Epilogue epilogue{activation, 0.0F, 0.0F, false};
        const std::vector<float> y = applied(identity(isa, epilogue), x);
        int wrong = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
          const double expected = reference(epilogue, static_cast<double>(x[i]));
          const float nearest = std::fabs(static_cast<float>(expected));
          const float unit = std::nextafter(nearest, kInfinity) - nearest;
          if (!(std::fabs(static_cast<double>(y[i]) - expected) <= 3.0 * static_cast<double>(unit)))
            ++wrong;
        }
        CHECK(wrong == 0);
      }
    }
  }

  TEST_CASE("infinities, NaN and zeros") {
    const std::vector<float> x{kInfinity, -kInfinity, kNan, 0.0F, -0.0F};
    for_each_level_and_epilogue([&](Isa isa, const Epilogue& epilogue) {
      for (const Algorithm algorithm : {Algorithm::naive, Algorithm::automatic}) {
        // Every position of a vector, its tail too.
        for (std::size_t copies = 1; copies < 8; ++copies) {
          std::vector<float> many;
          for (std::size_t i = 0; i < copies; ++i) many.insert(many.end(), x.begin(), x.end());
          const std::vector<float> y = applied(identity(isa, epilogue, algorithm), many);
          for (std::size_t i = 0; i < many.size(); ++i) {
            const Activation activation = epilogue.activation;
            const bool times_zero =
                activation == Activation::hardswish || activation == Activation::silu ||
                activation == Activation::gelu_erf || activation == Activation::gelu_tanh;
            CAPTURE(many[i]);
            if (std::isnan(many[i]) || (many[i] == -kInfinity && times_zero)) {
              CHECK(std::isnan(y[i]));
            } else if (activation == Activation::leaky_relu && epilogue.alpha == 0.0F &&
                       many[i] == -kInfinity) {
              CHECK(std::isnan(y[i]));
            } else {
              CHECK(y[i] == static_cast<float>(reference(epilogue, static_cast<double>(many[i]))));
            }
          }
        }
      }
    });
  }

  TEST_CASE("activations x layouts x tails, bias and residual before and after") {
    const std::int64_t shapes[][4] = {{3, 19, 7, 9}, {4, 33, 1, 5}, {2, 2, 5, 17}};
    for_each_level_and_epilogue([&](Isa isa, const Epilogue& given) {
      int turn = 0;
      for (int l = 0; name(static_cast<Layout>(l)) != nullptr; ++l) {
        const auto layout = static_cast<Layout>(l);
        if (!can_be_written(layout)) continue;
        const auto [c, k, h, w] = shapes[turn % 3];
        Epilogue epilogue = given;
        epilogue.residual_last = turn % 2 == 1;
        const bool with_residual = turn++ % 3 != 0;
        Conv2d conv;
        conv.in_channels = c;
        conv.out_channels = k;
        conv.kernel_size = {h > 1 ? 3 : 1, 2};
        conv.padding = {h > 1 ? 1 : 0, 1, 1, 0};
        if (h == 1) conv.padding = {0, 0, 1, 0};
        check_beside_naive(conv, layout, {2, k, h, w}, isa, Algorithm::automatic, epilogue,
                           with_residual);
      }
    });
  }

  // As many rows as low tiles of one vector have, and lanes as a half of one; of two k-blocks, too.
  TEST_CASE("activations x rows x few lanes, residual before and after") {
    for_each_level_and_epilogue([&](Isa isa, const Epilogue& given) {
      for (std::int64_t pixels = 6; pixels <= 15; ++pixels) {
        for (int residual = 0; residual < 3; ++residual) {
          Epilogue epilogue = given;
          epilogue.residual_last = residual == 2;
          Conv2d conv;
          conv.in_channels = (pixels + residual) % 2 == 0 ? 3 : 1100;
          conv.out_channels = 1 + (pixels + residual) % 9;
          conv.kernel_size = 1;
          check_beside_naive(conv, Layout::nhwc, {1, conv.out_channels, 1, pixels}, isa,
                             Algorithm::gemm, epilogue, residual > 0);
        }
      }
    });
  }

  TEST_CASE("an epilogue that cannot be is refused") {
    Conv2d conv;
    conv.in_channels = conv.out_channels = conv.kernel_size.h = conv.kernel_size.w = 1;
    const float one = 1.0F;
    const Epilogue wrong[] = {{static_cast<Activation>(99), 0.0F, 0.0F, false},
                              {Activation::clamp, 0.0F, 0.0F, false},  // its bounds forgotten
                              {Activation::clamp, 1.0F, 0.0F, false},
                              {Activation::clamp, kNan, 0.0F, false},
                              {Activation::clamp, 0.0F, kNan, false}};
    for (const Epilogue& epilogue : wrong) {
      LayerOptions options;
      options.epilogue = epilogue;
      Layer layer;
      const Status status = Layer::create(conv, oihw(&one, 1, 1, 1, 1), nullptr, options, layer);
      CHECK(status.code() == StatusCode::invalid_argument);
      CHECK(std::string(status.message()).find("activation") != std::string::npos);
    }
  }

  TEST_CASE("the naming table reads back") {
    for (const Epilogue& epilogue : all_epilogues()) {
      Activation read{};
      REQUIRE(parse_activation(name(epilogue.activation), read).ok());
      CHECK(read == epilogue.activation);
    }
    Activation untouched = Activation::silu;
    CHECK(parse_activation("swish", untouched).code() == StatusCode::invalid_argument);
    CHECK(parse_activation(nullptr, untouched).code() == StatusCode::invalid_argument);
    CHECK(untouched == Activation::silu);
  }
}

}  // namespace fastconv::testing
