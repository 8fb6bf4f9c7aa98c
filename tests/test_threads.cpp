// SPDX-License-Identifier: Apache-2.0
// One call on several threads: the same bits whoever runs the tasks, in any order.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fastconv/fastconv.hpp>
#include <fastconv/openmp.hpp>
#include <fastconv/thread_pool.hpp>
#include <string>
#include <thread>
#include <vector>

#include "allocations.hpp"
#include "check.hpp"
#include "compare.hpp"

namespace fastconv::testing {
namespace {

// Orders in which one thread may run the tasks, and what slots it may give.
enum class Order { forward, backward, shuffled, slots_in_turn };

struct Serial {
  Order order = Order::forward;
  std::int64_t tasks = 0;  // of the last call
  int slots = 0;

  static void run(void* context, std::int64_t tasks, int slots, ParallelFor::Body body,
                  void* data) {
    auto& self = *static_cast<Serial*>(context);
    self.tasks = tasks;
    self.slots = slots;
    std::vector<std::int64_t> order(static_cast<std::size_t>(tasks));
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int64_t>(i);
    if (self.order == Order::backward) std::reverse(order.begin(), order.end());
    if (self.order == Order::shuffled) {
      for (std::size_t i = order.size(); i > 1; --i) {
        std::swap(order[i - 1], order[random_bits(7, i) % i]);
      }
    }
    for (const std::int64_t task : order) {
      body(data, task, self.order == Order::slots_in_turn ? static_cast<int>(task % slots) : 0);
    }
  }
  ParallelFor parallel_for() { return {run, this}; }
};

// Shapes whose work lies in different places: pixels, channels, groups, images, one row.
struct Shape {
  std::int64_t n, c, k, groups, h, w;
  Pair kernel;
  Pair stride;
};
constexpr Shape kShapes[] = {
    {1, 16, 32, 1, 40, 41, {3, 3}, {1, 1}},  {1, 300, 150, 1, 7, 7, {1, 1}, {1, 1}},
    {3, 24, 24, 24, 31, 30, {3, 3}, {1, 1}}, {2, 12, 20, 4, 33, 29, {2, 3}, {2, 1}},
    {5, 40, 40, 1, 9, 9, {3, 3}, {1, 1}},    {1, 40, 70, 1, 1, 300, {1, 5}, {1, 1}},
    {1, 9, 72, 9, 14, 56, {5, 5}, {1, 1}},   {1, 200, 200, 200, 14, 56, {5, 5}, {1, 1}},
};

// One layer on one shape, and what one thread makes of it.
struct Case {
  Case(const Shape& s, Layout layout, const LayerOptions& options)
      : x(layout, {s.n, s.c, s.h, s.w}),
        residual(layout, output_shape(s)),
        expected(layout, output_shape(s)),
        y(layout, output_shape(s)) {
    Conv2d conv = descriptor(s);
    const Tensor weights(Layout::nchw, {s.k, s.c / s.groups, s.kernel.h, s.kernel.w});
    const Tensor bias(Layout::nchw, {1, s.k, 1, 1});
    fill_floats(x.view(), 1);
    fill_floats(weights.view(), 2);
    fill_floats(bias.view(), 3);
    fill_floats(residual.view(), 4);
    const Status status = Layer::create(conv, weights.view(), bias.view().data, options, layer);
    REQUIRE_MESSAGE(status.ok(), text(status));
    REQUIRE(layer.plan(x.view(), expected.view(), plan).ok());
    const Status ran = run(expected, {});
    REQUIRE_MESSAGE(ran.ok(), text(ran));
  }

  static Conv2d descriptor(const Shape& s) {
    Conv2d conv;
    conv.in_channels = s.c;
    conv.out_channels = s.k;
    conv.groups = s.groups;
    conv.kernel_size = s.kernel;
    conv.stride = s.stride;
    conv.padding = {s.kernel.h / 2, s.kernel.w / 2};
    return conv;
  }
  static Dims<4> output_shape(const Shape& s) {
    Pair output;
    REQUIRE(output_size(descriptor(s).window(), s.h, s.w, output).ok());
    return {s.n, s.k, output.h, output.w};
  }

