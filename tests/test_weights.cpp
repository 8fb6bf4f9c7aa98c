// SPDX-License-Identifier: Apache-2.0
// The panels against their definition, element by element.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "../kernels/weights.hpp"
#include "tensors.hpp"

namespace fastconv::testing {
namespace {

// Elements of the panels that are not what they should be.
int wrong_elements(const ConstTensorView& weights, std::int64_t groups, int nr) {
  const auto& [k_count, c_count, r_count, s_count] = weights.shape;
  std::int64_t left = 0;  // channels of the group from the panel's first on
  std::int64_t elements = 0;
  REQUIRE(panel_elements(weights.shape, groups, nr, elements));
  const GuardedBuffer panels(elements * static_cast<std::int64_t>(sizeof(float)), Guard::after);
  std::fill_n(panels.floats(), elements, NAN);
  pack_panels(weights, groups, nr, panels.floats());
  const float* panel = panels.floats();
  const std::int64_t per_group = k_count / groups;
  int wrong = 0;
  for (std::int64_t first = 0; first < k_count; first += std::min<std::int64_t>(nr, left)) {
    left = per_group - first % per_group;
    for_each_index({r_count, s_count, c_count, nr}, [&](const Dims<4>& i) {
      const float expected = i[3] < left ? at(weights, {first + i[3], i[2], i[0], i[1]}) : 0.0F;
      wrong += *panel++ == expected ? 0 : 1;
    });
  }
  return wrong;
}

}  // namespace

TEST_SUITE("weights") {
  TEST_CASE("panels of any source order, kernel size and number of channels") {
    const Dims<4> shapes[] = {{1, 1, 1, 1},  {32, 64, 1, 1}, {33, 65, 1, 1}, {20, 3, 7, 7},
                              {36, 7, 3, 3}, {40, 21, 3, 3}, {6, 130, 2, 1}, {9, 2, 9, 9},
                              {5, 1, 1, 67}, {12, 14, 3, 1}};
    for (const Dims<4>& shape : shapes) {
      const Tensor dense(Layout::nchw, shape);
      fill_floats(dense.view(), 1);
      const std::int64_t k = shape[0], c = shape[1], r = shape[2], s = shape[3];
      CAPTURE(k);
      CAPTURE(c);
      CAPTURE(r);
      CAPTURE(s);
      for (const int nr : {8, 16, 32}) {
        CAPTURE(nr);
        for (std::int64_t groups = 1; groups <= k; ++groups) {
          if (k % groups != 0) continue;
          CAPTURE(groups);
          CHECK(wrong_elements(dense.view(), groups, nr) == 0);
        }
        std::vector<float> storage(static_cast<std::size_t>(k * c * r * s));
        for (const TensorView& view :
             {ohwi(storage.data(), k, c, r, s), hwio(storage.data(), k, c, r, s)}) {
          copy(dense.view(), view);
          CHECK(wrong_elements(view, 1, nr) == 0);
        }
        for (int i = 0; name(static_cast<Layout>(i)) != nullptr; ++i) {
          const auto layout = static_cast<Layout>(i);
          if (!can_be_written(layout)) continue;
          CAPTURE(std::string(name(layout)));
          const Tensor strided(layout, shape);
          copy(dense.view(), strided.view());
          CHECK(wrong_elements(strided.view(), 1, nr) == 0);
        }
      }
    }
  }
}

}  // namespace fastconv::testing
