// SPDX-License-Identifier: Apache-2.0
// But for Winograd, every output is one chain of multiply-adds in ascending depth (r, s, c): the
// same bits in every layout, cut into whatever blocks, at whatever level that rounds alike.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "../kernels/weights.hpp"
#include "../lib/gemm.hpp"
#include "../lib/geometry.hpp"
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
  Algorithm algorithm = Algorithm::gemm;
};

// More depth than a k-block holds, channels and pixels beside the tiles' multiples, every way in
// which pixels reach the micro-kernel.
constexpr Case kCases[] = {
    {"mb2ic37ih9oc45kh3ph1"},
    {"mb1ic300ih7oc33kh3ph1"},
    {"mb3ic600ih5oc70kh1ph0"},
    {"mb2ic70ih11oc40kh3sh2ph1"},
    {"mb2ic3ih23oc18kh7sh2ph3"},
    {"mb2ic5ih31iw44oc40kh3kw4sh3sw2ph2pw3"},
    {"mb2g2ic32ih21iw33oc66kh3kw3sh2sw3ph3pw1dh1dw2", PaddingMode::reflect},
    {"mb2g3ic96ih8oc51kh3ph2dh1"},
    {"mb2ic37ih14iw23oc33kh3kw3sh2sw4ph1pw3dh1dw5"},
    {"mb1ic64ih6oc64kh3ph0"},
    // Taps whole rows of which lie in the padding, for some tiles, k-blocks or outputs all of them.
    {"mb1ic300ih16oc33kh3ph6dh5"},
    {"mb1ic300ih3iw20oc33kh2kw2ph5pw5"},
    // Columns of them, too: of blocks of one pixel, and of k-blocks that begin within a tap.
    {"mb1ic62ih2iw57oc32kh1kw3ph0pw60dw59"},
    {"mb1ic120ih9iw57oc33kh3kw3ph7pw7dh6dw6"},
    {"mb2ic300ih1oc40kh3ph1"},
    // Filters that are large beside the image: tiles along images, rows and columns of the output.
    {"mb5g2ic62ih2oc66kh7ph3"},
    {"mb2g3ic15ih16iw3oc27kh9kw9ph4pw4"},
    {"mb1ic37ih3iw19oc40kh5kw9ph2pw7"},
    {"mb3ic20ih6iw5oc70kh4kw5ph6pw9sh2sw3dh2dw1"},
    {"mb2ic9ih1iw2oc5kh4kw300ph2pw299"},
    {"mb1ic40iw50oc20kw9pw4"},
    {"mb5ic20iw50oc40kw9pw4"},
    {"mb3ic20ih50iw1oc40kh5kw1ph2pw0"},
    {"mb45ic70ih1iw1oc40kh1kw1ph0pw0"},
    // By taps that are deep, in blocks of some rows of an image that small caches do not hold.
    {"mb2ic70ih19iw13oc40kh3kw3ph1pw1"},
    {"mb1ic120ih33iw9oc20kh4kw4ph3pw1sh3sw2"},
    {"mb1ic50ih8oc17kh3ph2", PaddingMode::reflect},
    {"mb2ic33ih6oc9kh5ph2", PaddingMode::circular},
    {"mb1ic40ih19iw37oc33kh1kw1"},
    // Sums of few channels that wait for some of many planes, near ones and, with more than fits
    // the small caches, far ones.
    {"mb1ic110ih9iw11oc13kh1kw1"},
    {"mb1ic400ih32iw33oc5kh1kw1"},
    {"mb1ic50ih20iw75oc35kh1kw1sh2sw2"},
    {"mb1ic48ih12iw43oc17kh3kw3ph2pw2sh4sw4dh1dw1"},
    {"mb1ic256ih9iw20oc40kh3kw3ph1pw1sh2sw2"},
    // Of one channel a group, on whichever kernel the strides allow.
    {"mb2g35ic35ih7oc35kh3ph1", PaddingMode::zeros, Algorithm::automatic},
    {"mb2g20ic20ih23oc20kh3sh2ph1", PaddingMode::zeros, Algorithm::automatic},
    {"mb2g9ic9ih17iw40oc18kh5kw5ph2pw2", PaddingMode::zeros, Algorithm::automatic},
    {"mb2g9ic9ih11oc9kh3ph2dh1", PaddingMode::zeros, Algorithm::automatic},
    // Of groups of a few channels, of more rows than a block has.
    {"mb2g5ic20ih31iw17oc20kh3kw3ph1pw1", PaddingMode::zeros, Algorithm::automatic},
    {"mb1g9ic18ih16iw9oc18kh3kw3ph1pw1", PaddingMode::reflect, Algorithm::automatic},
    {"mb1g3ic24ih15iw8oc24kh3kw3ph1pw1", PaddingMode::zeros, Algorithm::automatic},
    // Of groups that fill vectors, the last in part.
    {"mb2g3ic48ih31iw17oc48kh3kw3ph1pw1", PaddingMode::zeros, Algorithm::automatic},
    {"mb1g2ic16ih31iw57oc32kh3kw3ph1pw1sh2sw2", PaddingMode::reflect, Algorithm::automatic},
    {"mb2g5ic40ih29iw29oc40kh3kw3ph1pw1sh2sw2", PaddingMode::zeros, Algorithm::automatic},
    // One plane to one.
    {"mb2ic1ih23iw40oc1kh3kw3ph1pw1", PaddingMode::zeros, Algorithm::automatic},
    {"mb1ic1ih30iw33oc1kh5kw5ph2pw2sh2sw2", PaddingMode::zeros, Algorithm::automatic},
    // Of few channels, in strips whose blocks keep rows of the one above, more and fewer than
    // theirs.
    {"mb2ic16ih23iw200oc1kh3kw3ph1pw1", PaddingMode::zeros, Algorithm::direct},
    {"mb1ic24ih40iw120oc2kh9kw3ph4pw1", PaddingMode::zeros, Algorithm::direct},
    {"mb1ic24ih30iw70oc2kh5kw3ph2pw1", PaddingMode::circular, Algorithm::direct},
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
    for_each_index({1, 1, weights.shape[2], weights.shape[3]}, [&](const Dims<4>& tap) {
      const std::int64_t h = i[2] * p.conv.stride.h + tap[2] * p.conv.dilation.h;
      const std::int64_t w = i[3] * p.conv.stride.w + tap[3] * p.conv.dilation.w;
      const float* values = &at(padded.view(), {i[0], first, h, w});
      const float* taps = &at(weights, {i[1], 0, tap[2], tap[3]});
      for (std::int64_t c = 0; c < channels; ++c) {
        const float value = values[c * padded.view().strides[1]];
        const float weight = taps[c * weights.strides[1]];
        if (fused) {
          sum = std::fma(value, weight, sum);
        } else {
          const float product = value * weight;
          sum = product + sum;
        }
      }
    });
    at(y.view(), i) = sum + operands.bias.view().data[i[1]];
  });
  return y;
}

