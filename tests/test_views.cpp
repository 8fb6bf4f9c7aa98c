// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <fastconv/fastconv.hpp>
#include <limits>
#include <type_traits>
#include <vector>

#include "check.hpp"

namespace fastconv::testing {
namespace {

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();

// Views are values that a compiler can compute with.
constexpr float kPixels[24] = {};
constexpr ConstTensorView kImage = nchw(kPixels, 1, 2, 3, 4);
static_assert(kImage.slice(3, 1, 2).data == kPixels + 1);
static_assert(kImage.flip(2).strides[2] == -4);
static_assert(kImage.broadcast(0, 5).shape[0] == 5);
static_assert(kImage.permute({0, 2, 3, 1}).shape[3] == 2);
static_assert(kImage.within(kPixels, 24).extent_size == 24);
static_assert(kImage.slice(3, 3, 2).shape[3] == -1);
static_assert(Conv2d{}.stride.h == 1 && Conv2d{}.groups == 1);
static_assert(Padding(1, 2).left == 2 && Padding(1, 2).bottom == 1);

// Element (i0, i1, i2, i3) of shape (2, 3, 4, 5) holds the number that its digits spell.
float spelled(const Dims<4>& i) {
  return static_cast<float>(1000 * i[0] + 100 * i[1] + 10 * i[2] + i[3]);
}

constexpr Dims<4> kShape{2, 3, 4, 5};

class Digits {
 public:
  Digits() : values_(120) {
    for_each_index(kShape, [&](const Dims<4>& i) { at(view(), i) = spelled(i); });
  }
  TensorView view() { return nchw(values_.data(), 2, 3, 4, 5); }

