// SPDX-License-Identifier: Apache-2.0
// What the library touches: guard pages and NaN-filled destinations are part of every check; here
// is what those do not show.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "allocations.hpp"
#include "check.hpp"
#include "compare.hpp"
#include "winograd.hpp"

namespace fastconv::testing {
namespace {

Conv2d descriptor(Algorithm algorithm) {
  Conv2d conv;
  conv.in_channels = algorithm == Algorithm::depthwise ? 20 : 5;
  conv.groups = algorithm == Algorithm::depthwise ? 20 : 1;
  conv.out_channels = 20;
  conv.kernel_size = {3, 2};
  conv.stride = {1, 2};
  conv.padding = 1;
  if (winograd_size(algorithm) != 0) {
    conv.kernel_size = 3;
    conv.stride = 1;
  }
  return conv;
}

// One layer with its operands, for each algorithm and tested level in turn.
struct Fixture {
  Fixture(Algorithm algorithm, Isa isa, Layout layout)
      : options{algorithm, isa},
        x(layout, {2, descriptor(algorithm).in_channels, 9, 14}),
        weights(Layout::nchw, {20, algorithm == Algorithm::depthwise ? 1 : 5, 3,
                               descriptor(algorithm).kernel_size.w}),
        y(layout, {2, 20, 9, descriptor(algorithm).stride.w == 1 ? 14 : 8}) {
    fill_integers(x.view(), 1);
    fill_integers(weights.view(), 2);
    Tensor bias(Layout::nchw, {1, 20, 1, 1});
    fill_integers(bias.view(), 3);
    const Status created =
        Layer::create(descriptor(algorithm), weights.view(), bias.view().data, options, layer);
    REQUIRE_MESSAGE(created.ok(), text(created));
    const Status planned = layer.plan(x.view(), y.view(), plan);
    REQUIRE_MESSAGE(planned.ok(), text(planned));
  }

  Status run(void* workspace, std::int64_t bytes) const {
    return layer.run(plan, x.view(), y.view(), {workspace, bytes});
  }

  LayerOptions options;
  Tensor x, weights, y;
  Layer layer;
  Plan plan;
};

template <class Function>
void for_each_engine(Function function) {
  for (const Isa isa : tested_isas()) {
    for (const Algorithm algorithm : all_algorithms()) {
      if (!depends_on_isa(algorithm) && isa != Isa::generic) continue;
      for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
        CAPTURE(std::string(name(algorithm)));
        CAPTURE(std::string(name(isa)));
        CAPTURE(std::string(name(layout)));
        function(Fixture(algorithm, isa, layout));
      }
    }
  }
}

}  // namespace

