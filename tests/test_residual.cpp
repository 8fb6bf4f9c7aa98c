// SPDX-License-Identifier: Apache-2.0
// The residual: any view, the destination itself, and what is refused.
#include <doctest/doctest.h>

#include <cmath>
#include <fastconv/fastconv.hpp>
#include <string>
#include <vector>

#include "check.hpp"
#include "compare.hpp"

namespace fastconv::testing {
namespace {

constexpr std::int64_t kIn = 5, kOut = 37;

// A problem with exact sums, for every algorithm and tested level: depthwise on tiny images, or
// dense.
struct Case {
  Case(const LayerOptions& options, Layout layout)
      : depthwise(options.algorithm == Algorithm::depthwise),
        shape(depthwise ? Dims<4>{3, kOut, 3, 2} : Dims<4>{2, kOut, 6, 11}),
        x(layout, {shape[0], depthwise ? kOut : kIn, shape[2], shape[3]}) {
    conv.in_channels = x.view().shape[1];
    conv.out_channels = kOut;
    conv.kernel_size = 3;
    conv.padding = 1;
    conv.groups = depthwise ? kOut : 1;
    const Tensor weights(Layout::nchw, {kOut, depthwise ? 1 : kIn, 3, 3});
    fill_integers(x.view(), 1);
    fill_integers(weights.view(), 2);
    const Status status = Layer::create(conv, weights.view(), nullptr, options, layer);
    REQUIRE_MESSAGE(status.ok(), text(status));
    const Tensor sums(Layout::nchw, shape);
    LayerOptions plain;
    plain.algorithm = Algorithm::naive;
    REQUIRE(conv2d(x.view(), weights.view(), nullptr, sums.view(), 1, 1, 1, conv.groups,
                   PaddingMode::zeros, plain)
                .ok());
    for_each_index(shape, [&](const Dims<4>& i) { sum.push_back(at(sums.view(), i)); });
  }

  Status run(const TensorView& y, const ConstTensorView& residual) const {
    Plan plan;
    Status status = layer.plan(x.view(), y, plan);
    if (!status.ok()) return status;
    std::vector<char> workspace(static_cast<std::size_t>(plan.workspace_bytes()));
    RunOptions options;
    options.workspace = workspace.data();
    options.workspace_bytes = plan.workspace_bytes();
    options.residual = residual;
    return layer.run(plan, x.view(), y, options);
  }

  // relu(sum + residual), or relu(sum) + residual.
  Tensor expected(const ConstTensorView& residual, bool last) const {
    Tensor result(Layout::nchw, shape);
    std::size_t position = 0;
    for_each_index(shape, [&](const Dims<4>& i) {
      const float s = sum[position++];
      const float r = at(residual, i);
      at(result.view(), i) = last ? std::fmax(s, 0.0F) + r : std::fmax(s + r, 0.0F);
    });
    return result;
  }

  bool depthwise;
  Dims<4> shape;
  Conv2d conv;
  Tensor x;
  Layer layer;
  std::vector<float> sum;
};

template <class Function>
void for_each_engine(Function function) {
  for (const Isa isa : tested_isas()) {
    std::vector<Algorithm> algorithms = general_algorithms();
    algorithms.push_back(Algorithm::winograd_f2);  // exact for integers too
    algorithms.push_back(Algorithm::depthwise);
    for (const Algorithm algorithm : algorithms) {
      if (!depends_on_isa(algorithm) && isa != Isa::generic) continue;
      for (const bool last : {false, true}) {
        LayerOptions options;
        options.algorithm = algorithm;
        options.isa = isa;
        options.epilogue.activation = Activation::relu;
        options.epilogue.residual_last = last;
        CAPTURE(std::string(name(algorithm)));
        CAPTURE(std::string(name(isa)));
        CAPTURE(last);
        for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
          function(Case(options, layout), layout, last);
        }
      }
    }
  }
}

}  // namespace