// That of a case, spelled out once for all that is compared with it.
const Tensor& chain_of(const Case& c, const Problem& p, const Operands& operands, bool fused) {
  static std::map<std::pair<const Case*, bool>, Tensor> chains;
  const auto found = chains.find({&c, fused});
  if (found != chains.end()) return found->second;
  return chains.emplace(std::make_pair(&c, fused), chain(p, operands, fused)).first->second;
}

LayerOptions options_of(Algorithm algorithm, Isa isa) {
  LayerOptions options;
  options.algorithm = algorithm;
  options.strict = true;
  options.isa = isa;
  return options;
}

Layer layer_of(const Problem& p, const Operands& operands, Algorithm algorithm, Isa isa) {
  Layer layer;
  const Status status = Layer::create(p.conv, operands.weights.view(), operands.bias.view().data,
                                      options_of(algorithm, isa), layer);
  REQUIRE_MESSAGE(status.ok(), text(status));
  return layer;
}

// Where x, y and a residual may lie, so that tiles go to y, to rows of it, or transposed.
struct Place {
  Layout x, y;
  Layout residual;
  bool has_residual = true;
};
constexpr Place kPlaces[] = {
    {Layout::nchw, Layout::nchw, Layout::nchw},
    {Layout::nchw, Layout::nchw, Layout::nchw, false},
    {Layout::nhwc, Layout::nhwc, Layout::nhwc},
    {Layout::nhwc, Layout::nhwc_crop, Layout::crop},
    {Layout::every_second, Layout::crop, Layout::padded_rows},
    {Layout::padded_rows, Layout::nhwc, Layout::nchw},
    {Layout::chwn, Layout::nchw, Layout::broadcast},
    {Layout::nhwc_flipped, Layout::every_second, Layout::nhwc_crop},
};

