// SPDX-License-Identifier: Apache-2.0
// Implicit GEMM is one chain of multiply-adds for every output, in ascending depth (r, s, c): the
// same bits in every layout, cut into whatever blocks, at whatever level that rounds alike.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "check.hpp"
#include "compare.hpp"

namespace fastconv::testing {
namespace {

// Of the levels, those whose multiply-add rounds once.
bool is_fused(Isa isa) noexcept {
  return isa == Isa::avx2 || isa == Isa::avx512 || isa == Isa::neon;
}

struct Case {
  const char* descriptor;
  PaddingMode mode = PaddingMode::zeros;
};

// More depth than a k-block holds, channels and pixels beside the tiles' multiples, every way in
// which pixels reach the micro-kernel.
constexpr Case kCases[] = {
    {"mb2ic37ih9oc45kh3ph1"},
    {"mb1ic300ih7oc33kh3ph1"},
    {"mb3ic600ih5oc70kh1ph0"},
    {"mb2ic70ih11oc40kh3sh2ph1"},
    {"mb2ic3ih23oc18kh7sh2ph3"},
    {"mb2g3ic96ih8oc51kh3ph2dh1"},
    {"mb1ic64ih6oc64kh3ph0"},
    {"mb1ic40iw50oc20kw9pw4"},
    {"mb5ic20iw50oc40kw9pw4"},
    {"mb3ic20ih50iw1oc40kh5kw1ph2pw0"},
    {"mb45ic70ih1iw1oc40kh1kw1ph0pw0"},
    {"mb1ic50ih8oc17kh3ph2", PaddingMode::reflect},
    {"mb2ic33ih6oc9kh5ph2", PaddingMode::circular},
};

Problem parsed(const Case& c) {
  Problem problem;
  ParseError error;
  REQUIRE_MESSAGE(parse_problem(c.descriptor, problem, error), error.reason);
  problem.conv.padding_mode = c.mode;
  return problem;
}

struct Operands {
  explicit Operands(const Problem& p)
      : x(Layout::nchw, {p.mb, p.conv.in_channels, p.ih, p.iw}),
        weights(Layout::nchw, {p.conv.out_channels, p.conv.in_channels / p.conv.groups,
                               p.conv.kernel_size.h, p.conv.kernel_size.w}),
        bias(Layout::nchw, {1, p.conv.out_channels, 1, 1}) {
    fill_floats(x.view(), 1);
    fill_floats(weights.view(), 2);
    fill_floats(bias.view(), 3);
  }
  Tensor x, weights, bias;
};

// The chain spelled out.
Tensor chain(const Problem& p, const Operands& operands, bool fused) {
  const Tensor padded = padded_copy(operands.x.view(), p.conv.padding, p.conv.padding_mode);
  const TensorView& weights = operands.weights.view();
  const std::int64_t channels = weights.shape[1];
  Tensor y(Layout::nchw, {p.mb, p.conv.out_channels, p.oh, p.ow});
  for_each_index(y.view().shape, [&](const Dims<4>& i) {
    const std::int64_t first = i[1] / (p.conv.out_channels / p.conv.groups) * channels;
    float sum = 0.0F;
    for_each_index({weights.shape[2], weights.shape[3], channels, 1}, [&](const Dims<4>& tap) {
      const auto [r, s, c, none] = tap;
      const float a =
          at(padded.view(), {i[0], first + c, i[2] * p.conv.stride.h + r * p.conv.dilation.h,
                             i[3] * p.conv.stride.w + s * p.conv.dilation.w});
      const float b = at(weights, {i[1], c, r, s});
      if (fused) {
        sum = std::fma(a, b, sum);
      } else {
        const float product = a * b;
        sum = product + sum;
      }
    });
    at(y.view(), i) = sum + operands.bias.view().data[i[1]];
  });
  return y;
}

LayerOptions gemm_at(Isa isa) {
  LayerOptions options;
  options.algorithm = Algorithm::gemm;
  options.isa = isa;
  return options;
}

Layer layer_of(const Problem& p, const Operands& operands, Isa isa) {
  Layer layer;
  const Status status = Layer::create(p.conv, operands.weights.view(), operands.bias.view().data,
                                      gemm_at(isa), layer);
  REQUIRE_MESSAGE(status.ok(), text(status));
  return layer;
}

// Calls function(layer, x, y) for every case, tested level and plain layout, y computed.
template <class Function>
void for_each_result(Function function) {
  for (const Case& c : kCases) {
    const Problem p = parsed(c);
    CAPTURE(std::string(c.descriptor));
    const Operands operands(p);
    for (const Isa isa : tested_isas()) {
      CAPTURE(std::string(name(isa)));
      const Layer layer = layer_of(p, operands, isa);
      for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
        const Tensor x(layout, operands.x.view().shape);
        copy(operands.x.view(), x.view());
        const Tensor y(layout, {p.mb, p.conv.out_channels, p.oh, p.ow});
        REQUIRE(layer.run(x.view(), y.view()).ok());
        function(layer, x, y);
      }
    }
  }
}

}  // namespace

