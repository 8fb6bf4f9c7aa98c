// SPDX-License-Identifier: Apache-2.0
// Every refusal: its code, a sentence with the argument and the numbers, and an untouched output.
#include <doctest/doctest.h>

#include <cstring>
#include <fastconv/fastconv.hpp>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "call.hpp"
#include "compare.hpp"

namespace fastconv::testing {
namespace {

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();

struct Spoilt {
  std::function<void(Call&)> spoil;
  StatusCode code;
  Words words;
};

void check_all(const std::vector<Spoilt>& cases) {
  for (const Algorithm algorithm : general_algorithms()) {
    for (const Spoilt& c : cases) {
      CAPTURE(std::string(name(algorithm)));
      Call call;
      call.options.algorithm = algorithm;
      c.spoil(call);
      check_refusal(call.run(), c.code, c.words);
      CHECK(call.y_tensor.is_untouched());
    }
  }
}

}  // namespace

TEST_SUITE("bad_input") {
  TEST_CASE("the call that the others spoil is right") {
    Call call;
    const Status status = call.run();
    CHECK_MESSAGE(status.ok(), text(status));
    CHECK_FALSE(call.y_tensor.is_untouched());
  }

  TEST_CASE("descriptor") {
    const StatusCode invalid = StatusCode::invalid_argument;
    check_all({
        {[](Call& c) { c.conv.in_channels = 0; }, invalid, {"in_channels", "0"}},
        {[](Call& c) { c.conv.in_channels = -4; }, invalid, {"in_channels", "-4"}},
        {[](Call& c) { c.conv.out_channels = 0; }, invalid, {"out_channels", "0"}},
        {[](Call& c) { c.conv.out_channels = kMin; }, invalid, {"out_channels", "-9223372"}},
        {[](Call& c) {
           c.conv.kernel_size = {0, 2};
         },
         invalid,
         {"kernel_size", "0 x 2"}},
        {[](Call& c) {
           c.conv.kernel_size = {3, -2};
         },
         invalid,
         {"kernel_size", "3 x -2"}},
        {[](Call& c) { c.conv.stride = 0; }, invalid, {"stride", "0 x 0"}},
        {[](Call& c) {
           c.conv.stride = {1, -3};
         },
         invalid,
         {"stride", "1 x -3"}},
        {[](Call& c) {
           c.conv.dilation = {0, 1};
         },
         invalid,
         {"dilation", "0 x 1"}},
        {[](Call& c) { c.conv.padding = -1; }, invalid, {"padding", "-1"}},
        {[](Call& c) {
           c.conv.padding = {0, 0, 0, -7};
         },
         invalid,
         {"padding", "right -7"}},
        {[](Call& c) {
           c.conv.padding = {0, kMin, 0, 0};
         },
         invalid,
         {"padding", "bottom -92"}},
        {[](Call& c) { c.conv.groups = 0; }, invalid, {"groups", "0"}},
        {[](Call& c) { c.conv.groups = -1; }, invalid, {"groups", "-1"}},
        {[](Call& c) { c.conv.groups = 3; }, invalid, {"groups", "4", "6", "3"}},
        {[](Call& c) { c.conv.groups = 4; }, invalid, {"groups", "4", "6"}},
        {[](Call& c) { c.conv.padding_mode = static_cast<PaddingMode>(4); },
         invalid,
         {"padding_mode", "4"}},
        {[](Call& c) { c.conv.padding_mode = static_cast<PaddingMode>(-1); },
         invalid,
         {"padding_mode", "-1"}},
    });
  }

  TEST_CASE("shapes that do not fit") {
    const StatusCode mismatch = StatusCode::shape_mismatch;
    check_all({
        // The notebook's rule: channels match, or both numbers are named.
        {[](Call& c) { c.x.shape[1] = 3; }, mismatch, {"x", "3 channels", "in_channels 4"}},
        {[](Call& c) { c.conv.in_channels = 8; }, mismatch, {"weights", "6 x 4 x", "6 x 8 x"}},
        {[](Call& c) { c.conv.groups = 2; }, mismatch, {"weights", "6 x 4 x 3", "6 x 2 x 3"}},
        {[](Call& c) { c.weights.shape[0] = 5; }, mismatch, {"weights", "5 x 4 x 3 x 2"}},
        {[](Call& c) { c.weights.shape[3] = 1; }, mismatch, {"weights", "6 x 4 x 3 x 1"}},
        {[](Call& c) { c.weights.shape[2] = -1; }, mismatch, {"weights", "6 x 4 x -1 x 2"}},
        {[](Call& c) { c.y.shape[0] = 1; }, mismatch, {"y", "1 x 6 x 3 x 6", "2 x 6 x 3 x 6"}},
        {[](Call& c) { c.y.shape[1] = 5; }, mismatch, {"y", "2 x 5 x 3 x 6", "2 x 6 x 3 x 6"}},
        {[](Call& c) { c.y.shape[2] = 4; }, mismatch, {"y", "2 x 6 x 4 x 6", "2 x 6 x 3 x 6"}},
        {[](Call& c) { c.y.shape[3] = 0; }, mismatch, {"y", "2 x 6 x 3 x 0", "2 x 6 x 3 x 6"}},
        {[](Call& c) { c.conv.stride = 2; }, mismatch, {"y", "2 x 6 x 2 x 3"}},
        {[](Call& c) { c.x.shape[2] = 6; }, mismatch, {"y", "2 x 6 x 4 x 6"}},
    });
  }

  TEST_CASE("sizes that no image has") {
    const StatusCode invalid = StatusCode::invalid_argument;
    check_all({
        {[](Call& c) { c.x.shape[2] = -5; }, invalid, {"x", "-5", "axis 2"}},
        {[](Call& c) { c.x.shape[0] = -1; }, invalid, {"x", "-1", "axis 0"}},
        {[](Call& c) { c.y.shape[1] = kMin; }, invalid, {"y", "-9223372", "axis 1"}},
        {[](Call& c) { c.x.shape[2] = 0; }, invalid, {"height", "0"}},
        {[](Call& c) { c.x.shape[3] = 0; }, invalid, {"width", "0"}},
        // The window larger than the padded image.
        {[](Call& c) { c.x.shape[2] = 2; }, invalid, {"kernel_size", "3", "height", "2"}},
        {[](Call& c) { c.x.shape[3] = 1; }, invalid, {"kernel_size", "2", "width", "1"}},
        {[](Call& c) { c.conv.dilation = 3; }, invalid, {"kernel_size", "dilation 3", "7", "5"}},
        {[](Call& c) {
           c.x.shape[2] = 1, c.conv.padding = {1, 0, 0, 0};
         },
         invalid,
         {"kernel_size", "3", "padded height", "2"}},
    });
  }

  TEST_CASE("products beyond 64 bits") {
    const StatusCode overflow = StatusCode::overflow;
    check_all({
        {[](Call& c) {
           c.x.shape = {1, 4, kMax, 7};
         },
         overflow,
         {"x", "axis 2"}},
        {[](Call& c) {
           c.x.shape = {kMax, 4, 5, 7};
         },
         overflow,
         {"x"}},
        {[](Call& c) { c.y.shape[3] = kMax / 2; }, overflow, {"y", "axis 3"}},
        {[](Call& c) { c.x.strides[2] = kMax / 2; }, overflow, {"x", "strides"}},
        {[](Call& c) { c.x.strides[1] = kMin; }, overflow, {"x", "strides"}},
        {[](Call& c) { c.y.strides[0] = kMin; }, overflow, {"y", "strides"}},
        {[](Call& c) { c.weights.strides[0] = kMax; }, overflow, {"weights", "strides"}},
        {[](Call& c) {
           c.conv.padding = {kMax, 0, 0, 0};
         },
         overflow,
         {"height", "922337203"}},
        {[](Call& c) {
           c.conv.padding = {0, 0, kMax / 2, kMax / 2};
         },
         overflow,
         {"width", "461168601"}},
        {[](Call& c) {
           c.conv.dilation = {kMax, 1};
         },
         overflow,
         {"height", "dilation 922337"}},
    });
    // A descriptor that asks for more weights than there are addresses, of one element in memory.
    Call call;
    call.conv.in_channels = kMax;
    call.weights.shape[1] = kMax;
    call.weights.strides = {0, 0, 0, 0};
    check_refusal(call.run(), overflow, {"weights"});
    call.conv.in_channels = call.weights.shape[1] = std::int64_t{1} << 58;
    call.conv.kernel_size = 1;
    call.weights.shape = {6, std::int64_t{1} << 58, 1, 1};
    check_refusal(call.run(), overflow, {"weights"});
  }

  TEST_CASE("an output that only padding could fill has a bound, too") {
    // 2^40 + 5 rows of one channel each: the im2col matrix of this would pass 64 bits of bytes.
    const float data[1] = {};
    Conv2d conv;
    conv.in_channels = conv.out_channels = 1;
    conv.kernel_size = 1;
    conv.padding = std::int64_t{1} << 40;
    Layer layer;
    REQUIRE(Layer::create(conv, oihw(data, 1, 1, 1, 1), nullptr, {}, layer).ok());
    const std::int64_t side = (std::int64_t{1} << 41) + 1;
    float y[1] = {};
    Plan plan;
    check_refusal(layer.plan(nchw(data, 1, 1, 1, 1), nchw(y, 1, 1, side, side), plan),
                  StatusCode::overflow, {"y"});
  }

  TEST_CASE("null and misaligned data") {
    const StatusCode invalid = StatusCode::invalid_argument;
    const auto shifted = [](auto* pointer) {
      using Pointer = decltype(pointer);
      return reinterpret_cast<Pointer>(reinterpret_cast<std::uintptr_t>(pointer) + 1);
    };
    check_all({
        {[](Call& c) { c.x.data = nullptr; }, invalid, {"x", "null"}},
        {[](Call& c) { c.weights.data = nullptr; }, invalid, {"weights", "null"}},
        {[](Call& c) { c.y.data = nullptr; }, invalid, {"y", "null"}},
        {[&](Call& c) { c.x.data = shifted(c.x.data); }, invalid, {"x", "aligned", "4"}},
        {[&](Call& c) { c.weights.data = shifted(c.weights.data); },
         invalid,
         {"weights", "aligned", "4"}},
        {[&](Call& c) { c.y.data = shifted(c.y.data); }, invalid, {"y", "aligned", "4"}},
    });
  }

  TEST_CASE("views that leave their stated extent") {
    const StatusCode outside = StatusCode::out_of_bounds;
    // x has 280 elements, weights 144, y 216.
    check_all({
        {[](Call& c) { c.x = c.x.within(c.x.data, 279); }, outside, {"x", "279"}},
        {[](Call& c) { c.x = c.x.within(c.x.data + 1, 280); }, outside, {"x", "-1", "280"}},
        {[](Call& c) { c.x = c.x.within(c.x.data, 0); }, outside, {"x", "extent of 0"}},
        {[](Call& c) { c.x = c.x.within(c.x.data, -2); }, outside, {"x", "extent of -2"}},
        {[](Call& c) { c.x = c.x.within(nullptr, 99); }, outside, {"x", "extent of 99", "null"}},
        {[](Call& c) { c.x = c.x.within(c.x.data, 280).flip(3), c.x.data += 7; },
         outside,
         {"x", "280"}},
        {[](Call& c) { c.weights = c.weights.within(c.weights.data, 143); },
         outside,
         {"weights", "143"}},
        {[](Call& c) { c.y = c.y.within(c.y.data, 215); }, outside, {"y", "215"}},
        {[](Call& c) { c.y = c.y.within(c.y.data - 100, 315); }, outside, {"y", "100", "315"}},
    });
    Call call;
    call.x = call.x.within(call.x.data, 280).flip(1).flip(2);
    call.y = call.y.within(call.y.data - 10, 226);
    call.weights = call.weights.within(call.weights.data - 1, 145);
    const Status status = call.run();
    CHECK_MESSAGE(status.ok(), text(status));
  }

  TEST_CASE("enumerations out of range") {
    for (const int value : {-1, 99, 1 << 30, std::numeric_limits<int>::min()}) {
      CAPTURE(value);
      Call call;
      call.options.algorithm = static_cast<Algorithm>(value);
      check_refusal(call.run(), StatusCode::invalid_argument, {"algorithm", std::to_string(value)});
      call.options = {};
      call.options.isa = static_cast<Isa>(value);
      check_refusal(call.run(), StatusCode::invalid_argument, {"isa", std::to_string(value)});
      CHECK(call.y_tensor.is_untouched());
    }
  }

  TEST_CASE("an algorithm by name says what of a layer it does not take") {
    const auto refusal = [](Algorithm algorithm, Conv2d conv) {
      const std::vector<float> weights(16 * 16 * 9 * 4);
      LayerOptions options;
      options.algorithm = algorithm;
      options.isa = Isa::generic;
      const std::int64_t in = conv.in_channels / conv.groups;
      Layer layer;
      const Status status = Layer::create(conv, oihw(weights.data(), conv.out_channels, in, 3, 3),
                                          nullptr, options, layer);
      CHECK(std::strlen(status.message()) < Status::kMessageCapacity - 1);
      return status;
    };
    Conv2d conv;
    conv.in_channels = conv.out_channels = 64;
    conv.groups = 4;
    conv.kernel_size = 3;
    conv.stride = 2;
    conv.padding = Padding(0, 0, 3, 1);
    conv.padding_mode = PaddingMode::reflect;
    check_refusal(refusal(Algorithm::depthwise, conv), StatusCode::unsupported,
                  {"depthwise", "16 in, 16 out", "stride 2x2", "left 3, right 1"});
    conv.dilation = 2;
    check_refusal(refusal(Algorithm::winograd_f2, conv), StatusCode::unsupported,
                  {"winograd_f2", "stride 2x2, dilation 2x2", "reflect"});
    conv.padding_mode = PaddingMode::zeros;
    CHECK(refusal(Algorithm::winograd_f2, conv).ok());
  }

  TEST_CASE("batch 0 does nothing, with null data") {
    for (const Algorithm algorithm : general_algorithms()) {
      CAPTURE(std::string(name(algorithm)));
      Call call;
      call.options.algorithm = algorithm;
      call.x = {nullptr, {0, 4, 5, 7}, call.x.strides, nullptr, -1};
      call.y = {nullptr, {0, 6, 3, 6}, call.y.strides, nullptr, -1};
      Status status = call.run();
      CHECK_MESSAGE(status.ok(), text(status));
      call.y.data = call.y_tensor.view().data;
      status = call.run();
      CHECK_MESSAGE(status.ok(), text(status));
      CHECK(call.y_tensor.is_untouched());
      // The rest of the shape is looked at all the same.
      call.x.shape[1] = 3;
      check_refusal(call.run(), StatusCode::shape_mismatch, {"x", "3", "4"});
    }
  }

  TEST_CASE("an image without channels has an empty matrix, whatever its strides") {
    constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
    for (const auto function : {im2col, strided_im2col}) {
      const ConstTensorView x{nullptr, {2, 0, 5, 5}, {kMost, kMost, kMost, kMost}, nullptr, -1};
      const View<float, 3> matrix{nullptr, {2, 0, 9}, {kMost, kMost, kMost}, nullptr, -1};
      const Status status = function(x, Window{3}, matrix);
      CHECK_MESSAGE(status.ok(), text(status));
    }
  }

  TEST_CASE("im2col and the window view refuse as the layer does") {
    Tensor x(Layout::nchw, {1, 2, 4, 4});
    fill_integers(x.view(), 1);
    const Tensor storage(Layout::nchw, {1, 1, 8, 9});
    const View<float, 3> matrix = contiguous<float, 3>(storage.view().data, {1, 8, 9});
    for (const auto function : {im2col, strided_im2col}) {
      check_refusal(function(x.view(), {{2, 0}}, matrix), StatusCode::invalid_argument,
                    {"kernel_size", "2 x 0"});
      check_refusal(function(x.view(), {5}, matrix), StatusCode::invalid_argument,
                    {"kernel_size", "5", "4"});
      check_refusal(function(x.view(), {2, 2}, matrix), StatusCode::shape_mismatch,
                    {"matrix", "1 x 8 x 9", "1 x 8 x 4"});
      View<float, 3> wrong = matrix;
      wrong.strides[1] = 8;
      check_refusal(function(x.view(), {2}, wrong), StatusCode::overlap, {"matrix", "8 by 8"});
      wrong = matrix;
      wrong.data = nullptr;
      check_refusal(function(x.view(), {2}, wrong), StatusCode::invalid_argument,
                    {"matrix", "null"});
      check_refusal(function(x.view(), {2}, matrix.within(matrix.data, 71)),
                    StatusCode::out_of_bounds, {"matrix", "71"});
      wrong = matrix;
      wrong.data = x.view().data;
      check_refusal(function(x.view(), {2}, wrong), StatusCode::overlap, {"matrix", "x"});
      ConstTensorView null = x.view();
      null.data = nullptr;
      check_refusal(function(null, {2}, matrix), StatusCode::invalid_argument, {"x", "null"});
      ConstTensorView huge = null;
      huge.shape = {1, kMax, 4, 4};
      check_refusal(function(huge, {2}, matrix), StatusCode::overflow, {"x"});
    }
    CHECK(storage.is_untouched());
    View<const float, 6> windows;
    check_refusal(window_view(x.view(), {5}, windows), StatusCode::invalid_argument,
                  {"kernel_size", "5", "4"});
    CHECK(windows.data == nullptr);
  }

  TEST_CASE("a padded image whose copy 64 bits cannot count") {
    constexpr std::int64_t k61 = (std::int64_t{1} << 61) - 1;
    constexpr std::int64_t k58 = (std::int64_t{1} << 58) - 1;
    constexpr std::int64_t k32 = std::int64_t{1} << 32;
    const struct {
      std::int64_t groups, h, w;
      Pair kernel, dilation;
      Padding padding;
      bool nhwc;
    } cases[] = {
        {1, 8, 1, {8, 2}, {1, k61}, {0, 0, k61, 0}, false},
        {2, 2, 2, 2, {k32 - 2, k32 - 17}, {k32 - 2, 0, k32 - 17, 0}, false},
        {2, 8, 1, {8, 2}, {1, k58}, {0, 0, k58, 0}, true},
    };
    for (const auto& c : cases) {
      const float x[32] = {};
      const float weights[32] = {};
      float y[8] = {7, 7, 7, 7, 7, 7, 7, 7};
      Pair output;
      REQUIRE(
          output_size({c.kernel, 1, c.padding, c.dilation, PaddingMode::zeros}, c.h, c.w, output)
              .ok());
      const Status status =
          conv2d(c.nhwc ? nhwc(x, 1, c.groups, c.h, c.w) : nchw(x, 1, c.groups, c.h, c.w),
                 oihw(weights, c.groups, 1, c.kernel.h, c.kernel.w), nullptr,
                 c.nhwc ? nhwc(y, 1, c.groups, output.h, output.w)
                        : nchw(y, 1, c.groups, output.h, output.w),
                 1, c.padding, c.dilation, c.groups);
      CHECK(status.code() == StatusCode::overflow);
      CHECK(std::string(status.message()).find("padding") != std::string::npos);
      for (const float value : y) CHECK(value == 7.0F);
    }
    Padding padding;
    CHECK(same_padding(2, 1, INT64_MAX, 1, 1, padding, true).ok());
    CHECK(padding.top == padding.bottom + 1);
  }
}

}  // namespace fastconv::testing