// Every form of the pixels that can serve a problem, whatever the model makes of it, on the level's
// tiles or on those alone that straddle output rows.
void check_forms(const Problem& p, const Operands& operands, const Place& place, Isa isa, bool low,
                 const Tensor& sums, Guard guard, int (&forms)[2][5]) {
  const Dims<4>& shape = sums.view().shape;
  const Tensor x(place.x, operands.x.view().shape, guard);
  copy(operands.x.view(), x.view());
  const Tensor residual(place.residual, shape, guard);
  fill_floats(residual.view(), 4);
  const Tensor expected(Layout::nchw, shape);
  for_each_index(shape, [&](const Dims<4>& i) {
    const float sum = at(sums.view(), i);
    at(expected.view(), i) =
        place.has_residual ? std::fmax(sum + at(residual.view(), i), 0.0F) : sum;
  });

  const KernelTable& table = *kernel_table(isa);
  const std::int64_t groups = p.conv.groups;
  const std::int64_t per_group = p.conv.out_channels / groups;
  const std::int64_t lanes = (per_group + table.nr() - 1) / table.nr() * table.nr();
  const auto floats = [](std::int64_t count) {
    return GuardedBuffer(count * static_cast<std::int64_t>(sizeof(float)), Guard::before);
  };
  std::int64_t elements = 0;
  REQUIRE(panel_elements(operands.weights.view().shape, groups, table.nr(), elements));
  const GuardedBuffer weights = floats(elements);
  pack_panels(operands.weights.view(), groups, table.nr(), weights.floats());
  const GuardedBuffer bias = floats(groups * lanes);
  for (std::int64_t k = 0; k < p.conv.out_channels; ++k) {
    bias.floats()[k / per_group * lanes + k % per_group] = operands.bias.view().data[k];
  }
  Epilogue epilogue;
  if (place.has_residual) epilogue.activation = Activation::relu;

  for (const Lanes along : {Lanes::pixels, Lanes::channels}) {
    for (const PixelForm form : {PixelForm::columns, PixelForm::rows, PixelForm::patch,
                                 PixelForm::in_place, PixelForm::taps}) {
      CAPTURE(static_cast<int>(along));
      CAPTURE(static_cast<int>(form));
      const Tensor y(place.y, shape, guard);
      fastconv::Problem problem;
      REQUIRE(make_problem(p.conv, x.view(), y.view(), problem).ok());
      Blocking blocking;
      Tiles tiles(table);
      if (low) tiles.channels.keep_straddling();
      // Small caches, so that blocks meet.
      if (!make_blocking(problem, tiles, {16 << 10, 128 << 10}, along, form, blocking)) continue;
      const ConstTensorView from = residual.view();
      const Blocking whole = blocking;
      for (const bool finite : {true, false}) {  // weights, as far as gemm knows
        for (const Along rows_along : {Along::rows, Along::columns, Along::images, Along::area}) {
          if (form == PixelForm::taps) {
            // As a whole and in parts, as threads have it.
            const std::int64_t rows = whole.pixel_block / problem.ow;
            blocking.along = rows_along;
            blocking.images = finite ? whole.images : std::min<std::int64_t>(whole.images, 2);
            blocking.pixel_block = (finite ? rows : (rows + 1) / 2) * problem.ow;
            fill_with(y.view(), std::numeric_limits<float>::quiet_NaN());
          }
          const GuardedBuffer workspace(gemm_workspace_bytes(problem, blocking, table.nr()), guard);
          gemm({problem, table, x.view().data, weights.floats(), lanes, finite, bias.floats(),
                y.view().data, place.has_residual ? from.data : nullptr, from.strides, epilogue},
               blocking, 0, gemm_blocks(problem, blocking), workspace.data());
          const Difference difference = compare_bits(y.view(), expected.view());
          CHECK_MESSAGE(difference.none(), difference.text());
          CHECK(y.gaps_are_untouched());
          if (form != PixelForm::taps) break;
        }
      }
      ++forms[static_cast<int>(along)][static_cast<int>(form)];
    }
  }
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
      const Layer layer = layer_of(p, operands, c.algorithm, isa);
      for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
        if (!takes_next()) continue;
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
        if (levels.empty() || !takes_next()) continue;
        const Tensor& expected = chain_of(c, p, operands, fused);
        for (const Isa isa : levels) {
          CAPTURE(std::string(name(isa)));
          const Layer layer = layer_of(p, operands, c.algorithm, isa);
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

  TEST_CASE("every form of the pixels has those bits, wherever outputs and a residual lie") {
    int forms[2][5] = {};
    for (const Case& c : kCases) {
      const Problem p = parsed(c);
      CAPTURE(std::string(c.descriptor));
      const Operands operands(p);
      for (const Isa isa : tested_isas()) {
        CAPTURE(std::string(name(isa)));
        for (const Place& place : kPlaces) {
          CAPTURE(std::string(name(place.x)));
          CAPTURE(std::string(name(place.y)));
          for (const Guard guard : {Guard::before, Guard::after}) {
            if (!takes_next()) continue;
            const Tensor& sums = chain_of(c, p, operands, is_fused(isa));
            check_forms(p, operands, place, isa, false, sums, guard, forms);
            if (Tiles(*kernel_table(isa)).channels.straddles()) continue;
            check_forms(p, operands, place, isa, true, sums, guard, forms);
          }
        }
      }
    }
    if (sweep_step() > 1) return;  // a few steps need not meet every form
    const auto runs = [&](Lanes lanes, PixelForm form) {
      return forms[static_cast<int>(lanes)][static_cast<int>(form)];
    };
    CHECK(runs(Lanes::pixels, PixelForm::columns) > 0);
    CHECK(runs(Lanes::pixels, PixelForm::in_place) > 0);
    CHECK(runs(Lanes::channels, PixelForm::rows) > 0);
    CHECK(runs(Lanes::channels, PixelForm::patch) > 0);
    CHECK(runs(Lanes::channels, PixelForm::in_place) > 0);
    CHECK(runs(Lanes::channels, PixelForm::taps) > 0);
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

  TEST_CASE("sums that underflow are 0 and not -0, whatever passes over the padding") {
    // Over rows of taps, over columns, over both.
    constexpr const char* kPasses[] = {"mb1ic64ih12iw3oc256kh3kw3ph3pw3dh2dw2",
                                       "mb1ic64ih3iw30oc64kh1kw3ph0pw10dw9",
                                       "mb1ic64ih12iw14oc64kh3kw3ph7pw6dh6dw5"};
    for (const char* const descriptor : kPasses) {
      const Problem p = parsed({descriptor});
      CAPTURE(std::string(descriptor));
      const Operands operands(p);
      for_each_index(operands.weights.view().shape, [&](const Dims<4>& i) {
        at(operands.weights.view(), i) = p.conv.kernel_size.h == 1 || i[2] < 2 ? -1e-30F : 1e-30F;
      });
      for (const Isa isa : tested_isas()) {
        CAPTURE(std::string(name(isa)));
        Layer layer;
        LayerOptions options;
        options.algorithm = Algorithm::gemm;
        options.isa = isa;
        REQUIRE(Layer::create(p.conv, operands.weights.view(), nullptr, options, layer).ok());
        for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
          const Tensor x(layout, operands.x.view().shape);
          for_each_index(x.view().shape, [&](const Dims<4>& i) { at(x.view(), i) = 1e-30F; });
          for (const int threads : {1, 8}) {
            const Tensor y(layout, {p.mb, p.conv.out_channels, p.oh, p.ow});
            Plan plan;
            REQUIRE(layer.plan(x.view(), y.view(), plan, threads).ok());
            std::vector<char> workspace(static_cast<std::size_t>(plan.workspace_bytes()));
            REQUIRE(layer.run(plan, x.view(), y.view(), {workspace.data(), plan.workspace_bytes()})
                        .ok());
            std::int64_t negative = 0;
            for_each_index(y.view().shape, [&](const Dims<4>& i) {
              negative += std::signbit(at(y.view(), i)) ? 1 : 0;
            });
            CHECK(negative == 0);
          }
        }
      }
    }
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
        const Layer layer = layer_of(p, operands, Algorithm::gemm, isa);
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
                                operands.bias.view().data + 5, options_of(Algorithm::gemm, isa),
                                narrow)
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
