// SPDX-License-Identifier: Apache-2.0
// Winograd: the same bits from every batch, thread and place of its weights, its error and special
// values.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fastconv/thread_pool.hpp>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "compare.hpp"
#include "winograd.hpp"

namespace fastconv::testing {
namespace {

template <class Function>
void for_each_variant(Function function) {
  for (const Isa isa : tested_isas()) {
    for (const Algorithm algorithm : kWinograd) {
      for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
        CAPTURE(std::string(name(isa)));
        CAPTURE(std::string(name(algorithm)));
        CAPTURE(std::string(name(layout)));
        LayerOptions options;
        options.algorithm = algorithm;
        options.isa = isa;
        function(options, layout);
      }
    }
  }
}

// Every image alone: the same algorithm, however many threads it is planned for, and the same bits.
void check_images_alone(const Layer& layer, const Tensor& x, const Tensor& together,
                        Algorithm algorithm) {
  const Dims<4>& shape = together.view().shape;
  for (std::int64_t n = 0; n < shape[0]; ++n) {
    const Tensor alone({1, shape[1], shape[2], shape[3]}, together.view().strides);
    const ConstTensorView image = x.view().slice(0, n, 1);
    Plan plan;
    REQUIRE(layer.plan(image, alone.view(), plan, 1 + static_cast<int>(n)).ok());
    CHECK(plan.algorithm() == algorithm);
    REQUIRE(layer.run(image, alone.view()).ok());
    CHECK(compare_bits(alone.view(), together.view().slice(0, n, 1)).none());
  }
}

double squared_error(const Tensor& y, const Tensor& expected) {
  double sum = 0;
  for_each_index(y.view().shape, [&](const Dims<4>& i) {
    const double error =
        static_cast<double>(at(y.view(), i)) - static_cast<double>(at(expected.view(), i));
    sum += error * error;
  });
  return sum;
}

void run_on_threads(const Layer& layer, const Plan& plan, const Tensor& x, const TensorView& y,
                    int threads) {
  const GuardedBuffer workspace(plan.workspace_bytes(), Guard::after);
  ThreadPool pool(threads);
  RunOptions run;
  run.workspace = workspace.data();
  run.workspace_bytes = workspace.bytes();
  run.parallel_for = pool.parallel_for();
  REQUIRE(layer.run(plan, x.view(), y, run).ok());
}

}  // namespace