 private:
  std::vector<float> values_;
};

// True if no call that takes the view accepts it, and each says why.
bool is_refused(const TensorView& y) {
  const float weight = 1.0F;
  float x[4] = {};
  const Status as_x = conv2d(y, oihw(&weight, 1, 1, 1, 1), nullptr, nchw(x, 1, 1, 2, 2));
  const Status as_y = conv2d(nchw(x, 1, 1, 2, 2), oihw(&weight, 1, 1, 1, 1), nullptr, y);
  return !as_x.ok() && !as_y.ok() && as_x.message()[0] != '\0' && as_y.message()[0] != '\0';
}

}  // namespace

TEST_SUITE("views") {
  TEST_CASE("makers") {
    float data[120];
    CHECK(nchw(data, 2, 3, 4, 5).strides == Dims<4>{60, 20, 5, 1});
    CHECK(nhwc(data, 2, 3, 4, 5).shape == Dims<4>{2, 3, 4, 5});
    CHECK(nhwc(data, 2, 3, 4, 5).strides == Dims<4>{60, 1, 15, 3});
    CHECK(oihw(data, 2, 3, 4, 5).strides == Dims<4>{60, 20, 5, 1});
    CHECK(ohwi(data, 2, 3, 4, 5).shape == Dims<4>{2, 3, 4, 5});
    CHECK(ohwi(data, 2, 3, 4, 5).strides == Dims<4>{60, 1, 15, 3});
    CHECK(hwio(data, 2, 3, 4, 5).shape == Dims<4>{2, 3, 4, 5});
    CHECK(hwio(data, 2, 3, 4, 5).strides == Dims<4>{1, 2, 30, 6});
    CHECK(contiguous<float, 3>(data, {4, 5, 6}).strides == Dims<3>{30, 6, 1});
    const TensorView made = nchw(data, 2, 3, 4, 5);
    CHECK(made.data == data);
    CHECK(made.extent_begin == nullptr);
    CHECK(made.extent_size == -1);
    const ConstTensorView seen = made.within(data, 120);
    CHECK(seen.data == data);
    CHECK(seen.extent_begin == data);
    CHECK(seen.extent_size == 120);
  }

  TEST_CASE("slice takes what it says, in either direction") {
    Digits digits;
    const struct {
      std::size_t axis;
      std::int64_t begin, count, step;
    } cases[] = {{0, 1, 1, 1},  {1, 0, 2, 2}, {2, 1, 3, 1},  {3, 0, 3, 2}, {3, 4, 5, -1},
                 {2, 3, 2, -3}, {3, 4, 1, 7}, {3, 2, 1, -9}, {1, 2, 3, -1}};
    for (const auto& c : cases) {
      CAPTURE(c.axis);
      CAPTURE(c.begin);
      CAPTURE(c.step);
      const TensorView slice = digits.view().slice(c.axis, c.begin, c.count, c.step);
      Dims<4> shape = kShape;
      shape[c.axis] = c.count;
      REQUIRE(slice.shape == shape);
      for_each_index(shape, [&](const Dims<4>& i) {
        Dims<4> source = i;
        source[c.axis] = c.begin + i[c.axis] * c.step;
        CHECK(at(slice, i) == spelled(source));
      });
    }
  }

  TEST_CASE("slices of slices, flips of flips") {
    Digits digits;
    const TensorView inner =
        digits.view().slice(3, 0, 3, 2).slice(3, 1, 2).slice(2, 3, 4, -1).slice(2, 0, 2, 3);
    CHECK(inner.shape == Dims<4>{2, 3, 2, 2});
    CHECK(at(inner, {1, 2, 0, 0}) == 1232.0F);
    CHECK(at(inner, {1, 2, 1, 1}) == 1204.0F);
    const TensorView twice = digits.view().flip(1).flip(1);
    CHECK(twice.data == digits.view().data);
    CHECK(twice.strides == digits.view().strides);
    CHECK(at(digits.view().flip(0).flip(3), {0, 1, 2, 0}) == 1124.0F);
  }

  TEST_CASE("empty slices are legal and keep the data pointer") {
    Digits digits;
    for (const std::int64_t begin : {0, 3, 5}) {
      const TensorView none = digits.view().slice(3, begin, 0);
      CHECK(none.shape == Dims<4>{2, 3, 4, 0});
      CHECK(none.data == digits.view().data);
    }
    CHECK(digits.view().slice(3, 0, 0).flip(3).shape[3] == 0);
    const TensorView nothing = nchw(static_cast<float*>(nullptr), 0, 3, 4, 5);
    CHECK(nothing.slice(1, 2, 1).data == nullptr);
    CHECK(nothing.slice(0, 0, 0).shape[0] == 0);
  }

  TEST_CASE("impossible slices are marked and refused by every call") {
    float data[4] = {};
    const TensorView view = nchw(data, 1, 1, 2, 2);
    const struct {
      std::size_t axis;
      std::int64_t begin, count, step;
    } cases[] = {{3, 0, 3, 1},         {3, -1, 1, 1},   {3, 2, 1, 1},    {3, 3, 0, 1},
                 {3, 0, -1, 1},        {3, 0, 1, 0},    {3, 0, 2, -1},   {3, 1, 2, 1},
                 {3, 0, 2, 2},         {3, kMax, 1, 1}, {3, kMin, 1, 1}, {3, 0, kMax, 1},
                 {3, 0, kMin, 1},      {3, 0, 2, kMax}, {3, 1, 2, kMin}, {3, kMax, kMax, kMax},
                 {3, kMin, kMax, kMin}};
    for (const auto& c : cases) {
      CAPTURE(c.begin);
      CAPTURE(c.count);
      CAPTURE(c.step);
      const TensorView slice = view.slice(c.axis, c.begin, c.count, c.step);
      CHECK(slice.shape[c.axis] == -1);
      CHECK(is_refused(slice));
    }
    CHECK(view.slice(4, 0, 1).shape[0] == -1);
    CHECK(view.slice(std::numeric_limits<std::size_t>::max(), 0, 1).shape[0] == -1);
    CHECK(is_refused(view.slice(4, 0, 1)));
    CHECK(is_refused(view.flip(4)));
    CHECK(view.broadcast(2, 3).shape[2] == -1);  // not of size 1
    CHECK(is_refused(view.broadcast(2, 3)));
    CHECK(is_refused(view.broadcast(4, 3)));
    CHECK(is_refused(view.broadcast(0, -1)));
    CHECK(is_refused(view.permute({0, 1, 2, 4})));
    // A mark stays: no further step makes the view legal again.
    CHECK(is_refused(view.slice(3, 0, 3).slice(3, 0, 1)));
    CHECK(is_refused(view.slice(3, 0, 3).flip(3)));
    CHECK(is_refused(view.slice(3, 0, 3).broadcast(3, 2)));
  }

  TEST_CASE("broadcast and permute") {
    Digits digits;
    const TensorView repeated = digits.view().slice(1, 2, 1).broadcast(1, 7);
    CHECK(repeated.shape == Dims<4>{2, 7, 4, 5});
    CHECK(repeated.strides[1] == 0);
    for (std::int64_t c = 0; c < 7; ++c) CHECK(at(repeated, {1, c, 3, 4}) == 1234.0F);
    CHECK(digits.view().slice(1, 2, 1).broadcast(1, 0).shape[1] == 0);
    const TensorView turned = digits.view().permute({3, 0, 2, 1});
    CHECK(turned.shape == Dims<4>{5, 2, 4, 3});
    CHECK(at(turned, {4, 1, 3, 2}) == 1234.0F);
  }

  TEST_CASE("sizes and strides at the ends of 64 bits") {
    float data[1] = {};
    for (const std::int64_t size : {kMax, kMax / 2 + 1, kMin, std::int64_t{-1}}) {
      CAPTURE(size);
      CHECK(is_refused(nchw(data, 1, 1, size, size)));
      CHECK(is_refused(nchw(data, size, 1, 2, 2)));
      CHECK(is_refused(nhwc(data, 1, size, 2, size)));
    }
    for (const std::int64_t stride : {kMax, kMin, kMin + 1, kMax / 2}) {
      CAPTURE(stride);
      for (std::size_t axis = 0; axis < 4; ++axis) {
        TensorView view = nchw(data, 2, 2, 2, 2);
        view.strides[axis] = stride;
        CHECK(is_refused(view));
        // None of these may overflow on the way to an answer.
        static_cast<void>(view.slice(axis, 0, 2));
        static_cast<void>(view.slice(axis, 1, 1, -1));
        static_cast<void>(view.flip(axis));
        static_cast<void>(view.broadcast(axis, 2));
      }
    }
  }

  TEST_CASE("what converts to a view that is read") {
    static_assert(std::is_convertible_v<TensorView, ConstTensorView>);
    static_assert(!std::is_convertible_v<View<double, 4>, ConstTensorView>);
  }

  TEST_CASE("the stride of an axis of one element is never used, whatever it is") {
    const float x[2] = {3.0F, 5.0F};
    const float weight[1] = {2.0F};
    for (const std::int64_t odd : {kMin, kMin + 1, kMax, std::int64_t{0}, std::int64_t{-7}}) {
      for (const Algorithm algorithm : {Algorithm::automatic, Algorithm::naive, Algorithm::im2col,
                                        Algorithm::strided_im2col, Algorithm::strided}) {
        CAPTURE(odd);
        CAPTURE(std::string(name(algorithm)));
        float y[2] = {};
        LayerOptions options;
        options.algorithm = algorithm;
        // Pixels run along W in the first run, along H in the second.
        for (const std::size_t axis : {std::size_t{3}, std::size_t{2}}) {
          ConstTensorView source{x, {1, 1, 1, 1}, {odd, odd, odd, odd}, nullptr, -1};
          source.shape[axis] = 2;
          source.strides[axis] = 1;
          TensorView destination{y, {1, 1, 1, 1}, {odd, odd, odd, odd}, nullptr, -1};
          destination.shape[axis] = 2;
          destination.strides[axis] = 1;
          const ConstTensorView kernel{weight, {1, 1, 1, 1}, {odd, odd, odd, odd}, nullptr, -1};
          const Status status =
              conv2d(source, kernel, nullptr, destination, 1, 0, 1, 1, PaddingMode::zeros, options);
          CHECK_MESSAGE(status.ok(), text(status));
          CHECK(y[0] == 6.0F);
          CHECK(y[1] == 10.0F);
        }
      }
    }
  }

  TEST_CASE("nor where views that lie side by side in one buffer are told apart") {
    float buffer[4] = {3.0F, 0.0F, 5.0F, 0.0F};
    const float weight[1] = {2.0F};
    for (const std::int64_t odd : {kMin, kMin + 1, kMax}) {
      const ConstTensorView source{buffer, {1, 1, 1, 2}, {odd, odd, odd, 2}, nullptr, -1};
      const TensorView destination{buffer + 1, {1, 1, 1, 2}, {odd, odd, odd, 2}, nullptr, -1};
      const ConstTensorView kernel{weight, {1, 1, 1, 1}, {odd, odd, odd, odd}, nullptr, -1};
      const Status status = conv2d(source, kernel, nullptr, destination);
      CHECK_MESSAGE(status.ok(), text(status));
      CHECK(buffer[1] == 6.0F);
      CHECK(buffer[3] == 10.0F);
    }
  }

  TEST_CASE("strides and dilations of a window that never steps may be of any size") {
    const float x[4] = {1, 2, 3, 4};
    const float weights[4] = {1, 10, 100, 1000};
    for (const Algorithm algorithm : general_algorithms()) {
      LayerOptions options;
      options.algorithm = algorithm;
      CAPTURE(std::string(name(options.algorithm)));
      float y[1] = {};
      Status status = conv2d(nchw(x, 1, 1, 2, 2), oihw(weights, 1, 1, 2, 2), nullptr,
                             nchw(y, 1, 1, 1, 1), kMax, 0, 1, 1, PaddingMode::zeros, options);
      CHECK_MESSAGE(status.ok(), text(status));
      CHECK(y[0] == 4321.0F);
      status = conv2d(nchw(x, 1, 1, 2, 2), oihw(weights, 1, 1, 1, 1), nullptr, nchw(y, 1, 1, 1, 1),
                      kMax, 0, kMax, 1, PaddingMode::zeros, options);
      CHECK_MESSAGE(status.ok(), text(status));
      CHECK(y[0] == 1.0F);
      // Padding puts the only window before the image.
      status = conv2d(nchw(x, 1, 1, 2, 2), oihw(weights, 1, 1, 1, 1), nullptr, nchw(y, 1, 1, 1, 1),
                      kMax, {1, 0, 1, 0}, 1, 1, PaddingMode::zeros, options);
      CHECK_MESSAGE(status.ok(), text(status));
      CHECK(y[0] == 0.0F);
    }
  }
}

}  // namespace fastconv::testing