TEST_SUITE("residual") {
  TEST_CASE("a view of any strides") {
    for_each_engine([](const Case& c, Layout layout, bool last) {
      for (int l = 0; name(static_cast<Layout>(l)) != nullptr; ++l) {
        CAPTURE(std::string(name(static_cast<Layout>(l))));
        for (const Guard guard : {Guard::before, Guard::after}) {
          const Tensor residual(c.shape, strides_of(static_cast<Layout>(l), c.shape), guard);
          const Tensor y(layout, c.shape, guard);
          fill_integers(residual.view(), 7);
          const Status status = c.run(y.bounded(), residual.bounded());
          REQUIRE_MESSAGE(status.ok(), text(status));
          const Difference difference =
              compare_exact(y.view(), c.expected(residual.view(), last).view());
          CHECK_MESSAGE(difference.none(), difference.text());
        }
      }
    });
  }

  TEST_CASE("broadcast along every set of axes") {
    for_each_engine([](const Case& c, Layout layout, bool last) {
      for (std::size_t mask = 0; mask < 16; ++mask) {
        Dims<4> shape = c.shape;
        for (std::size_t axis = 0; axis < 4; ++axis) {
          if ((mask >> axis & 1) != 0) shape[axis] = 1;
        }
        const Tensor small(layout, shape);
        fill_integers(small.view(), 9);
        ConstTensorView residual = small.view();
        for (std::size_t axis = 0; axis < 4; ++axis) {
          if ((mask >> axis & 1) != 0) residual = residual.broadcast(axis, c.shape[axis]);
        }
        const Tensor y(layout, c.shape);
        const Status status = c.run(y.view(), residual);
        REQUIRE_MESSAGE(status.ok(), text(status));
        CHECK(compare_exact(y.view(), c.expected(residual, last).view()).none());
      }
    });
  }

  TEST_CASE("the destination itself, in every layout: y += convolution") {
    for_each_engine([](const Case& c, Layout, bool last) {
      for (int l = 0; name(static_cast<Layout>(l)) != nullptr; ++l) {
        const auto layout = static_cast<Layout>(l);
        if (!can_be_written(layout)) continue;
        CAPTURE(std::string(name(layout)));
        const Tensor y(layout, c.shape);
        fill_integers(y.view(), 11);
        const Tensor expected = c.expected(y.view(), last);
        const Status status = c.run(y.view(), y.view());
        REQUIRE_MESSAGE(status.ok(), text(status));
        CHECK(compare_exact(y.view(), expected.view()).none());
        CHECK(y.gaps_are_untouched());
      }
    });
  }

  TEST_CASE("a slice of the tensor that y is another slice of") {
    for_each_engine([](const Case& c, Layout layout, bool last) {
      const Tensor wide(layout, {c.shape[0], 2 * kOut, c.shape[2], c.shape[3]});
      fill_integers(wide.view(), 13);
      const TensorView y = wide.view().slice(1, kOut, kOut);
      const ConstTensorView residual = wide.view().slice(1, 0, kOut);
      const Tensor expected = c.expected(residual, last);
      const Status status = c.run(y, residual);
      REQUIRE_MESSAGE(status.ok(), text(status));
      CHECK(compare_exact(y, expected.view()).none());
    });
  }

  TEST_CASE("other overlap with y is refused and y untouched") {
    for_each_engine([](const Case& c, Layout layout, bool) {
      const Tensor wide(layout, {c.shape[0], kOut + 1, c.shape[2], c.shape[3] + 1});
      fill_integers(wide.view(), 17);
      const Tensor before(layout, wide.view().shape);
      copy(wide.view(), before.view());
      const TensorView y = wide.view().slice(1, 0, kOut).slice(3, 0, c.shape[3]);
      const ConstTensorView wrong[] = {
          wide.view().slice(1, 1, kOut).slice(3, 0, c.shape[3]),
          wide.view().slice(1, 0, kOut).slice(3, 1, c.shape[3]),
          y.flip(3),
          y.flip(1),
          y.slice(0, 0, 1).broadcast(0, c.shape[0]),
          y.slice(2, 1, 1).broadcast(2, c.shape[2]),
      };
      for (const ConstTensorView& residual : wrong) {
        const Status status = c.run(y, residual);
        CHECK(status.code() == StatusCode::overlap);
        CHECK(std::string(status.message()).find("residual") != std::string::npos);
        CHECK(compare_bits(wide.view(), before.view()).none());
      }
    });
  }

  TEST_CASE("another shape, a null or stray residual") {
    for_each_engine([](const Case& c, Layout layout, bool) {
      const Tensor y(layout, c.shape), residual(layout, c.shape);
      ConstTensorView wrong = residual.view();
      wrong.shape[3] = c.shape[3] - 1;
      CHECK(c.run(y.view(), wrong).code() == StatusCode::shape_mismatch);
      wrong = residual.view();
      wrong.shape[1] = -1;
      CHECK(c.run(y.view(), wrong).code() == StatusCode::shape_mismatch);
      wrong = residual.view().within(residual.view().data, 10);
      CHECK(c.run(y.view(), wrong).code() == StatusCode::out_of_bounds);
      wrong = residual.view();
      wrong.strides[0] = std::int64_t{1} << 61;
      CHECK(c.run(y.view(), wrong).code() == StatusCode::overflow);
      CHECK(y.is_untouched());
      // Of no shape and no data is no residual.
      wrong = residual.view();
      wrong.data = nullptr;
      CHECK(c.run(y.view(), wrong).code() == StatusCode::invalid_argument);
      CHECK(y.is_untouched());
      CHECK(c.run(y.view(), {}).ok());
    });
  }
}

}  // namespace fastconv::testing