TEST_SUITE("memory") {
  TEST_CASE("guard pages fault where they should") {
    // By their addresses; touching them would end the test.
    for (const Guard guard : {Guard::before, Guard::after}) {
      const GuardedBuffer buffer(100, guard);
      const auto address = reinterpret_cast<std::uintptr_t>(buffer.data());
      CHECK((guard == Guard::before ? address : address + 100) % 4096 == 0);
      std::memset(buffer.data(), 1, 100);
    }
    const Tensor flipped(Layout::flipped, {2, 3, 4, 5}, Guard::before);
    CHECK(reinterpret_cast<std::uintptr_t>(&at(flipped.view(), {0, 2, 3, 4})) % 4096 == 0);
    const Tensor crop(Layout::crop, {2, 3, 4, 5}, Guard::after);
    CHECK(reinterpret_cast<std::uintptr_t>(&at(crop.view(), {1, 2, 3, 4}) + 1) % 4096 == 0);
  }

  TEST_CASE("gaps and fillers are seen") {
    Tensor padded(Layout::padded_rows, {1, 2, 3, 4});
    CHECK(padded.is_untouched());
    CHECK(std::isnan(at(padded.view(), {0, 1, 2, 3})));
    fill_with(padded.view(), 1.0F);
    CHECK_FALSE(padded.is_untouched());
    CHECK(padded.gaps_are_untouched());
    padded.view().data[4] = 0.0F;  // just behind the first row
    CHECK_FALSE(padded.gaps_are_untouched());
  }

  TEST_CASE("run neither allocates nor frees") {
    if (!counts_allocations()) return;
    const std::int64_t start = allocations();
    static char* volatile escaped;  // or the compiler may leave it out
    escaped = std::make_unique<char[]>(1000).release();
    delete[] escaped;
    REQUIRE(allocations() == start + 1);  // the counters count
    for_each_engine([](const Fixture& f) {
      const GuardedBuffer workspace(f.plan.workspace_bytes(), Guard::after);
      const std::int64_t before = allocations();
      const Status status = f.run(workspace.data(), workspace.bytes());
      const std::int64_t after = allocations();
      CHECK_MESSAGE(status.ok(), text(status));
      CHECK(after == before);
    });
  }

  TEST_CASE("plan and explain do not allocate, nor does a refusal") {
    if (!counts_allocations()) return;
    for_each_engine([](const Fixture& f) {
      const std::int64_t before = allocations();
      Plan plan;
      const Status planned = f.layer.plan(f.x.view(), f.y.view(), plan);
      const Explanation explanation = plan.explain();
      const Status refused = f.layer.run(Plan(), f.x.view(), f.y.view());
      const std::int64_t after = allocations();
      CHECK(planned.ok());
      CHECK(explanation.text[0] != '\0');
      CHECK_FALSE(refused.ok());
      CHECK(after == before);
    });
  }

  TEST_CASE("a workspace one byte too small is refused with the number of bytes") {
    for_each_engine([](const Fixture& f) {
      const std::int64_t needed = f.plan.workspace_bytes();
      CHECK(needed >= 0);
      if (needed == 0) {
        CHECK(f.run(nullptr, 0).ok());
        return;
      }
      const GuardedBuffer workspace(needed, Guard::after);
      const struct {
        void* data;
        std::int64_t bytes;
      } cases[] = {{workspace.data(), needed - 1},
                   {workspace.data(), 0},
                   {workspace.data(), -1},
                   {nullptr, needed},
                   {nullptr, 0}};
      for (const auto& c : cases) {
        const Status status = f.run(c.data, c.bytes);
        CHECK(status.code() == StatusCode::workspace_too_small);
        const std::string message = status.message();
        CHECK(message.find("workspace") != std::string::npos);
        CHECK(message.find(std::to_string(needed)) != std::string::npos);
        CHECK(f.y.is_untouched());
      }
      CHECK(f.run(workspace.data(), needed).ok());
    });
  }

  TEST_CASE("a workspace of any alignment gives the same bits") {
    for_each_engine([](const Fixture& f) {
      const std::int64_t needed = f.plan.workspace_bytes();
      const Tensor expected(Layout::nchw, f.y.view().shape);
      for (std::int64_t offset = 0; offset < 70; offset += offset < 8 ? 1 : 11) {
        CAPTURE(offset);
        // What lies around the bytes that were asked for stays as it is.
        const auto size = static_cast<std::size_t>(needed);
        const GuardedBuffer memory(needed + 256, Guard::before);  // of a page's alignment
        auto* workspace = static_cast<unsigned char*>(memory.data()) + offset;
        std::memset(memory.data(), 0xA5, size + 256);
        fill_with(f.y.view(), NAN);
        REQUIRE(f.run(workspace, needed).ok());
        std::memset(workspace, 0xA5, size);
        const auto* bytes = static_cast<const unsigned char*>(memory.data());
        CHECK(std::count(bytes, bytes + size + 256, 0xA5) == needed + 256);
        if (offset == 0) copy(f.y.view(), expected.view());
        CHECK(compare_bits(f.y.view(), expected.view()).none());
        // The end at the guard page, pushed off its alignment by asking for more than is needed.
        const GuardedBuffer after(needed + offset, Guard::after);
        fill_with(f.y.view(), NAN);
        REQUIRE(f.run(after.data(), needed + offset).ok());
        CHECK(compare_bits(f.y.view(), expected.view()).none());
      }
    });
  }

  TEST_CASE("what a workspace held before does not matter") {
    for_each_engine([](const Fixture& f) {
      const GuardedBuffer workspace(f.plan.workspace_bytes(), Guard::after);
      const Tensor first(Layout::nchw, f.y.view().shape);
      REQUIRE(f.run(workspace.data(), workspace.bytes()).ok());
      copy(f.y.view(), first.view());
      std::memset(workspace.data(), 0xFF, static_cast<std::size_t>(workspace.bytes()));  // NaNs
      fill_with(f.y.view(), NAN);
      REQUIRE(f.run(workspace.data(), workspace.bytes()).ok());
      CHECK(compare_bits(f.y.view(), first.view()).none());
    });
  }

  TEST_CASE("weights and bias may be freed once the layer exists") {
    for_each_engine([](const Fixture& f) {
      const GuardedBuffer workspace(f.plan.workspace_bytes(), Guard::after);
      const Tensor first(Layout::nchw, f.y.view().shape);
      REQUIRE(f.run(workspace.data(), workspace.bytes()).ok());
      copy(f.y.view(), first.view());
      fill_with(f.weights.view(), NAN);  // the bias is gone already
      REQUIRE(f.run(workspace.data(), workspace.bytes()).ok());
      CHECK(compare_bits(f.y.view(), first.view()).none());
    });
  }

  TEST_CASE("weights of 4 MiB and more, which lie in huge pages") {
    const Check check(problem_of(conv_of(1024, 1025, 1, 0), 1, 1, 1), Layout::nchw, Fill::integers,
                      1);
    for (const Isa isa : tested_isas()) {
      const Verdict verdict = check.run({Algorithm::gemm, isa});
      CHECK_MESSAGE(verdict.failure.empty(), verdict.failure);
    }
  }

  TEST_CASE("weights of any strides") {
    for_each_engine([&](const Fixture& f) {
      if (winograd_size(f.options.algorithm) > 2) return;  // not exact; packs as the others do
      const Conv2d conv = descriptor(f.options.algorithm);
      const Dims<4>& shape = f.weights.view().shape;
      const Tensor dense(Layout::nchw, shape);
      fill_integers(dense.view(), 5);
      LayerOptions naive;
      naive.algorithm = Algorithm::naive;
      const Tensor expected(Layout::nchw, f.y.view().shape);
      REQUIRE(conv2d(f.x.view(), dense.view(), nullptr, expected.view(), conv.stride, 1, 1,
                     conv.groups, PaddingMode::zeros, naive)
                  .ok());
      const auto check = [&](const ConstTensorView& weights) {
        fill_with(f.y.view(), NAN);
        const Status status = conv2d(f.x.view(), weights, nullptr, f.y.view(), conv.stride, 1, 1,
                                     conv.groups, PaddingMode::zeros, f.options);
        REQUIRE_MESSAGE(status.ok(), text(status));
        CHECK(compare_exact(f.y.view(), expected.view()).none());
      };
      for (int i = 0; name(static_cast<Layout>(i)) != nullptr; ++i) {
        const auto layout = static_cast<Layout>(i);
        if (!can_be_written(layout)) continue;
        CAPTURE(std::string(name(layout)));
        for (const Guard guard : {Guard::before, Guard::after}) {
          const Tensor weights(layout, shape, guard);
          copy(dense.view(), weights.view());
          check(weights.bounded());
        }
      }
      std::vector<float> storage(20 * 5 * 3 * 3);
      for (const TensorView& view : {ohwi(storage.data(), 20, shape[1], 3, shape[3]),
                                     hwio(storage.data(), 20, shape[1], 3, shape[3])}) {
        copy(dense.view(), view);
        check(view);
      }
    });
  }

  TEST_CASE(
      "nothing is read between pixels: channels that end with a page, the next out of bounds") {
    const auto page = static_cast<std::int64_t>(sysconf(_SC_PAGESIZE));
    constexpr std::int64_t kWidth = 40;
    for (const std::int64_t channels : {1, 2, 3, 4, 5}) {
      CAPTURE(channels);
      const GuardedBuffer memory(2 * kWidth * page, Guard::before);
      auto* const pages = static_cast<char*>(memory.data());
      const std::int64_t floats = page / static_cast<std::int64_t>(sizeof(float));
      float* const data = memory.floats() + floats - channels;
      const ConstTensorView x{data, {1, channels, 1, kWidth}, {0, 1, 0, 2 * floats}, nullptr, -1};
      for (std::int64_t i = 0; i < kWidth; ++i) {
        for (std::int64_t c = 0; c < channels; ++c) {
          data[i * 2 * floats + c] = static_cast<float>(i - 3 * c);
        }
        REQUIRE(mprotect(pages + (2 * i + 1) * page, static_cast<std::size_t>(page),
                         are_guards_readable() ? PROT_READ : PROT_NONE) == 0);
      }
      const Tensor weights(Layout::nchw, {2, channels, 1, 3});
      fill_integers(weights.view(), 7);
      const Tensor expected(Layout::nchw, {1, 2, 1, kWidth});
      const auto run = [&](Algorithm algorithm, Isa isa, const TensorView& y) {
        LayerOptions options;
        options.algorithm = algorithm;
        options.isa = isa;
        const Status status = conv2d(x, weights.view(), nullptr, y, 1, {0, 0, 1, 1}, 1, 1,
                                     PaddingMode::zeros, options);
        REQUIRE_MESSAGE(status.ok(), text(status));
      };
      run(Algorithm::naive, Isa::automatic, expected.view());
      for (const Isa isa : tested_isas()) {
        CAPTURE(std::string(name(isa)));
        for (const Algorithm algorithm :
             {Algorithm::automatic, Algorithm::gemm, Algorithm::direct}) {
          CAPTURE(std::string(name(algorithm)));
          const Tensor y(Layout::nchw, {1, 2, 1, kWidth});
          run(algorithm, isa, y.view());
          CHECK(compare_exact(y.view(), expected.view()).none());
        }
      }
      REQUIRE(mprotect(pages, static_cast<std::size_t>(2 * kWidth * page),
                       PROT_READ | PROT_WRITE) == 0);
    }
  }
}

}  // namespace fastconv::testing