  void plan_for(int threads) { REQUIRE(layer.plan(x.view(), y.view(), plan, threads).ok()); }

  Status run(const Tensor& out, const ParallelFor& parallel_for) const {
    const GuardedBuffer workspace(plan.workspace_bytes(), Guard::after);
    RunOptions options;
    options.workspace = workspace.data();
    options.workspace_bytes = workspace.bytes();
    options.parallel_for = parallel_for;
    options.residual = residual.bounded();
    return layer.run(plan, x.bounded(), out.bounded(), options);
  }

  void check(const ParallelFor& parallel_for) const {
    fill_with(y.view(), -9.0F);
    const Status status = run(y, parallel_for);
    REQUIRE_MESSAGE(status.ok(), text(status));
    const Difference difference = compare_bits(y.view(), expected.view());
    CHECK_MESSAGE(difference.none(), difference.text());
  }

  Tensor x, residual, expected, y;
  Layer layer;
  Plan plan;
};

template <class Function>
void for_each_case(Function function) {
  for (const Shape& shape : kShapes) {
    for (const Layout layout : {Layout::nchw, Layout::nhwc, Layout::crop}) {
      CAPTURE(shape.c);
      CAPTURE(shape.k);
      CAPTURE(std::string(name(layout)));
      LayerOptions options;
      options.epilogue.activation = Activation::leaky_relu;
      options.epilogue.alpha = 0.125F;
      Case one(shape, layout, options);
      function(one);
    }
  }
}

// A job that counts what it is given.
struct Counts {
  explicit Counts(std::int64_t tasks, int slots_)
      : runs(static_cast<std::size_t>(tasks)), in_slot(static_cast<std::size_t>(slots_)) {}
  static void body(void* data, std::int64_t task, int slot) {
    auto& self = *static_cast<Counts*>(data);
    if (slot < 0 || slot >= static_cast<int>(self.in_slot.size())) {
      ++self.wrong;
      return;
    }
    if (++self.in_slot[static_cast<std::size_t>(slot)] != 1) ++self.wrong;
    ++self.runs[static_cast<std::size_t>(task)];
    --self.in_slot[static_cast<std::size_t>(slot)];
  }
  bool right() const {
    const auto once = [](const std::atomic<int>& count) { return count == 1; };
    return wrong == 0 && std::all_of(runs.begin(), runs.end(), once);
  }
  std::vector<std::atomic<int>> runs;
  std::vector<std::atomic<int>> in_slot;
  std::atomic<int> wrong{0};
};

void check_counts(const ParallelFor& parallel_for) {
  for (const std::int64_t tasks : {0, 1, 2, 3, 17, 1000}) {
    for (const int slots : {1, 2, 3, 7}) {
      Counts counts(tasks, slots);
      parallel_for.run(parallel_for.context, tasks, slots, Counts::body, &counts);
      CHECK(counts.right());
    }
  }
}

#if defined(_OPENMP)
// ThreadSanitizer does not see what OpenMP's library synchronises.
#if defined(__SANITIZE_THREAD__)
constexpr bool kSanitizesThreads = true;
#elif defined(__has_feature)
constexpr bool kSanitizesThreads = __has_feature(thread_sanitizer);
#else
constexpr bool kSanitizesThreads = false;
#endif
#endif

}  // namespace

TEST_SUITE("threads") {
  TEST_CASE("1, 2, 3 and 7 threads give the bits of one") {
    ThreadPool pools[] = {ThreadPool(1), ThreadPool(2), ThreadPool(3), ThreadPool(7)};
    for_each_case([&](Case& c) {
      for (ThreadPool& pool : pools) {
        CAPTURE(pool.threads());
        c.plan_for(pool.threads());
        CHECK(c.plan.slots() <= pool.threads());
        c.check(pool.parallel_for());
      }
    });
  }

  TEST_CASE("tasks one after the other, in any order, on any slots") {
    for_each_case([](Case& c) {
      for (const int threads : {2, 7}) {
        c.plan_for(threads);
        for (const Order order :
             {Order::forward, Order::backward, Order::shuffled, Order::slots_in_turn}) {
          Serial serial{order};
          c.check(serial.parallel_for());
          CHECK(serial.slots == (c.plan.slots() > 1 ? c.plan.slots() : 0));
          CHECK(serial.tasks >= serial.slots);
        }
        c.check({});  // planned for several and run by one
      }
    });
  }

  TEST_CASE("every tested level and algorithm gives the bits of one thread") {
    ThreadPool pool(3);
    for (const Isa isa : tested_isas()) {
      for (const Algorithm algorithm : general_algorithms()) {
        if (!depends_on_isa(algorithm) && isa != Isa::generic) continue;
        CAPTURE(std::string(name(algorithm)));
        CAPTURE(std::string(name(isa)));
        LayerOptions options;
        options.algorithm = algorithm;
        options.isa = isa;
        Case c({2, 9, 20, 1, 14, 15, {3, 3}, {1, 1}}, Layout::nchw, options);
        c.plan_for(3);
        c.check(pool.parallel_for());
      }
    }
  }

  TEST_CASE("one image of few rows is shared out, and tiny work is not") {
    Case small({1, 3, 4, 1, 6, 6, {3, 3}, {1, 1}}, Layout::nchw, {});
    small.plan_for(4);
    CHECK(small.plan.slots() == 1);
    for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
      Case flat({1, 512, 512, 1, 7, 7, {3, 3}, {1, 1}}, layout, {});
      Case line({1, 64, 64, 1, 1, 2000, {1, 3}, {1, 1}}, layout, {});
      for (Case* c : {&flat, &line}) {
        c->plan_for(4);
        CHECK(c->plan.slots() == 4);
        Serial serial;
        c->check(serial.parallel_for());
        CHECK(serial.tasks >= 4);
      }
    }
  }

