// SPDX-License-Identifier: Apache-2.0
// Outputs that share memory with themselves or with the input are refused, and so is a workspace
// that does with any tensor; disjoint parts of one buffer are not, and come out right.
#include <doctest/doctest.h>

#include <cmath>
#include <fastconv/fastconv.hpp>
#include <set>
#include <string>
#include <vector>

#include "check.hpp"
#include "compare.hpp"

namespace fastconv::testing {
namespace {

// Pixels times 3, so that x and y have the same shape.
Status triple(const ConstTensorView& x, const TensorView& y) {
  const std::int64_t channels = x.shape[1];
  const std::vector<float> weights(static_cast<std::size_t>(channels < 0 ? 0 : channels), 3.0F);
  return conv2d(x, oihw(weights.data(), channels, 1, 1, 1), nullptr, y, 1, 0, 1, channels);
}

Layer tripling_layer(std::int64_t channels) {
  Conv2d conv;
  conv.in_channels = conv.out_channels = conv.groups = channels;
  conv.kernel_size = 1;
  const std::vector<float> weights(static_cast<std::size_t>(channels), 3.0F);
  Layer layer;
  REQUIRE(Layer::create(conv, oihw(weights.data(), channels, 1, 1, 1), nullptr, {}, layer).ok());
  return layer;
}

bool mentions(const Status& status, const std::string& word) {
  return std::string(status.message()).find(word) != std::string::npos;
}

std::int64_t offset_of(const ConstTensorView& view, const Dims<4>& i, const float* origin) {
  std::int64_t offset = view.data - origin;
  for (std::size_t axis = 0; axis < 4; ++axis) offset += i[axis] * view.strides[axis];
  return offset;
}

std::set<std::int64_t> offsets_of(const ConstTensorView& view, const float* origin) {
  std::set<std::int64_t> offsets;
  for_each_index(view.shape, [&](const Dims<4>& i) { offsets.insert(offset_of(view, i, origin)); });
  return offsets;
}

// A buffer of ascending numbers, one part of it read and another written.
struct Shared {
  explicit Shared(std::size_t size) : values(size), before(size) {
    for (std::size_t i = 0; i < size; ++i) values[i] = before[i] = static_cast<float>(i + 1);
  }

  void check_accepted(const ConstTensorView& x, const TensorView& y) {
    const Status status = triple(x, y);
    REQUIRE_MESSAGE(status.ok(), text(status));
    const float* origin = values.data();
    for_each_index(x.shape, [&](const Dims<4>& i) {
      const auto source = static_cast<std::size_t>(offset_of(x, i, origin));
      CHECK(at(y, i) == 3.0F * before[source]);
    });
    const std::set<std::int64_t> written = offsets_of(y, origin);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (written.count(static_cast<std::int64_t>(i)) == 0) CHECK(values[i] == before[i]);
    }
    values = before;
  }

  void check_refused(const ConstTensorView& x, const TensorView& y) {
    const Status status = triple(x, y);
    CAPTURE(text(status));
    CHECK(status.code() == StatusCode::overlap);
    CHECK(mentions(status, "y"));
    CHECK(mentions(status, "x"));
    CHECK(values == before);
  }

  std::vector<float> values, before;
};

// A layer that needs a workspace, with room for that on both sides of `middle`.
struct Scratch {
  Scratch(Algorithm algorithm, const TensorView& x, const TensorView& y) {
    LayerOptions options;
    options.algorithm = algorithm;
    Conv2d conv;
    conv.in_channels = conv.out_channels = x.shape[1];
    conv.kernel_size = 3;
    conv.padding = 1;
    const std::vector<float> w(static_cast<std::size_t>(x.shape[1] * x.shape[1] * 9), 1.0F);
    const ConstTensorView weights = oihw(w.data(), x.shape[1], x.shape[1], 3, 3);
    REQUIRE(Layer::create(conv, weights, nullptr, options, layer).ok());
    REQUIRE(layer.plan(x, y, plan).ok());
    bytes = plan.workspace_bytes();
    memory.assign(static_cast<std::size_t>(bytes + 240), 1.0F);
    middle = memory.data() + bytes / 2;
  }