TEST_SUITE("bits") {
  TEST_CASE("every layout has the bits of one chain of multiply-adds") {
    for (const Case& c : kCases) {
      const Problem p = parsed(c);
      CAPTURE(std::string(c.descriptor));
      const Operands operands(p);
      for (const bool fused : {false, true}) {
        std::vector<Isa> levels;
        for (const Isa isa : tested_isas()) {
          if (is_fused(isa) == fused) levels.push_back(isa);
        }
        if (levels.empty()) continue;
        const Tensor expected = chain(p, operands, fused);
        for (const Isa isa : levels) {
          CAPTURE(std::string(name(isa)));
          const Layer layer = layer_of(p, operands, isa);
          for (int i = 0; name(static_cast<Layout>(i)) != nullptr; ++i) {
            const auto layout = static_cast<Layout>(i);
            if (!can_be_written(layout)) continue;
            CAPTURE(std::string(name(layout)));
            const Tensor x(layout, operands.x.view().shape);
            copy(operands.x.view(), x.view());
            for (const Layout to : {layout, Layout::nchw, Layout::nhwc}) {
              CAPTURE(std::string(name(to)));
              const Tensor y(to, expected.view().shape);
              const Status status = layer.run(x.view(), y.view());
              REQUIRE_MESSAGE(status.ok(), text(status));
              const Difference difference = compare_bits(y.view(), expected.view());
              CHECK_MESSAGE(difference.none(), difference.text());
            }
          }
        }
      }
    }
  }

  TEST_CASE("an image alone has the bits it has in a batch") {
    for_each_result([](const Layer& layer, const Tensor& x, const Tensor& together) {
      const Dims<4>& shape = together.view().shape;
      for (std::int64_t n = 0; n < shape[0]; ++n) {
        const Tensor alone({1, shape[1], shape[2], shape[3]}, together.view().strides);
        REQUIRE(layer.run(x.view().slice(0, n, 1), alone.view()).ok());
        CHECK(compare_bits(alone.view(), together.view().slice(0, n, 1)).none());
      }
    });
  }

  TEST_CASE("a part of the output has the bits it has in the whole") {
    // Smaller images and fewer channels are cut into other blocks and tiles.
    const Problem p = parsed({"mb1ic70ih20oc90kh3ph0"});
    const Operands operands(p);
    for (const Isa isa : tested_isas()) {
      CAPTURE(std::string(name(isa)));
      for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
        const Tensor x(layout, operands.x.view().shape);
        copy(operands.x.view(), x.view());
        const Tensor whole(layout, {1, 90, 18, 18});
        const Layer layer = layer_of(p, operands, isa);
        REQUIRE(layer.run(x.view(), whole.view()).ok());
        for (const std::int64_t size : {1, 2, 5, 13, 17}) {
          const Tensor part(layout, {1, 90, size, size});
          REQUIRE(
              layer.run(x.view().slice(2, 1, size + 2).slice(3, 1, size + 2), part.view()).ok());
          CHECK(compare_bits(part.view(), whole.view().slice(2, 1, size).slice(3, 1, size)).none());
        }
        for (const std::int64_t channels : {1, 3, 17, 64}) {
          Conv2d conv = p.conv;
          conv.out_channels = channels;
          Layer narrow;
          REQUIRE(Layer::create(conv, operands.weights.view().slice(0, 5, channels),
                                operands.bias.view().data + 5, gemm_at(isa), narrow)
                      .ok());
          const Tensor part(layout, {1, channels, 18, 18});
          REQUIRE(narrow.run(x.view(), part.view()).ok());
          CHECK(compare_bits(part.view(), whole.view().slice(1, 5, channels)).none());
        }
      }
    }
  }

  TEST_CASE("planned for many threads, run in any order, the bits are the same") {
    for_each_result([](const Layer& layer, const Tensor& x, const Tensor& expected) {
      for (const int threads : {2, 3, 16, 1000}) {
        CAPTURE(threads);
        const Tensor y(expected.view().shape, expected.view().strides);
        Plan plan;
        REQUIRE(layer.plan(x.view(), y.view(), plan, threads).ok());
        CHECK(plan.slots() <= threads);
        std::vector<char> workspace(static_cast<std::size_t>(plan.workspace_bytes()));
        RunOptions options;
        options.workspace = workspace.data();
        options.workspace_bytes = plan.workspace_bytes();
        // Backwards, each in another slot than the one before.
        options.parallel_for.run = [](void*, std::int64_t tasks, int slots, ParallelFor::Body body,
                                      void* data) {
          for (std::int64_t task = tasks; task-- > 0;) {
            body(data, task, static_cast<int>(task % slots));
          }
        };
        const Status status = layer.run(plan, x.view(), y.view(), options);
        REQUIRE_MESSAGE(status.ok(), text(status));
        CHECK(compare_bits(y.view(), expected.view()).none());
      }
    });
  }
}

}  // namespace fastconv::testing