  TEST_CASE("a task too many, another's, one left out or run twice is noticed") {
    Case c(kShapes[0], Layout::nhwc, {});
    c.plan_for(4);
    REQUIRE(c.plan.slots() > 1);
    using Run = void (*)(void*, std::int64_t, int, ParallelFor::Body, void*);
    const struct {
      Run run;
      const char* word;
    } bad[] = {{[](void*, std::int64_t tasks, int, ParallelFor::Body body, void* data) {
                  for (std::int64_t task = 0; task <= tasks; ++task) body(data, task, 0);
                },
                "passed task"},
               {[](void*, std::int64_t tasks, int, ParallelFor::Body body, void* data) {
                  for (std::int64_t task = -1; task < tasks; ++task) body(data, task, 0);
                },
                "passed task -1"},
               {[](void*, std::int64_t tasks, int, ParallelFor::Body body, void* data) {
                  for (std::int64_t task = 1; task < tasks; ++task) body(data, task, 0);
                },
                "once"},
               {[](void*, std::int64_t tasks, int, ParallelFor::Body body, void* data) {
                  for (std::int64_t i = 0; i < tasks; ++i) body(data, 0, 0);
                },
                "once"},
               {[](void*, std::int64_t tasks, int, ParallelFor::Body body, void* data) {
                  // One for another, and that for the first: their numbers' sum is the same.
                  for (std::int64_t i = 0; i < tasks; ++i) {
                    body(data, i == 0 ? 1 : i == 3 ? 2 : i, 0);
                  }
                },
                "once"},
               {[](void*, std::int64_t, int, ParallelFor::Body, void*) {}, "once"}};
    for (const auto& one : bad) {
      const Status status = c.run(c.y, {one.run, nullptr});
      CHECK(status.code() == StatusCode::invalid_argument);
      CHECK_MESSAGE(std::string(status.message()).find(one.word) != std::string::npos,
                    text(status));
    }
    CHECK(c.y.gaps_are_untouched());
  }