  Status run(const ConstTensorView& x, const TensorView& y, const ConstTensorView& residual,
             std::int64_t offset) const {
    RunOptions options;
    options.workspace = reinterpret_cast<char*>(middle) + offset;
    options.workspace_bytes = bytes + 1000000;  // what is not needed may be shared
    options.residual = residual;
    return layer.run(plan, x, y, options);
  }

  Layer layer;
  Plan plan;
  std::int64_t bytes = 0;
  std::vector<float> memory;
  float* middle = nullptr;
};

}  // namespace

TEST_SUITE("overlap") {
  TEST_CASE("outputs that overlap themselves") {
    std::vector<float> x(2 * 3 * 4 * 5, 1.0F);
    std::vector<float> y(1000, -1.0F);
    const std::vector<float> before = y;
    const Dims<4> overlapping[] = {
        {60, 20, 5, 0},   {60, 20, 0, 1}, {60, 0, 5, 1},   {0, 20, 5, 1},
        {0, 0, 0, 0},     {60, 20, 4, 1},  // rows of 5, 4 apart
        {60, 19, 5, 1},   {59, 20, 5, 1}, {60, 20, 5, -5}, {60, 20, 3, 2},
        {60, 3, 2, 1},    {1, 1, 1, 1},   {60, 20, 2, 4},  // 2 columns along H meet 4 along W
        {-60, 20, -4, 1},
    };
    for (const Dims<4>& strides : overlapping) {
      const TensorView view{y.data() + 500, {2, 3, 4, 5}, strides, nullptr, -1};
      const Status status = triple(nchw(x.data(), 2, 3, 4, 5), view);
      CAPTURE(text(status));
      CHECK(status.code() == StatusCode::overlap);
      CHECK(mentions(status, "y"));
      CHECK(mentions(status, "5 by " + std::to_string(strides[3])));
      CHECK(y == before);
      // The plan says so without looking at data.
      Plan plan;
      CHECK(tripling_layer(3)
                .plan({nullptr, {2, 3, 4, 5}, {60, 20, 5, 1}, nullptr, -1},
                      {nullptr, view.shape, view.strides, nullptr, -1}, plan)
                .code() == StatusCode::overlap);
    }
  }

  TEST_CASE("unusual outputs that do not overlap are taken") {
    std::vector<float> x(2 * 3 * 4 * 5);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
    const ConstTensorView source = nchw(x.data(), 2, 3, 4, 5);
    const Dims<4> strides_list[] = {
        {1, 2, 6, 24},
        {-60, -20, -5, -1},
        {60, 1, 15, 3},
        {1, 40, 10, 2},
        {300, 100, 7, 3},  // 3 along W and 7 along H interleave without meeting: 7a
                           // = 3b needs b = 7
        {12, 4, 1, 24},
        {1000, 13, 40, 200},
        {60, 20, -5, 1},
    };
    for (const Dims<4>& strides : strides_list) {
      CAPTURE(strides[3]);
      const Tensor y({2, 3, 4, 5}, strides);
      const Status status = triple(source, y.view());
      CHECK_MESSAGE(status.ok(), text(status));
      for_each_index(source.shape,
                     [&](const Dims<4>& i) { CHECK(at(y.view(), i) == 3.0F * at(source, i)); });
      CHECK(y.gaps_are_untouched());
    }
  }

  TEST_CASE("every answer about small layouts is that of trying them out") {
    // All strides from -4 to 4 of a 2x2x3 tensor: refused if and only if two elements meet.
    Layer layer = tripling_layer(2);
    int refused = 0, taken = 0;
    for_each_index({1, 9, 9, 9}, [&](const Dims<4>& i) {
      const TensorView y{nullptr, {1, 2, 2, 3}, {0, i[1] - 4, i[2] - 4, i[3] - 4}, nullptr, -1};
      std::set<std::int64_t> offsets;
      for_each_index(y.shape, [&](const Dims<4>& j) {
        offsets.insert(j[1] * y.strides[1] + j[2] * y.strides[2] + j[3] * y.strides[3]);
      });
      Plan plan;
      const Status status = layer.plan({nullptr, y.shape, {12, 6, 3, 1}, nullptr, -1}, y, plan);
      CAPTURE(y.strides[1]);
      CAPTURE(y.strides[2]);
      CAPTURE(y.strides[3]);
      CHECK(status.ok() == (offsets.size() == 12));
      ++(status.ok() ? taken : refused);
    });
    CHECK(refused > 100);
    CHECK(taken > 10);
  }

  TEST_CASE("input and output that share elements") {
    Shared s(200);
    float* data = s.values.data();
    s.check_refused(nchw(data, 1, 2, 4, 5), nchw(data, 1, 2, 4, 5));
    s.check_refused(nchw(data, 1, 2, 4, 5), nchw(data + 39, 1, 2, 4, 5));
    s.check_refused(nchw(data + 39, 1, 2, 4, 5), nchw(data, 1, 2, 4, 5));
    s.check_refused(nchw(data, 1, 2, 4, 5), nhwc(data + 20, 1, 2, 4, 5));
    // The last channel of one is the first of the other.
    const TensorView pixels = nhwc(data, 1, 5, 4, 5);
    s.check_refused(pixels.slice(1, 0, 3), pixels.slice(1, 2, 3));
    s.check_refused(pixels.slice(1, 0, 3), pixels.slice(1, 2, 3).flip(2));
    const TensorView planes = nchw(data, 1, 5, 4, 5);
    s.check_refused(planes.slice(2, 0, 3), planes.slice(2, 1, 3));
    s.check_refused(planes.slice(3, 0, 3, 2), planes.slice(3, 4, 3, -1));
    s.check_refused(planes.slice(1, 2, 1).broadcast(1, 3), planes.slice(1, 2, 3));
  }

  TEST_CASE("disjoint parts of one buffer") {
    Shared s(400);
    float* data = s.values.data();
    s.check_accepted(nchw(data, 1, 2, 4, 5), nchw(data + 40, 1, 2, 4, 5));
    s.check_accepted(nchw(data + 40, 1, 2, 4, 5), nchw(data, 1, 2, 4, 5));
    for (const TensorView& whole : {nchw(data, 2, 6, 4, 5), nhwc(data, 2, 6, 4, 5)}) {
      CAPTURE(whole.strides[1]);
      // Channel slices, rows, columns, interleaved rows and columns, images.
      s.check_accepted(whole.slice(1, 0, 3), whole.slice(1, 3, 3));
      s.check_accepted(whole.slice(1, 4, 2), whole.slice(1, 1, 2));
      s.check_accepted(whole.slice(1, 0, 3, 2), whole.slice(1, 1, 3, 2));
      s.check_accepted(whole.slice(1, 4, 3, -2), whole.slice(1, 1, 3, 2));
      s.check_accepted(whole.slice(2, 0, 2), whole.slice(2, 2, 2));
      s.check_accepted(whole.slice(2, 0, 2, 2), whole.slice(2, 3, 2, -2));
      s.check_accepted(whole.slice(3, 0, 2), whole.slice(3, 2, 2));
      s.check_accepted(whole.slice(3, 0, 2, 2), whole.slice(3, 1, 2, 2));
      s.check_accepted(whole.slice(0, 1, 1), whole.slice(0, 0, 1));
      s.check_accepted(whole.slice(2, 1, 2).slice(3, 0, 2), whole.slice(2, 2, 2).slice(3, 3, 2));
      s.check_accepted(whole.slice(1, 0, 1).broadcast(1, 3), whole.slice(1, 2, 3));
    }
  }

  TEST_CASE("every answer about two small views is that of trying them out") {
    // Two 2x2 views over one another at all offsets and strides up to 3.
    std::vector<float> data(64, 1.0F);
    Layer layer = tripling_layer(1);
    int refused = 0, taken = 0;
    for_each_index({7, 7, 6, 10}, [&](const Dims<4>& i) {
      const TensorView x{data.data() + 20, {1, 1, 2, 2}, {0, 0, i[0] - 3, i[1] - 3}, nullptr, -1};
      const TensorView y{data.data() + 16 + i[3], {1, 1, 2, 2}, {0, 0, i[2] - 3, 4}, nullptr, -1};
      if (i[2] == 3) return;  // y overlaps itself
      const std::set<std::int64_t> read = offsets_of(x, data.data());
      bool shared = false;
      for (const std::int64_t offset : offsets_of(y, data.data())) {
        shared = shared || read.count(offset) != 0;
      }
      CAPTURE(i[3]);
      const Status status = layer.run(x, y);
      CHECK(status.code() == (shared ? StatusCode::overlap : StatusCode::ok));
      ++(shared ? refused : taken);
    });
    CHECK(refused > 100);
    CHECK(taken > 100);
  }

  TEST_CASE("a workspace beside tensors and over them") {
    std::vector<float> values[3];
    for (std::vector<float>& tensor : values) tensor.assign(240, 1.0F);
    for (const Algorithm algorithm : all_algorithms()) {
      if (algorithm == Algorithm::depthwise) continue;  // two channels a group
      TensorView views[3];
      for (int i = 0; i < 3; ++i) views[i] = nchw(values[i].data(), 1, 2, 8, 15);
      Scratch s(algorithm, views[0], views[1]);
      constexpr std::int64_t size = 240 * sizeof(float);
      REQUIRE((s.bytes == 0 || s.bytes > size));
      const char* const names[] = {"x", "y", "residual"};
      for (int i = 0; i < 3; ++i) {
        CAPTURE(std::string(name(algorithm)));
        CAPTURE(std::string(names[i]));
        TensorView at[3] = {views[0], views[1], views[2]};
        at[i].data = s.middle;
        const auto run = [&](std::int64_t offset) { return s.run(at[0], at[1], at[2], offset); };
        if (s.bytes == 0) {
          CHECK(run(1).ok());
          continue;
        }
        const std::vector<float> before = s.memory, y_before = values[1];
        for (const std::int64_t offset : {size - 1, size - 4, std::int64_t{0}, 1 - s.bytes,
                                          4 - s.bytes, -s.bytes / 2, -s.bytes + size + 1}) {
          CAPTURE(offset);
          const Status status = run(offset);
          CAPTURE(text(status));
          CHECK(status.code() == StatusCode::overlap);
          CHECK(mentions(status, "workspace: "));
          CHECK(mentions(status, std::string("with ") + names[i]));
          CHECK(s.memory == before);
          CHECK(values[1] == y_before);
        }
        for (const std::int64_t offset : {size, size + 1, -s.bytes, -s.bytes - 3}) {
          CAPTURE(offset);
          const Status status = run(offset);
          CHECK_MESSAGE(status.ok(), text(status));
        }
        // y += convolution has no second place to look at.
        at[2] = at[1];
        CHECK(run(size).ok());
        CHECK(run(0).code() == (i == 2 ? StatusCode::ok : StatusCode::overlap));
      }
    }
  }

  TEST_CASE("every answer about a workspace and a strided view is that of trying it out") {
    // Between the rows is room for the workspace.
    std::vector<float> y_data(9);
    const TensorView y = nchw(y_data.data(), 1, 1, 3, 3);
    const std::int64_t row = Scratch(Algorithm::gemm, y, y).bytes / 3;
    for (const Dims<4>& strides : {Dims<4>{0, 0, row, 3}, {0, 0, -row, 2}, {0, 0, 5, -row}}) {
      TensorView x{nullptr, {1, 1, 3, 3}, strides, nullptr, -1};
      Scratch s(Algorithm::gemm, x, y);
      s.memory.assign(static_cast<std::size_t>(6 * row + 2 * s.bytes), 1.0F);
      x.data = s.middle = s.memory.data() + 3 * row;
      int refused = 0, taken = 0;
      const std::int64_t end = 12 * row;
      for (std::int64_t offset = -8 * row; offset < end; offset += 1 + row / 50) {
        bool shared = false;
        for (const std::int64_t element : offsets_of(x, s.middle)) {
          shared = shared || (4 * element + 3 >= offset && 4 * element < offset + s.bytes);
        }
        CAPTURE(offset);
        const Status status = s.run(x, y, {}, offset);
        CHECK(status.code() == (shared ? StatusCode::overlap : StatusCode::ok));
        ++(shared ? refused : taken);
      }
      CHECK(refused > 20);
      CHECK(taken > 10);
    }
  }
}

}  // namespace fastconv::testing
