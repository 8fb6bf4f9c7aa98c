// SPDX-License-Identifier: Apache-2.0
// Shapes x strides x kernels x paddings x dilations x groups x layouts, integers first.
#include <doctest/doctest.h>

#include <algorithm>

#include "sweep.hpp"

namespace fastconv::testing {
namespace {

struct Channels {
  std::int64_t in, out, groups;
};

constexpr Pair kKernels[] = {1, {1, 3}, 2, {3, 1}, 3, {2, 5}, 5, {4, 2}, 7};
constexpr Pair kStrides[] = {1, 2, {1, 2}, {2, 1}, 3, {3, 2}, {1, 5}};
constexpr Padding kPaddings[] = {0, 1, {2, 1}, {0, 1, 2, 0}, {3, 0, 0, 4},
                                 8 /* larger than every kernel here */};
constexpr Pair kDilations[] = {1, 2, {1, 3}, {2, 1}, {3, 4}};
constexpr Channels kChannels[] = {
    {3, 3, 1},   {1, 1, 1}, {4, 5, 1},   {6, 9, 3},  {8, 8, 8},  // depthwise
    {4, 12, 4},                                                  // with a multiplier of 3
    {17, 19, 1}, {1, 7, 1}, {16, 32, 2}, {12, 4, 4}, {9, 1, 1},
};
constexpr Pair kImages[] = {{7, 9}, {10, 10}, {12, 5}, {6, 17}, {1, 13}, {13, 1}, {4, 4}};

// Counts up and picks from each list in turn: lists of coprime lengths meet in all pairs.
class Picker {
 public:
  template <class T, std::size_t Count>
  const T& pick(const T (&list)[Count]) const noexcept {
    return list[index_ % Count];
  }
  template <class T, std::size_t Count>
  const T& pick_slowly(const T (&list)[Count]) const noexcept {
    return list[index_ / 3 % Count];
  }
  std::uint64_t index() const noexcept { return index_; }
  void next() noexcept { ++index_; }

