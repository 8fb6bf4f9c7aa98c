// SPDX-License-Identifier: Apache-2.0
// Problems drawn from a seeded generator, for the combinations that nobody thought of.
#include <doctest/doctest.h>

#include <algorithm>

#include "sweep.hpp"

namespace fastconv::testing {
namespace {

// Numbers that follow from the seed of one problem alone.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) noexcept : seed_(seed) {}

  std::int64_t below(std::int64_t bound) noexcept {
    return static_cast<std::int64_t>((random_bits(seed_, index_++) >> 32) %
                                     static_cast<std::uint64_t>(bound));
  }
  std::int64_t between(std::int64_t first, std::int64_t last) noexcept {
    return first + below(last - first + 1);
  }
  bool one_in(std::int64_t n) noexcept { return below(n) == 0; }
  // Mostly small, now and then larger.
  std::int64_t size(std::int64_t usual, std::int64_t largest) noexcept {
    return one_in(5) ? between(1, largest) : between(1, usual);
  }

 private:
  std::uint64_t seed_;
  std::uint64_t index_ = 0;
};

Pair draw_pair(Draw& draw, std::int64_t usual, std::int64_t largest) {
  const std::int64_t h = draw.size(usual, largest);
  return draw.one_in(2) ? Pair(h) : Pair(h, draw.size(usual, largest));
}

Problem draw_problem(Draw& draw) {
  Conv2d conv;
  conv.groups = draw.one_in(3) ? draw.between(2, 12) : 1;
  const std::int64_t wide = conv.groups == 1 ? 40 : 6;
  conv.in_channels = conv.groups * draw.size(5, wide);
  conv.out_channels = conv.groups * draw.size(9, wide);
  conv.kernel_size = draw_pair(draw, 3, 8);
  conv.stride = draw_pair(draw, 2, 7);
  conv.dilation = draw.one_in(3) ? draw_pair(draw, 2, 5) : Pair(1);
  if (draw.one_in(2)) conv.padding = Padding(draw.below(3));
  if (draw.one_in(4)) {
    conv.padding = {draw.below(6), draw.below(6), draw.below(6), draw.below(6)};
  }
  // Sometimes no larger than the window, sometimes much wider than high.
  const std::int64_t reach_h = conv.dilation.h * (conv.kernel_size.h - 1) + 1;
  const std::int64_t reach_w = conv.dilation.w * (conv.kernel_size.w - 1) + 1;
  const std::int64_t ih = reach_h - conv.padding.top - conv.padding.bottom + draw.below(12);
  const std::int64_t iw = reach_w - conv.padding.left - conv.padding.right + draw.below(40);
  return problem_of(conv, draw.between(1, 3), std::max<std::int64_t>(ih, 1),
                    std::max<std::int64_t>(iw, 1));
}

}  // namespace

TEST_SUITE("random") {
  TEST_CASE("problems of a seeded generator in random layouts") {
    constexpr std::uint64_t kProblems = 400;
    int layouts = 0;
    while (name(static_cast<Layout>(layouts)) != nullptr) ++layouts;
    Sweep sweep;
    for (std::uint64_t seed = 1; seed <= kProblems; ++seed) {
      Draw draw(seed);
      const Problem problem = draw_problem(draw);
      CAPTURE(seed);
      CAPTURE(to_string(problem));
      REQUIRE(problem.oh > 0);
      const auto layout = static_cast<Layout>(draw.one_in(2) ? draw.below(2) : draw.below(layouts));
      const Fill fill = draw.one_in(3) ? Fill::floats : Fill::integers;
      const Guard guard = draw.one_in(2) ? Guard::before : Guard::after;
      sweep.run(problem, layout, fill, seed, !draw.one_in(4), guard);
    }
  }
}

}  // namespace fastconv::testing