  TEST_CASE("a slot that the plan does not have is refused") {
    Case c(kShapes[0], Layout::nchw, {});
    c.plan_for(2);
    REQUIRE(c.plan.slots() == 2);
    for (const int wrong : {-1, 2, 1 << 30}) {
      int slot = wrong;
      const ParallelFor stray{
          [](void* context, std::int64_t tasks, int, ParallelFor::Body body, void* data) {
            for (std::int64_t task = 0; task < tasks; ++task) {
              body(data, task, *static_cast<int*>(context));
            }
          },
          &slot};
      const Status status = c.run(c.y, stray);
      CHECK(status.code() == StatusCode::invalid_argument);
      const std::string message = status.message();
      CHECK(message.find("slot " + std::to_string(wrong)) != std::string::npos);
    }
    CHECK(c.layer.plan(c.x.view(), c.y.view(), c.plan, 0).code() == StatusCode::invalid_argument);
    CHECK(c.layer.plan(c.x.view(), c.y.view(), c.plan, -3).code() == StatusCode::invalid_argument);
  }

  TEST_CASE("a workspace one byte too small for all slots") {
    Case c(kShapes[0], Layout::nchw, {});
    c.plan_for(3);
    const std::int64_t needed = c.plan.workspace_bytes();
    REQUIRE(needed > 0);
    const GuardedBuffer workspace(needed, Guard::after);
    RunOptions options;
    options.workspace = workspace.data();
    options.workspace_bytes = needed - 1;
    const Tensor y(Layout::nchw, c.y.view().shape);
    const Status status = c.layer.run(c.plan, c.x.view(), y.view(), options);
    CHECK(status.code() == StatusCode::workspace_too_small);
    CHECK(std::string(status.message()).find(std::to_string(needed)) != std::string::npos);
    CHECK(y.is_untouched());
  }

  TEST_CASE("the thread pool runs every task once, on slots that nobody else has") {
    for (const int threads : {1, 2, 3, 7}) {
      ThreadPool pool(threads);
      CHECK(pool.threads() == threads);
      for (int turn = 0; turn < 20; ++turn) check_counts(pool.parallel_for());
    }
    CHECK(ThreadPool().threads() >= 1);
  }

  TEST_CASE("the thread pool sleeps and wakes") {
    ThreadPool pool(3);
    for (int turn = 0; turn < 10; ++turn) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      check_counts(pool.parallel_for());
    }
  }

  TEST_CASE("calls of the thread pool from its tasks and from many threads") {
    ThreadPool pool(3);
    const ParallelFor parallel_for = pool.parallel_for();
    struct Outer {
      const ParallelFor& inner;
      std::atomic<int> wrong{0};
    } outer{parallel_for};
    const auto nested = [](void* data, std::int64_t, int) {
      auto& self = *static_cast<Outer*>(data);
      Counts counts(20, 3);
      self.inner.run(self.inner.context, 20, 3, Counts::body, &counts);
      if (!counts.right()) ++self.wrong;
    };
    parallel_for.run(parallel_for.context, 30, 3, nested, &outer);
    std::vector<std::thread> callers;
    for (int i = 0; i < 4; ++i) {
      callers.emplace_back([&] {
        for (int turn = 0; turn < 200; ++turn) nested(&outer, 0, 0);
      });
    }
    for (std::thread& caller : callers) caller.join();
    CHECK(outer.wrong == 0);
  }

  TEST_CASE("neither run nor the thread pool allocates") {
    if (!counts_allocations()) return;
    ThreadPool pool(3);
    Case c(kShapes[0], Layout::nchw, {});
    c.plan_for(3);
    const GuardedBuffer workspace(c.plan.workspace_bytes(), Guard::after);
    RunOptions options;
    options.workspace = workspace.data();
    options.workspace_bytes = workspace.bytes();
    options.parallel_for = pool.parallel_for();
    const std::int64_t before = allocations();
    const Status status = c.layer.run(c.plan, c.x.view(), c.y.view(), options);
    const std::int64_t after = allocations();
    CHECK(status.ok());
    CHECK(after == before);
  }