 private:
  std::uint64_t index_ = 0;
};

Conv2d conv_of(const Channels& channels, Pair kernel, Pair stride, const Padding& padding,
               Pair dilation) {
  Conv2d conv = testing::conv_of(channels.in, channels.out, kernel, padding, channels.groups);
  conv.stride = stride;
  conv.dilation = dilation;
  return conv;
}

// The image, grown to what the window needs.
Problem fitting(const Conv2d& c, std::int64_t mb, Pair image) {
  const std::int64_t h =
      c.dilation.h * (c.kernel_size.h - 1) + 1 - c.padding.top - c.padding.bottom;
  const std::int64_t w =
      c.dilation.w * (c.kernel_size.w - 1) + 1 - c.padding.left - c.padding.right;
  return problem_of(c, mb, std::max(image.h, h), std::max(image.w, w));
}

constexpr Layout kDense[] = {Layout::nchw, Layout::nhwc};
constexpr Guard kGuards[] = {Guard::after, Guard::before};

void every_window(Fill fill) {
  Sweep sweep;
  Picker picker;
  for (const Pair kernel : kKernels) {
    for (const Pair stride : kStrides) {
      for (const Padding& padding : kPaddings) {
        const Problem problem =
            fitting(conv_of(picker.pick(kChannels), kernel, stride, padding,
                            picker.pick_slowly(kDilations)),
                    1 + static_cast<std::int64_t>(picker.index() % 3), picker.pick(kImages));
        for (const Layout layout : kDense) {
          sweep.run(problem, layout, fill, picker.index(), picker.index() % 4 != 3,
                    picker.pick(kGuards));
        }
        picker.next();
      }
    }
  }
}

}  // namespace

TEST_SUITE("grid") {
  TEST_CASE("kernels x strides x paddings, integers") { every_window(Fill::integers); }
  TEST_CASE("kernels x strides x paddings, floats") { every_window(Fill::floats); }

  TEST_CASE("channels and groups x kernels x strides") {
    Sweep sweep;
    Picker picker;
    for (const Channels& channels : kChannels) {
      for (const Pair kernel : {Pair(1), Pair(3), Pair(2, 5)}) {
        for (const Pair stride : {Pair(1), Pair(2), Pair(2, 1)}) {
          const Conv2d conv =
              conv_of(channels, kernel, stride, picker.pick(kPaddings), picker.pick(kDilations));
          for (const Layout layout : kDense) {
            sweep.run(fitting(conv, 2, picker.pick(kImages)), layout,
                      picker.index() % 2 == 0 ? Fill::integers : Fill::floats, picker.index());
          }
          picker.next();
        }
      }
    }
  }

  TEST_CASE("every layout") {
    Sweep sweep;
    const Problem problems[] = {
        fitting(conv_of({3, 3, 1}, 3, 1, 0, 1), 2, 10),
        fitting(conv_of({3, 3, 1}, 3, 3, 0, 1), 3, 10),
        fitting(conv_of({8, 12, 1}, 1, 1, 0, 1), 2, {5, 7}),
        fitting(conv_of({5, 6, 1}, {3, 2}, {2, 1}, {1, 2, 0, 1}, {1, 2}), 3, {9, 8}),
        fitting(conv_of({8, 8, 8}, 3, 1, 1, 1), 2, {7, 20}),
        fitting(conv_of({6, 4, 2}, 5, 2, 2, 1), 1, {11, 6}),
        fitting(conv_of({100, 200, 50}, 3, 1, 1, 1), 1, {5, 9}),
        fitting(conv_of({66, 132, 33}, 3, 2, 1, 1), 1, {6, 11}),
        fitting(conv_of({1, 20, 1}, {1, 7}, {1, 2}, {0, 3}, 1), 1, {3, 33}),
    };
    for (const Problem& problem : problems) {
      for (int i = 0; name(static_cast<Layout>(i)) != nullptr; ++i) {
        for (const Guard guard : kGuards) {
          sweep.run(problem, static_cast<Layout>(i), Fill::integers, 7, true, guard);
          sweep.run(problem, static_cast<Layout>(i), Fill::floats, 8, false, guard);
        }
      }
    }
  }

  TEST_CASE("filters of one row, much of which lies in the padding") {
    Sweep sweep;
    Picker picker;
    for (const std::int64_t width : {3, 5, 7, 9}) {
      for (const Pair image : {Pair(7), Pair(8, 13), Pair(17, 9)}) {
        for (const Padding& padding : {Padding(0, width / 2), Padding{0, 0, width - 1, 1}}) {
          const Conv2d conv = conv_of({picker.index() % 2 == 0 ? 16 : 37, 19, 1}, {1, width},
                                      picker.pick(kStrides), padding, picker.pick(kDilations));
          for (const Layout layout : {Layout::nhwc, Layout::nhwc_crop, Layout::nhwc_slice}) {
            sweep.run(fitting(conv, 2, image), layout, Fill::integers, picker.index(),
                      picker.index() % 3 != 0, picker.pick(kGuards));
          }
          picker.next();
        }
      }
    }
  }

  TEST_CASE("deep sums and wide images") {
    Sweep sweep;
    const Problem problems[] = {
        fitting(conv_of({600, 9, 1}, 1, 1, 0, 1), 1, {3, 5}),
        fitting(conv_of({130, 18, 1}, 3, 1, 1, 1), 1, {4, 6}),
        fitting(conv_of({512, 33, 1}, 3, 2, 1, 1), 1, {5, 5}),
        fitting(conv_of({2, 3, 1}, 3, 1, 1, 1), 1, {2, 700}),
        fitting(conv_of({2, 3, 1}, 3, 1, 1, 1), 1, {300, 3}),
        fitting(conv_of({5, 300, 1}, 1, 1, 0, 1), 1, {3, 3}),
        fitting(conv_of({3, 2, 1}, {19, 23}, 1, {9, 11}, 1), 1, {20, 24}),
    };
    for (const Problem& problem : problems) {
      for (const Layout layout : kDense) {
        sweep.run(problem, layout, Fill::integers, 3);
        sweep.run(problem, layout, Fill::floats, 4);
      }
    }
  }
}

}  // namespace fastconv::testing
