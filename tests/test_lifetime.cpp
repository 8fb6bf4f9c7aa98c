// SPDX-License-Identifier: Apache-2.0
// Layers and plans: which belong together, where they move, and that a refusal leaves them alone.
#include <doctest/doctest.h>

#include <fastconv/fastconv.hpp>
#include <string>
#include <utility>
#include <vector>

#include "call.hpp"

namespace fastconv::testing {

TEST_SUITE("lifetime") {
  TEST_CASE("layers and plans that do not belong together") {
    Call call;
    const StatusCode invalid = StatusCode::invalid_argument;
    Layer empty, first, second;
    Plan plan;
    check_refusal(empty.plan(call.x, call.y, plan), invalid, {"layer", "empty"});
    check_refusal(empty.run(call.x, call.y), invalid, {"layer", "empty"});
    check_refusal(empty.run(plan, call.x, call.y), invalid, {"layer", "empty"});
    REQUIRE(call.create(first).ok());
    REQUIRE(call.create(second).ok());
    check_refusal(first.run(plan, call.x, call.y), invalid, {"plan"});
    REQUIRE(first.plan(call.x, call.y, plan).ok());
    std::vector<char> workspace(static_cast<std::size_t>(plan.workspace_bytes()));
    const RunOptions options{workspace.data(), plan.workspace_bytes()};
    check_refusal(second.run(plan, call.x, call.y, options), invalid, {"plan"});
    check_refusal(empty.run(plan, call.x, call.y, options), invalid, {"layer", "empty"});
    CHECK(call.y_tensor.is_untouched());

    // What is in the views has to be what was planned, except for the data.
    const auto with = [](auto view, int what, std::size_t axis) {
      (what == 0 ? view.shape : view.strides)[axis] -= 1;
      return view;
    };
    for (const int what : {0, 1}) {
      for (const std::size_t axis : {0U, 1U, 2U, 3U}) {
        check_refusal(first.run(plan, with(call.x, what, axis), call.y, options),
                      StatusCode::shape_mismatch, {"x", "plan"});
        check_refusal(first.run(plan, call.x, with(call.y, what, axis), options),
                      StatusCode::shape_mismatch, {"y", "plan"});
      }
    }
    CHECK(call.y_tensor.is_untouched());
    CHECK(first.run(plan, call.x, call.y, options).ok());
  }

  TEST_CASE("a plan outlived by its layer is no plan of the next layer at the same address") {
    Call call;
    for (int attempt = 0; attempt < 8; ++attempt) {
      Plan plan;
      {
        Layer gone;
        REQUIRE(call.create(gone).ok());
        REQUIRE(gone.plan(call.x, call.y, plan).ok());
      }
      Layer next;  // malloc likes to hand out what was just freed
      REQUIRE(call.create(next).ok());
      std::vector<char> workspace(static_cast<std::size_t>(plan.workspace_bytes()));
      check_refusal(next.run(plan, call.x, call.y, {workspace.data(), plan.workspace_bytes()}),
                    StatusCode::invalid_argument, {"plan"});
    }
    CHECK(call.y_tensor.is_untouched());
  }

  TEST_CASE("a failed create leaves the layer as it was") {
    Call call;
    Layer layer;
    REQUIRE(call.create(layer).ok());
    Plan plan;
    REQUIRE(layer.plan(call.x, call.y, plan).ok());
    call.conv.groups = 0;
    CHECK_FALSE(call.create(layer).ok());
    std::vector<char> workspace(static_cast<std::size_t>(plan.workspace_bytes()));
    CHECK(layer.run(plan, call.x, call.y, {workspace.data(), plan.workspace_bytes()}).ok());
  }

  TEST_CASE("a failed plan leaves the plan as it was") {
    Call call;
    Layer layer;
    Plan plan;
    REQUIRE(call.create(layer).ok());
    REQUIRE(layer.plan(call.x, call.y, plan).ok());
    const std::string before = plan.explain().text;
    TensorView wrong = call.y;
    wrong.shape[1] = 7;
    CHECK_FALSE(layer.plan(call.x, wrong, plan).ok());
    CHECK(std::string(plan.explain().text) == before);
  }

  TEST_CASE("moved layers") {
    Call call;
    Layer first;
    REQUIRE(call.create(first).ok());
    Plan plan;
    REQUIRE(first.plan(call.x, call.y, plan).ok());
    std::vector<char> workspace(static_cast<std::size_t>(plan.workspace_bytes()));
    const RunOptions options{workspace.data(), plan.workspace_bytes()};
    Layer second = std::move(first);
    check_refusal(first.plan(call.x, call.y, plan),  // NOLINT(bugprone-use-after-move)
                  StatusCode::invalid_argument, {"layer", "empty"});
    check_refusal(first.run(plan, call.x, call.y, options), StatusCode::invalid_argument,
                  {"layer", "empty"});
    CHECK(call.y_tensor.is_untouched());
    CHECK(second.run(plan, call.x, call.y, options).ok());  // the plan goes with the weights
    Layer third;
    third = std::move(second);
    CHECK(third.run(plan, call.x, call.y, options).ok());
    Layer& same = third;
    third = std::move(same);
    CHECK(third.run(plan, call.x, call.y, options).ok());
  }
}

}  // namespace fastconv::testing