#if defined(_OPENMP)
  TEST_CASE("OpenMP runs every task once, and gives the bits of one thread") {
    if (kSanitizesThreads) return;
    check_counts(openmp_parallel_for());
    for_each_case([](Case& c) {
      for (const int threads : {2, 3}) {
        c.plan_for(threads);
        c.check(openmp_parallel_for());
      }
    });
  }
#endif

  TEST_CASE("a few layers, each from many threads at once, each call on several") {
    constexpr std::size_t kCallers = 6;
    constexpr std::size_t kLayers = 3;
    ThreadPool pool(3);
    std::vector<Case> cases;
    for (std::size_t i = 0; i < kLayers; ++i) {
      cases.emplace_back(kShapes[i + 2], i == 1 ? Layout::nhwc : Layout::nchw, LayerOptions{});
      cases.back().plan_for(3);
    }
    std::vector<Tensor> outputs;
    for (std::size_t i = 0; i < kCallers * kLayers; ++i) {
      const Case& c = cases[i % kLayers];
      outputs.emplace_back(c.y.view().shape, c.y.view().strides);
    }
    std::vector<int> failures(kCallers);
    std::vector<std::thread> callers;
    for (std::size_t i = 0; i < kCallers; ++i) {
      callers.emplace_back([&, i] {
        for (std::size_t turn = 0; turn < 4 * kLayers; ++turn) {
          const Case& c = cases[(i + turn) % kLayers];
          const Tensor& y = outputs[i * kLayers + (i * kLayers + i + turn) % kLayers];
          const Tensor own(c.y.view().shape, c.y.view().strides);
          const Tensor& out = y.view().shape == c.y.view().shape ? y : own;
          if (!c.run(out, pool.parallel_for()).ok() ||
              !compare_bits(out.view(), c.expected.view()).none()) {
            ++failures[i];
          }
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
    CHECK(failures == std::vector<int>(kCallers, 0));
  }

  TEST_CASE("one layer, any batch, height and width") {
    ThreadPool pool(3);
    for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
      Conv2d conv;
      conv.in_channels = 6;
      conv.out_channels = 19;
      conv.kernel_size = 3;
      conv.padding = 1;
      conv.stride = {1, 2};
      const Tensor weights(Layout::nchw, {19, 6, 3, 3});
      fill_integers(weights.view(), 5);
      Layer layer, naive;
      LayerOptions options;
      REQUIRE(Layer::create(conv, weights.view(), nullptr, options, layer).ok());
      options.algorithm = Algorithm::naive;
      REQUIRE(Layer::create(conv, weights.view(), nullptr, options, naive).ok());
      for (std::int64_t turn = 0; turn < 24; ++turn) {
        const std::int64_t n = turn % 4, h = 1 + turn * 5 % 37, w = 1 + turn * 7 % 41;
        CAPTURE(n);
        CAPTURE(h);
        CAPTURE(w);
        const Tensor x(layout, {n, 6, h, w}), y(layout, {n, 19, h, (w + 1) / 2});
        const Tensor expected(layout, y.view().shape);
        fill_integers(x.view(), static_cast<std::uint64_t>(turn));
        Plan plan;
        REQUIRE(layer.plan(x.view(), y.view(), plan, 3).ok());
        const GuardedBuffer workspace(plan.workspace_bytes(), Guard::after);
        RunOptions run;
        run.workspace = workspace.data();
        run.workspace_bytes = workspace.bytes();
        run.parallel_for = pool.parallel_for();
        const Status status = layer.run(plan, x.view(), y.view(), run);
        REQUIRE_MESSAGE(status.ok(), text(status));
        REQUIRE(naive.run(x.view(), expected.view()).ok());
        CHECK(compare_exact(y.view(), expected.view()).none());
      }
    }
  }
}

}  // namespace fastconv::testing