TEST_SUITE("winograd") {
  // Of 300 x 225 channels a layer does not own transformed weights; of some of its outputs, but for
  // F(2 x 2), it does.
  TEST_CASE("the bits do not depend on who transforms the weights") {
    constexpr std::int64_t c = 300, k = 225, some = 97, part = 30;
    static_assert(c * k * 36 > kMostTransformed && c * part * 64 <= kMostTransformed);
    for_each_variant([](const LayerOptions& options, Layout layout) {
      const Tensor x(layout, {2, c, 11, 18}), weights(Layout::nchw, {k, c, 3, 3});
      const Tensor y(layout, {2, k, 11, 18}), expected(layout, {2, part, 11, 18});
      fill_floats(x.view(), 1);
      fill_floats(weights.view(), 2);
      const auto planned = [&](const ConstTensorView& w, const TensorView& out, int threads) {
        Layer layer;
        REQUIRE(Layer::create(conv_of(c, w.shape[0]), w, nullptr, options, layer).ok());
        Plan plan;
        REQUIRE(layer.plan(x.view(), out, plan, threads).ok());
        run_on_threads(layer, plan, x, out, threads);
        return std::string(plan.explain().text);
      };
      const auto has = [](const std::string& text, const char* words) {
        return text.find(words) != std::string::npos;
      };
      const bool owned = has(planned(weights.view().slice(0, some, part), expected.view(), 1),
                             "transformed by the layer");
      CHECK(owned == (options.algorithm != Algorithm::winograd_f2));
      for (const int threads : {1, 2, 5}) {
        CHECK(has(planned(weights.view(), y.view(), threads), "transformed by every block"));
        CHECK(compare_bits(y.view().slice(1, some, part), expected.view()).none());
      }
    });
  }

  TEST_CASE("the bits depend on neither batch, threads nor alignment") {
    for_each_variant([](const LayerOptions& options, Layout layout) {
      const Tensor x(layout, {3, 20, 17, 22}), weights(Layout::nchw, {70, 20, 3, 3});
      const Tensor together(layout, {3, 70, 17, 22});
      fill_floats(x.view(), 1);
      fill_floats(weights.view(), 2);
      Layer layer;
      REQUIRE(Layer::create(conv_of(20, 70), weights.view(), nullptr, options, layer).ok());
      REQUIRE(layer.run(x.view(), together.view()).ok());
      check_images_alone(layer, x, together, options.algorithm);
      for (const int threads : {2, 3, 8}) {
        const Tensor shared(layout, {3, 70, 17, 22});
        Plan plan;
        REQUIRE(layer.plan(x.view(), shared.view(), plan, threads).ok());
        CHECK(plan.slots() > 1);
        run_on_threads(layer, plan, x, shared.view(), threads);
        CHECK(compare_bits(shared.view(), together.view()).none());
      }
      std::vector<float> source(3 * 20 * 17 * 22 + 16), destination(3 * 70 * 17 * 22 + 16);
      TensorView moved_x = x.view(), moved_y = together.view();
      moved_x.data = source.data() + 3;
      moved_y.data = destination.data() + 5;
      copy(x.view(), moved_x);
      REQUIRE(layer.run(moved_x, moved_y).ok());
      CHECK(compare_bits(moved_y, together.view()).none());
    });
  }

  TEST_CASE("strides that divide dilations leave out rows and columns of the image") {
    for_each_variant([](const LayerOptions& options, Layout layout) {
      for (const std::int64_t padding : {0, 2, 3}) {
        Conv2d conv = conv_of(20, 24, 3, padding);
        conv.stride = {2, 3};
        conv.dilation = {4, 3};
        const Problem problem = problem_of(conv, 2, 17, 22);
        const Tensor x(layout, {2, 20, 17, 22}), weights(Layout::nchw, {24, 20, 3, 3});
        const Dims<4> shape{2, 24, problem.oh, problem.ow};
        const Tensor y(layout, shape), expected(layout, shape);
        fill_floats(x.view(), 1);
        fill_floats(weights.view(), 2);
        const auto run = [&](const Conv2d& c, const ConstTensorView& from, const Tensor& to) {
          Layer layer;
          REQUIRE(Layer::create(c, weights.view(), nullptr, options, layer).ok());
          REQUIRE(layer.run(from, to.view()).ok());
        };
        run(conv, x.view(), y);
        Conv2d dense = conv;
        dense.stride = 1;
        dense.dilation = {2, 1};
        ConstTensorView visited = x.view();
        const auto leave_out = [&](std::size_t axis, std::int64_t step, std::int64_t reach,
                                   std::int64_t& before, std::int64_t& after) {
          const std::int64_t first = (step - padding % step) % step;
          visited.data += first * visited.strides[axis];
          visited.strides[axis] *= step;
          visited.shape[axis] = (visited.shape[axis] - first + step - 1) / step;
          before = (padding + first) / step;
          after = std::max<std::int64_t>(0, shape[axis] + reach - visited.shape[axis] - before);
        };
        leave_out(2, 2, 4, dense.padding.top, dense.padding.bottom);
        leave_out(3, 3, 2, dense.padding.left, dense.padding.right);
        run(dense, visited, expected);
        CHECK(compare_bits(y.view(), expected.view()).none());
      }
    });
  }

  // Threads cut a batch into blocks of tiles, of which each group has its own.
  TEST_CASE("groups have the bits that they have alone") {
    constexpr std::int64_t groups = 3, of_group = 10;
    for_each_variant([](const LayerOptions& options, Layout layout) {
      constexpr std::int64_t channels = groups * of_group;
      const Tensor x(layout, {3, channels, 17, 22}), y(layout, {3, channels, 17, 22});
      const Tensor weights(Layout::nchw, {channels, of_group, 3, 3});
      const Tensor alone(layout, {3, of_group, 17, 22});
      fill_floats(x.view(), 1);
      fill_floats(weights.view(), 2);
      Conv2d conv = conv_of(channels, channels);
      conv.groups = groups;
      Layer layer;
      REQUIRE(Layer::create(conv, weights.view(), nullptr, options, layer).ok());
      for (const int threads : {1, 5}) {
        Plan plan;
        REQUIRE(layer.plan(x.view(), y.view(), plan, threads).ok());
        run_on_threads(layer, plan, x, y.view(), threads);
        for (std::int64_t first = 0; first < channels; first += of_group) {
          Layer group;
          REQUIRE(Layer::create(conv_of(of_group, of_group),
                                weights.view().slice(0, first, of_group), nullptr, options, group)
                      .ok());
          REQUIRE(group.run(x.view().slice(1, first, of_group), alone.view()).ok());
          CHECK(compare_bits(y.view().slice(1, first, of_group), alone.view()).none());
        }
      }
    });
  }

  TEST_CASE("the bits of other kernels depend on neither batch nor threads") {
    for (const Isa isa : tested_isas()) {
      for (const Pair& kernel : kWinogradKernels) {
        for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
          LayerOptions options;
          options.isa = isa;
          options.algorithm = only_algorithm(kernel);
          const Tensor x(layout, {3, 40, 11, 22});
          const Tensor weights(Layout::nchw, {70, 40, kernel.h, kernel.w});
          const Tensor together(layout, {3, 70, 11, 22}), shared(layout, {3, 70, 11, 22});
          fill_floats(x.view(), 1);
          fill_floats(weights.view(), 2);
          const Padding same{kernel.h / 2, kernel.w / 2};
          Layer layer;
          REQUIRE(
              Layer::create(conv_of(40, 70, kernel, same), weights.view(), nullptr, options, layer)
                  .ok());
          REQUIRE(layer.run(x.view(), together.view()).ok());
          check_images_alone(layer, x, together, options.algorithm);
          Plan plan;
          REQUIRE(layer.plan(x.view(), shared.view(), plan, 3).ok());
          run_on_threads(layer, plan, x, shared.view(), 3);
          CHECK(compare_bits(shared.view(), together.view()).none());
        }
      }
    }
  }

  TEST_CASE("auto takes it for an image as for a batch, with the same bits") {
    for (const Isa isa : tested_isas()) {
      for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
        LayerOptions options;
        options.isa = isa;
        const Tensor x(layout, {5, 40, 10, 11}), weights(Layout::nchw, {70, 40, 3, 3});
        const Tensor together(layout, {5, 70, 10, 11});
        fill_floats(x.view(), 1);
        fill_floats(weights.view(), 2);
        Layer layer;
        REQUIRE(Layer::create(conv_of(40, 70), weights.view(), nullptr, options, layer).ok());
        REQUIRE(layer.run(x.view(), together.view()).ok());
        check_images_alone(layer, x, together, Algorithm::winograd_f4);
      }
    }
  }

  TEST_CASE("auto takes it for one row as for a batch of them, which runs as one image") {
    for (const Isa isa : tested_isas()) {
      for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
        for (const Pair& kernel : {Pair{1, 3}, Pair{1, 5}, Pair{3, 1}, Pair{5, 1}}) {
          for (const std::int64_t size : {4, 12, 20}) {
            for (const std::int64_t out : {16, 256}) {
              LayerOptions options;
              options.isa = isa;
              const std::int64_t h = kernel.h > 1 ? size : 1, w = kernel.w > 1 ? size : 1;
              const Tensor x(layout, {8, 16, h, w}), together(layout, {8, out, h, w});
              const Tensor weights(Layout::nchw, {out, 16, kernel.h, kernel.w});
              fill_floats(x.view(), 1);
              fill_floats(weights.view(), 2);
              const Padding same{kernel.h / 2, kernel.w / 2};
              Layer layer;
              REQUIRE(Layer::create(conv_of(16, out, kernel, same), weights.view(), nullptr,
                                    options, layer)
                          .ok());
              REQUIRE(layer.run(x.view(), together.view()).ok());
              const Tensor alone({1, out, h, w}, together.view().strides);
              REQUIRE(layer.run(x.view().slice(0, 7, 1), alone.view()).ok());
              CHECK(compare_bits(alone.view(), together.view().slice(0, 7, 1)).none());
            }
          }
        }
      }
    }
  }

  TEST_CASE("an infinite weight stays in its channel") {
    for_each_variant([](const LayerOptions& options, Layout layout) {
      const Tensor x(layout, {1, 17, 9, 9}), weights(Layout::nchw, {20, 17, 3, 3});
      const Tensor y(layout, {1, 20, 9, 9});
      fill_floats(x.view(), 1);
      fill_floats(weights.view(), 2);
      at(weights.view(), {7, 3, 1, 2}) = std::numeric_limits<float>::infinity();
      REQUIRE(conv2d(x.view(), weights.view(), nullptr, y.view(), 1, 1, 1, 1, PaddingMode::zeros,
                     options)
                  .ok());
      int wrong = 0;
      for_each_index(y.view().shape, [&](const Dims<4>& i) {
        if (i[1] != 7 && !std::isfinite(at(y.view(), i))) ++wrong;
      });
      CHECK(wrong == 0);
    });
  }

  TEST_CASE("a special value stays in the tiles that read it") {
    for_each_variant([](const LayerOptions& options, Layout layout) {
      const int m = winograd_size(options.algorithm);
      // Whole vectors of channels and some more: read in place and copied.
      const Tensor x(layout, {2, 21, 19, 23}), weights(Layout::nchw, {20, 21, 3, 3});
      const Tensor plain(layout, {2, 20, 19, 23}), y(layout, {2, 20, 19, 23});
      fill_floats(x.view(), 1);
      fill_floats(weights.view(), 2);
      Layer layer;
      REQUIRE(Layer::create(conv_of(21, 20), weights.view(), nullptr, options, layer).ok());
      REQUIRE(layer.run(x.view(), plain.view()).ok());
      for (const float special : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
        at(x.view(), {1, 2, 9, 12}) = special;
        REQUIRE(layer.run(x.view(), y.view()).ok());
        int wrong = 0;
        for_each_index(y.view().shape, [&](const Dims<4>& i) {
          // The tile's inputs, with a padding of 1.
          const std::int64_t top = i[2] / m * m - 1, left = i[3] / m * m - 1;
          const bool reads =
              i[0] == 1 && top <= 9 && 9 < top + m + 2 && left <= 12 && 12 < left + m + 2;
          const bool window = i[0] == 1 && std::abs(i[2] - 9) <= 1 && std::abs(i[3] - 12) <= 1;
          const float got = at(y.view(), i);
          if (window ? std::isfinite(got) : !reads && got != at(plain.view(), i)) ++wrong;
        });
        CHECK(wrong == 0);
      }
    });
  }

  TEST_CASE("rounding errors of the order of a plain summation's") {
    for (const Pair& kernel : kWinogradKernels) {
      for (const bool positive : {false, true}) {
        CAPTURE(kernel.h);
        CAPTURE(kernel.w);
        CAPTURE(positive);
        const Padding same{kernel.h / 2, kernel.w / 2};
        const Tensor x(Layout::nhwc, {1, 96, 13, 13});
        const Tensor weights(Layout::nchw, {24, 96, kernel.h, kernel.w});
        const Tensor expected(Layout::nhwc, {1, 24, 13, 13}), y(Layout::nhwc, {1, 24, 13, 13});
        fill_floats(x.view(), 1);
        fill_floats(weights.view(), 2);
        for_each_index(x.view().shape, [&](const Dims<4>& i) {
          if (positive) at(x.view(), i) = std::fmax(at(x.view(), i), 0.0F);
        });
        const auto error = [&](Algorithm algorithm) {
          LayerOptions options;
          options.algorithm = algorithm;
          REQUIRE(conv2d(x.view(), weights.view(), nullptr, y.view(), 1, same, 1, 1,
                         PaddingMode::zeros, options)
                      .ok());
          return std::sqrt(squared_error(y, expected));
        };
        error(Algorithm::naive);  // which sums in double
        copy(y.view(), expected.view());
        const double direct = error(Algorithm::gemm);
        CHECK(direct > 0);
        if (!is_3x3(kernel)) {
          CHECK(error(only_algorithm(kernel)) < 2 * direct);
          continue;
        }
        CHECK(error(Algorithm::winograd_f2) < 2 * direct);
        CHECK(error(Algorithm::winograd_f4) < 4 * direct);
        CHECK(error(Algorithm::winograd_f6) < 16 * direct);
        CHECK(error(Algorithm::winograd_f6) > error(Algorithm::winograd_f4));
      }
    }
  }

  TEST_CASE("the workspace is bounded by the caches") {
    for_each_variant([](const LayerOptions& options, Layout layout) {
      std::vector<float> some(1);
      for (const std::int64_t channels : {16, 512, 4096}) {
        const std::vector<float> weights(static_cast<std::size_t>(channels * 9 * 8));
        Layer layer;
        REQUIRE(Layer::create(conv_of(channels, 8), oihw(weights.data(), 8, channels, 3, 3),
                              nullptr, options, layer)
                    .ok());
        std::int64_t least = 0;
        for (const std::int64_t size : {512, 1024, 4096}) {
          // Planned, not run: the views are of memory that is not there.
          const auto make = layout == Layout::nchw ? nchw<float> : nhwc<float>;
          const TensorView y = make(some.data(), 7, 8, size, size);
          TensorView x = make(some.data(), 7, channels, size, size);
          Plan plan;
          REQUIRE(layer.plan(x, y, plan).ok());
          CHECK(plan.algorithm() == options.algorithm);
          if (size == 512) least = plan.workspace_bytes();
          CHECK(plan.workspace_bytes() <= 2 * least + (1 << 20));
        }
      }
    });
  }

  TEST_CASE("explain names the variant, its blocks, its error and its workspace") {
    for_each_variant([](const LayerOptions& options, Layout layout) {
      const Tensor x(layout, {1, 20, 9, 14}), weights(Layout::nchw, {33, 20, 3, 3});
      const Tensor y(layout, {1, 33, 9, 14});
      Layer layer;
      REQUIRE(Layer::create(conv_of(20, 33), weights.view(), nullptr, options, layer).ok());
      Plan plan;
      REQUIRE(layer.plan(x.view(), y.view(), plan).ok());
      const int m = winograd_size(options.algorithm);
      const auto number = [](std::int64_t value) { return std::to_string(value); };
      const std::string tiles = number(((9 + m - 1) / m) * ((14 + m - 1) / m));
      const char* const error = m == 2 ? "0.7" : m == 4 ? "2" : "8";
      const std::string text = plan.explain().text;
      for (const std::string& words : {"F(" + number(m) + "x" + number(m) + ", 3x3)",
                                       "blocks: " + tiles + " tiles (an image has " + tiles + ")",
                                       "error: " + std::string(error) + " times direct summation's",
                                       "workspace: " + number(plan.workspace_bytes()) + " bytes"}) {
        CHECK_MESSAGE(text.find(words) != std::string::npos, words << " in\n" << text);
      }
    });
  }
}

}  // namespace fastconv::testing
