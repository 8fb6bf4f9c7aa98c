// SPDX-License-Identifier: Apache-2.0
// What a layer takes besides its geometry: where memory comes from, and what denormals are.
#include <doctest/doctest.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <fastconv/fastconv.hpp>
#include <fastconv/thread_pool.hpp>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "allocations.hpp"
#include "check.hpp"
#include "compare.hpp"
#include "winograd.hpp"

namespace fastconv::testing {
namespace {

// Counts, checks what is given back, and can be told to run out.
struct Pool {
  std::int64_t allocations = 0;
  std::int64_t left = 1000;
  bool wrong = false;
  std::map<void*, std::size_t> live;

  static void* allocate(void* context, std::size_t bytes, std::size_t alignment) {
    auto& self = *static_cast<Pool*>(context);
    if (self.left-- <= 0) return nullptr;
    ++self.allocations;
    self.wrong = self.wrong || alignment == 0 || (alignment & (alignment - 1)) != 0;
    void* memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    self.live[memory] = bytes;
    return memory;
  }
  static void deallocate(void* context, void* memory, std::size_t bytes) {
    auto& self = *static_cast<Pool*>(context);
    const auto found = self.live.find(memory);
    if (found == self.live.end() || found->second != bytes) {
      self.wrong = true;
      return;
    }
    self.live.erase(found);
    std::free(memory);
  }
  Allocator allocator() { return {allocate, deallocate, this}; }
};

Conv2d descriptor() {
  Conv2d conv;
  conv.in_channels = 8;
  conv.out_channels = 24;
  conv.kernel_size = 3;
  conv.padding = 1;
  return conv;
}

struct Operands {
  Operands()
      : x(Layout::nchw, {2, 8, 12, 13}),
        weights(Layout::nchw, {24, 8, 3, 3}),
        bias(Layout::nchw, {1, 24, 1, 1}),
        y(Layout::nchw, {2, 24, 12, 13}) {
    fill_integers(x.view(), 1);
    fill_integers(weights.view(), 2);
    fill_integers(bias.view(), 3);
  }
  Status create(const LayerOptions& options, Layer& layer) const {
    return Layer::create(descriptor(), weights.view(), bias.view().data, options, layer);
  }
  Tensor x, weights, bias, y;
};

template <class Function>
void for_each_algorithm(Function function) {
  for (const Algorithm algorithm : general_algorithms()) {
    CAPTURE(std::string(name(algorithm)));
    LayerOptions options;
    options.algorithm = algorithm;
    Layer layer;
    const Status status = Operands().create(options, layer);
    if (status.code() == StatusCode::unsupported) continue;
    REQUIRE_MESSAGE(status.ok(), text(status));
    function(options);
  }
}

// The bits that say how this thread treats denormals, and one of them changed.
std::uint64_t denormal_mode() {
#if defined(__x86_64__)
  return _mm_getcsr();
#elif defined(__aarch64__)
  std::uint64_t mode = 0;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
#else
  return 0;
#endif
}

void set_rounding_upward() {
#if defined(__x86_64__)
  _mm_setcsr((_mm_getcsr() & ~0x6000U) | 0x4000U);
#elif defined(__aarch64__)
  std::uint64_t mode = denormal_mode() | (std::uint64_t{1} << 22);
  asm volatile("msr fpcr, %0" : : "r"(mode));
#endif
}

void set_mode(std::uint64_t mode) {
#if defined(__x86_64__)
  _mm_setcsr(static_cast<unsigned>(mode));
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" : : "r"(mode));
#else
  static_cast<void>(mode);
#endif
}

// The sticky flags of MXCSR change with every inexact result.
std::uint64_t control_bits() {
#if defined(__x86_64__)
  return denormal_mode() & ~std::uint64_t{0x3F};
#else
  return denormal_mode();
#endif
}

#if defined(__x86_64__) || defined(__aarch64__)
constexpr bool kCanFlush = true;
#else
constexpr bool kCanFlush = false;
#endif

}  // namespace

TEST_SUITE("options") {
  TEST_CASE("a layer's memory comes from its allocator and goes back to it") {
    const Operands operands;
    for_each_algorithm([&](LayerOptions options) {
      Pool pool;
      options.allocator = pool.allocator();
      {
        Layer layer;
        const std::int64_t before = allocations();
        REQUIRE(operands.create(options, layer).ok());
        CHECK(pool.live.size() == static_cast<std::size_t>(pool.allocations));
        CHECK(pool.allocations >= 1);
        // All of it: what the C library gave is the pool's own.
        if (counts_allocations()) CHECK(allocations() - before == 2 * pool.allocations);
        const std::size_t created = pool.live.size();
        REQUIRE(created == 1);
        CHECK(layer.bytes() == static_cast<std::int64_t>(pool.live.begin()->second));
        REQUIRE(layer.run(operands.x.view(), operands.y.view()).ok());  // a workspace of its own
        CHECK(pool.live.size() == created);
        Layer moved = std::move(layer);
        CHECK(pool.live.size() == created);
        layer = std::move(moved);
        REQUIRE(operands.create(options, layer).ok());  // replaces it
        CHECK(pool.live.size() == created);
      }
      CHECK(pool.live.empty());
      CHECK_FALSE(pool.wrong);
    });
  }

  TEST_CASE("out of memory is a status and leaks nothing") {
    const Operands operands;
    for_each_algorithm([&](LayerOptions options) {
      Pool counted;
      options.allocator = counted.allocator();
      const auto one_call = [&] {
        return conv2d(operands.x.view(), operands.weights.view(), operands.bias.view().data,
                      operands.y.view(), 1, 1, 1, 1, PaddingMode::zeros, options);
      };
      REQUIRE(one_call().ok());
      CHECK(counted.live.empty());
      for (std::int64_t left = 0; left < counted.allocations; ++left) {
        Pool pool;
        pool.left = left;
        options.allocator = pool.allocator();
        const Status status = one_call();
        CHECK(status.code() == StatusCode::out_of_memory);
        CHECK(std::string(status.message()).find("bytes") != std::string::npos);
        CHECK(pool.live.empty());
        CHECK_FALSE(pool.wrong);
      }
      // A layer that could not be replaced is still there.
      Pool pool;
      options.allocator = pool.allocator();
      Layer layer;
      REQUIRE(operands.create(options, layer).ok());
      pool.left = 0;
      CHECK(operands.create(options, layer).code() == StatusCode::out_of_memory);
      pool.left = 10;
      CHECK(layer.run(operands.x.view(), operands.y.view()).ok());
    });
  }

  TEST_CASE("weights beyond any memory") {
    Conv2d conv;
    conv.in_channels = std::int64_t{1} << 28;
    conv.out_channels = std::int64_t{1} << 25;
    conv.kernel_size = 1;
    const float weight = 1.0F;
    Pool pool;
    pool.left = 0;  // sanitizers end a program that asks the C library for so much
    LayerOptions options;
    options.allocator = pool.allocator();
    Layer layer;
    const Status status =
        Layer::create(conv, {&weight, {conv.out_channels, conv.in_channels, 1, 1}, {}, nullptr, -1},
                      nullptr, options, layer);
    CHECK(status.code() == StatusCode::out_of_memory);
  }

  TEST_CASE("half an allocator is refused") {
    const Operands operands;
    Pool pool;
    for (const bool allocates : {true, false}) {
      LayerOptions options;
      options.allocator = pool.allocator();
      if (allocates) options.allocator.deallocate = nullptr;
      if (!allocates) options.allocator.allocate = nullptr;
      Layer layer;
      const Status status = operands.create(options, layer);
      CHECK(status.code() == StatusCode::invalid_argument);
      CHECK(std::string(status.message()).find("allocator") != std::string::npos);
    }
  }

  TEST_CASE("strict has the bits of every algorithm that sums as the definition does") {
    const Operands operands;
    const Tensor expected(Layout::nchw, operands.y.view().shape);
    for_each_algorithm([&](LayerOptions options) {
      Layer layer, strict;
      Plan plan;
      REQUIRE(operands.create(options, layer).ok());
      REQUIRE(layer.plan(operands.x.view(), operands.y.view(), plan).ok());
      options.strict = true;
      REQUIRE(operands.create(options, strict).ok());
      if (winograd_size(plan.algorithm()) != 0) {
        options.algorithm = Algorithm::gemm;
        REQUIRE(operands.create(options, layer).ok());
        REQUIRE(strict.plan(operands.x.view(), operands.y.view(), plan).ok());
        CHECK(winograd_size(plan.algorithm()) == 0);
      }
      REQUIRE(layer.run(operands.x.view(), expected.view()).ok());
      REQUIRE(strict.run(operands.x.view(), operands.y.view()).ok());
      CHECK(compare_exact(operands.y.view(), expected.view()).none());
    });
  }

  TEST_CASE("strict keeps auto from Winograd") {
    const Conv2d conv = conv_of(64, 64, 3, 1);
    const Tensor x(Layout::nchw, {1, 64, 14, 14}), weights(Layout::nchw, {64, 64, 3, 3});
    const Tensor y(Layout::nchw, x.view().shape);
    for (const Isa isa : tested_isas()) {
      LayerOptions options;
      options.isa = isa;
      for (const bool strict : {false, true}) {
        options.strict = strict;
        Layer layer;
        Plan plan;
        REQUIRE(Layer::create(conv, weights.view(), nullptr, options, layer).ok());
        REQUIRE(layer.plan(x.view(), y.view(), plan).ok());
        CHECK((winograd_size(plan.algorithm()) == 0) == strict);
      }
    }
  }

  TEST_CASE("memory of an allocator that is not aligned is given back and refused") {
    const Operands operands;
    struct Crooked {
      int live = 0;
      static void* allocate(void* self, std::size_t bytes, std::size_t alignment) {
        ++static_cast<Crooked*>(self)->live;
        const std::size_t all = (bytes + 2 * alignment - 1) / alignment * alignment;
        return static_cast<char*>(std::aligned_alloc(alignment, all)) + 8;
      }
      static void deallocate(void* self, void* memory, std::size_t) {
        --static_cast<Crooked*>(self)->live;
        std::free(static_cast<char*>(memory) - 8);
      }
    } crooked;
    LayerOptions options;
    options.allocator = {Crooked::allocate, Crooked::deallocate, &crooked};
    Layer layer;
    const Status status = operands.create(options, layer);
    CHECK(status.code() == StatusCode::invalid_argument);
    CHECK(std::string(status.message()).find("allocator: was asked") == 0);
    CHECK(crooked.live == 0);
  }

  TEST_CASE("flush_denormals takes denormals as zero, and nothing else") {
    if (!kCanFlush) return;
    const Operands operands;
    const Tensor normal(Layout::nchw, operands.y.view().shape);
    for_each_algorithm([&](LayerOptions options) {
      Layer layer, flushing, tiny;
      REQUIRE(operands.create(options, layer).ok());
      options.flush_denormals = true;
      REQUIRE(operands.create(options, flushing).ok());
      REQUIRE(layer.run(operands.x.view(), normal.view()).ok());
      REQUIRE(flushing.run(operands.x.view(), operands.y.view()).ok());
      CHECK(compare_bits(operands.y.view(), normal.view()).none());

      if (!depends_on_isa(options.algorithm)) return;  // those sum in double
      const Tensor weights(Layout::nchw, {24, 8, 3, 3});
      fill_with(weights.view(), 0x1p-130F);
      REQUIRE(Layer::create(descriptor(), weights.view(), nullptr, options, tiny).ok());
      REQUIRE(tiny.run(operands.x.view(), operands.y.view()).ok());
      for_each_index(operands.y.view().shape,
                     [&](const Dims<4>& i) { CHECK(at(operands.y.view(), i) == 0.0F); });
    });
  }

  TEST_CASE("flush_denormals restores the caller's mode, on the caller and on every pool thread") {
    if (!kCanFlush) return;
    const std::uint64_t at_start = denormal_mode();
    set_rounding_upward();
    const std::uint64_t own = control_bits();
    // The caller's mode is its own only if it is not what a thread starts with.
    ThreadPool pool(3);
    struct Modes {
      ParallelFor inner;
      ParallelFor::Body body = nullptr;
      void* data = nullptr;
      std::atomic<int> changed{0};
      std::atomic<int> calls{0};
    } modes;
    modes.inner = pool.parallel_for();
    const ParallelFor watching{
        [](void* context, std::int64_t tasks, int slots, ParallelFor::Body body, void* data) {
          auto& m = *static_cast<Modes*>(context);
          m.body = body;
          m.data = data;
          m.inner.run(
              m.inner.context, tasks, slots,
              [](void* watched, std::int64_t task, int slot) {
                auto& inner = *static_cast<Modes*>(watched);
                const std::uint64_t before = control_bits();
                inner.body(inner.data, task, slot);
                if (control_bits() != before) ++inner.changed;
                ++inner.calls;
              },
              &m);
        },
        &modes};
    Conv2d conv = descriptor();
    conv.in_channels = conv.out_channels = 64;
    const Tensor x(Layout::nchw, {1, 64, 30, 30}), y(Layout::nchw, {1, 64, 30, 30});
    const Tensor weights(Layout::nchw, {64, 64, 3, 3});
    fill_floats(x.view(), 1);
    fill_with(weights.view(), 0x1p-130F);
    LayerOptions options;
    options.flush_denormals = true;
    Layer layer;
    Plan plan;
    REQUIRE(Layer::create(conv, weights.view(), nullptr, options, layer).ok());
    REQUIRE(layer.plan(x.view(), y.view(), plan, 3).ok());
    REQUIRE(plan.slots() == 3);
    const GuardedBuffer workspace(plan.workspace_bytes(), Guard::after);
    RunOptions run;
    run.workspace = workspace.data();
    run.workspace_bytes = workspace.bytes();
    run.parallel_for = watching;
    for (int turn = 0; turn < 5; ++turn) CHECK(layer.run(plan, x.view(), y.view(), run).ok());
    run.parallel_for = {};
    CHECK(layer.run(plan, x.view(), y.view(), run).ok());
    CHECK(control_bits() == own);
    CHECK(modes.changed == 0);
    CHECK(modes.calls > 0);
    for_each_index(y.view().shape, [&](const Dims<4>& i) { CHECK(at(y.view(), i) == 0.0F); });
    set_mode(at_start);
  }
}

}  // namespace fastconv::testing
