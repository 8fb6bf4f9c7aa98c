// SPDX-License-Identifier: Apache-2.0
// The C header: what c_api.c does with it in C99, and that it has all that the C++ headers have.
#include <doctest/doctest.h>
#include <fastconv/fastconv.h>

#include <cstring>
#include <fastconv/fastconv.hpp>
#include <string>
#include <utility>

#include "c_api.h"
#include "check.hpp"
#include "compare.hpp"

namespace fastconv::testing {
namespace {

std::string said(const char* (*part)()) {
  const char* wrong = part();
  return wrong == nullptr ? "" : wrong;
}

// How many values the library has names for.
template <class Enum>
int named(Enum) {
  int count = 0;
  while (std::strcmp(name(static_cast<Enum>(count)), "unknown") != 0) ++count;
  return count;
}

}  // namespace

TEST_SUITE("c_api") {
  TEST_CASE("in C99") {
    CHECK(said(c_convolves) == "");
    CHECK(said(c_plans_and_shares_out) == "");
    CHECK(said(c_counts_memory) == "");
    CHECK(said(c_names_and_helps) == "");
    CHECK(said(c_refuses) == "");
  }

  TEST_CASE("every field arrives: the bits of the same layer in C++") {
    Conv2d conv = conv_of(4, 6, {3, 2}, {1, 3, 0, 2}, 2);
    conv.stride = {1, 2};
    conv.dilation = {2, 1};
    conv.padding_mode = PaddingMode::circular;
    fastconv_descriptor descriptor = fastconv_descriptor_default();
    descriptor.in_channels = 4;
    descriptor.out_channels = 6;
    descriptor.groups = 2;
    descriptor.kernel_h = 3;
    descriptor.kernel_w = 2;
    descriptor.stride_w = 2;
    descriptor.dilation_h = 2;
    descriptor.padding.top = 1;
    descriptor.padding.bottom = 3;
    descriptor.padding.right = 2;
    descriptor.padding_mode = FASTCONV_PADDING_CIRCULAR;
    Pair size;
    REQUIRE(output_size(conv.window(), 7, 8, size).ok());
    Tensor x(Layout::nchw, {2, 4, 7, 8}), weights(Layout::nhwc, {6, 2, 3, 2});
    Tensor bias(Layout::nchw, {1, 6, 1, 1}), residual(Layout::nchw, {2, 6, size.h, size.w});
    const Tensor expected(Layout::nchw, {2, 6, size.h, size.w});
    const Tensor y(Layout::nchw, {2, 6, size.h, size.w});
    for (const auto& [tensor, seed] :
         {std::pair{&x, 1U}, {&weights, 2U}, {&bias, 3U}, {&residual, 4U}}) {
      fill_floats(tensor->view(), seed);
    }
    for (const bool last : {false, true}) {
      LayerOptions options;
      options.epilogue = {Activation::leaky_relu, -0.5F, 0.0F, last};
      PlannedLayer planned;
      REQUIRE(planned
                  .create(conv, weights.view(), bias.view().data, options, x.view(),
                          expected.view(), Guard::after)
                  .ok());
      planned.run_options.residual = residual.view();
      REQUIRE(planned.run(x.view(), expected.view()).ok());

      fastconv_layer_options c_options{};
      c_options.epilogue.activation = FASTCONV_ACTIVATION_LEAKY_RELU;
      c_options.epilogue.alpha = -0.5F;
      c_options.epilogue.residual_last = last;
      const fastconv_const_view c_weights = fastconv_ohwi(weights.view().data, 6, 2, 3, 2);
      const fastconv_const_view c_x = fastconv_const_nchw(x.view().data, 2, 4, 7, 8);
      const fastconv_view c_y = fastconv_nchw(y.view().data, 2, 6, size.h, size.w);
      fastconv_layer* c_layer = nullptr;
      fastconv_plan c_plan;
      fastconv_run_options c_run{};
      c_run.residual = fastconv_const_nchw(residual.view().data, 2, 6, size.h, size.w);
      REQUIRE(fastconv_layer_create(&descriptor, &c_weights, bias.view().data, &c_options, &c_layer,
                                    nullptr) == FASTCONV_OK);
      REQUIRE(fastconv_layer_plan(c_layer, &c_x, &c_y, 1, &c_plan, nullptr) == FASTCONV_OK);
      c_run.workspace = planned.run_options.workspace;
      c_run.workspace_bytes = fastconv_plan_workspace_bytes(&c_plan);
      CHECK(c_run.workspace_bytes == planned.plan.workspace_bytes());
      CHECK(fastconv_layer_run(c_layer, &c_plan, &c_x, &c_y, &c_run, nullptr) == FASTCONV_OK);
      fastconv_layer_destroy(c_layer);
      CHECK(compare_bits(y.view(), expected.view()).none());
    }
  }

  TEST_CASE("the C enums end where the C++ ones do") {
    CHECK(named(StatusCode{}) == FASTCONV_OUT_OF_MEMORY + 1);
    CHECK(named(Algorithm{}) == FASTCONV_ALGORITHM_WINOGRAD_F6 + 1);
    CHECK(named(Isa{}) == FASTCONV_ISA_NEON + 1);
    CHECK(named(PaddingMode{}) == FASTCONV_PADDING_CIRCULAR + 1);
    CHECK(named(Activation{}) == FASTCONV_ACTIVATION_GELU_TANH + 1);
  }
}

}  // namespace fastconv::testing
