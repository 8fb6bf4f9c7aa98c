// SPDX-License-Identifier: Apache-2.0
// The blocking as a pure function, for caches that this machine need not have.
#include "../lib/blocking.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "../lib/direct.hpp"
#include "../lib/gemm.hpp"
#include "problem_in.hpp"

namespace fastconv::testing {
namespace {

// What no machine reports, or only a broken one.
constexpr CacheSizes kAbsurdCaches[] = {
    {0, 0}, {1, 1}, {-1, -1}, {4096, 64}, {1LL << 40, 1LL << 50}, {1 << 20, 0}, {0, 1 << 20},
};

std::int64_t round_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b * b; }

void check_blocks(const fastconv::Problem& p, const Tiles& tiles, const Blocking& b) {
  const Tile& tile = tiles.over(b.lanes);
  const int weight_nr = tiles.channels.nr;
  CHECK(b.kc >= 1);
  CHECK(b.kc <= kMaxKc);
  CHECK(b.kc <= p.c_per_group() * p.taps());
  CHECK(b.pack_block >= 1);
  CHECK(b.pixel_block >= b.pack_block);
  CHECK(b.pixel_block <= round_up(p.oh * p.ow, tile.nr * tile.mr));
  CHECK(b.pixel_block % b.pack_block == 0);
  CHECK(b.channel_block >= 1);
  CHECK(b.channel_block <= round_up(p.k_per_group(), weight_nr));
  for (const double cycles : {b.fma_cycles, b.pack_cycles, b.store_cycles}) CHECK(cycles >= 0);
  CHECK((b.channel_block % weight_nr == 0 || b.channel_block >= p.k_per_group()));
  CHECK(b.pack_elements >= 0);
  if (b.lanes == Lanes::pixels) {
    // A pack block begins with a panel.
    CHECK((b.pack_block % tile.nr == 0 || b.pack_block >= p.oh * p.ow));
    CHECK((b.form == PixelForm::columns || b.form == PixelForm::in_place));
  } else {
    CHECK(b.form != PixelForm::columns);
    CHECK(std::abs(b.pitch) >= (b.form == PixelForm::rows ? b.kc : p.c_per_group()));
  }
  if (b.whole_rows) {
    // Whole output rows, or a part of one.
    CHECK((b.pixel_block % p.ow == 0 || b.pixel_block < p.ow));
  }
  CHECK(b.cycles() > 0.0);
}

// Of windows or pixels that are read in place, in the layout that allows it.
Blocking in_place(const Tiles& tiles, Lanes lanes, const char* descriptor) {
  const Layout layout = lanes == Lanes::pixels ? Layout::nchw : Layout::nhwc;
  Blocking b;
  REQUIRE(make_blocking(problem_in(parsed(descriptor), layout), tiles, kCaches[3], lanes,
                        PixelForm::in_place, b));
  return b;
}

// What a slot of workspace may take: panels or rows of a quarter of L2, or a patch of twice L2, and
// sums of a quarter, of whole tiles at least; whatever the problem.
std::int64_t workspace_bound(const Tiles& tiles, const CacheSizes& caches) {
  const std::int64_t nr = std::max(tiles.channels.nr, tiles.pixels.nr);
  const std::int64_t floats_in_l2 = caches.l2 / static_cast<std::int64_t>(sizeof(float));
  const std::int64_t columns = floats_in_l2 / 4 + nr * 64;
  const std::int64_t rows = floats_in_l2 / 4 + tiles.channels.mr * (kMaxKc + 64);
  const std::int64_t fewest_sums = round_up(8 * nr, nr) * 512;
  const std::int64_t sums = std::max(floats_in_l2 / 4, fewest_sums) + nr * 512;
  return static_cast<std::int64_t>(sizeof(float)) *
         (std::max({columns, rows, 2 * floats_in_l2}) + nr + 64 + sums);
}

}  // namespace

TEST_SUITE("blocking") {
  TEST_CASE("tiles of cores that this machine need not have are those of the levels") {
    const struct {
      Isa isa;
      const Tiles& tiles;
    } kLevels[] = {{Isa::generic, kFours}, {Isa::sse4, kFours},    {Isa::avx2, kShort},
                   {Isa::avx512, kLong},   {Isa::avx512, kHalves}, {Isa::neon, kNeon}};
    for (const auto& level : kLevels) {
      const KernelTable* const table = kernel_table(level.isa);
      if (table == nullptr) continue;  // of another architecture
      CAPTURE(std::string(name(level.isa)));
      const Tiles tiles(*table);
      for (const Lanes lanes : {Lanes::pixels, Lanes::channels}) {
        const Tile &is = tiles.over(lanes), &says = level.tiles.over(lanes);
        CHECK(is.width == says.width);
        CHECK(is.nr == says.nr);
        CHECK(is.mr == says.mr);
        CHECK(is.narrow_mr == says.narrow_mr);
        CHECK(is.joined_mr == says.joined_mr);
        CHECK(is.wide_mr == says.wide_mr);
        CHECK(is.straddling == says.straddling);
        CHECK(is.halves == says.halves);
        CHECK(is.fuses == says.fuses);
      }
    }
  }

  TEST_CASE("blocks are within bounds for caches from small to large") {
    for_each_blocking(
        {std::begin(kCaches), std::end(kCaches)},
        [](const fastconv::Problem& p, const Tiles& tiles, const CacheSizes& caches) {
          const Blocking b = choose_blocking(p, tiles, caches, true);
          check_blocks(p, tiles, b);
          // A B panel leaves room in L2, unless that made it shallow; tap by tap weights pass once.
          const std::int64_t panel =
              b.kc * tiles.over(b.lanes).nr * static_cast<std::int64_t>(sizeof(float));
          CHECK((b.kc <= 64 || panel <= caches.l2 / 4 || b.form == PixelForm::taps));
          CHECK(gemm_workspace_bytes(p, b, tiles.channels.nr) <= workspace_bound(tiles, caches));
        });
  }

  TEST_CASE("absurd caches still give blocks that work") {
    for_each_blocking({std::begin(kAbsurdCaches), std::end(kAbsurdCaches)},
                      [](const fastconv::Problem& p, const Tiles& tiles, const CacheSizes& caches) {
                        check_blocks(p, tiles, choose_blocking(p, tiles, caches, true));
                      });
  }

  TEST_CASE("the same arguments give the same blocks") {
    for_each_blocking({kCaches[3]},
                      [](const fastconv::Problem& p, const Tiles& tiles, const CacheSizes& caches) {
                        const Blocking a = choose_blocking(p, tiles, caches, true);
                        const Blocking b = choose_blocking(p, tiles, caches, true);
                        CHECK(a.kc == b.kc);
                        CHECK(a.form == b.form);
                        CHECK(a.lanes == b.lanes);
                        CHECK(a.pixel_block == b.pixel_block);
                        CHECK(a.channel_block == b.channel_block);
                      });
  }

  TEST_CASE("splitting for threads keeps the bounds and the workspace") {
    for_each_blocking({kCaches[0], kCaches[3]}, [](const fastconv::Problem& p, const Tiles& tiles,
                                                   const CacheSizes& caches) {
      const Blocking one = choose_blocking(p, tiles, caches, true);
      for (const int threads : {1, 2, 3, 16, 1000}) {
        CAPTURE(threads);
        Blocking b = one;
        split_for_threads(p, tiles.channels.nr, threads, b);
        check_blocks(p, tiles, b);
        CHECK(b.kc == one.kc);
        CHECK(gemm_blocks(p, b) >= gemm_blocks(p, one));
        CHECK(gemm_workspace_bytes(p, b, tiles.channels.nr) <= workspace_bound(tiles, caches));
      }
    });
  }

  TEST_CASE("products by taps and of all groups leave no thread without work") {
    const fastconv::Problem taps = problem_in(parsed("mb1ic256ih14oc32kh13ph6"), Layout::nhwc);
    const fastconv::Problem groups = problem_in(parsed("g16ic256ih14oc32kh3ph1"), Layout::nhwc);
    for (const Tiles& tiles : kTiles) {
      Blocking b;
      REQUIRE(make_blocking(taps, tiles, kCaches[3], Lanes::channels, PixelForm::taps, b));
      split_for_threads(taps, tiles.channels.nr, 8, b);
      CHECK(gemm_blocks(taps, b) >= 8);
      DirectBlocking d = choose_direct(groups, tiles.channels, kCaches[3]);
      split_for_threads(groups, 8, d);
      CHECK(direct_blocks(groups, d) >= 16);
    }
  }

  TEST_CASE("deep taps of larger images than L2 has room for are multiplied by blocks of rows") {
    const auto block_of = [](const char* descriptor, Blocking& b) {
      const fastconv::Problem p = problem_in(parsed(descriptor), Layout::nhwc);
      return make_blocking(p, kLong, kLarge, Lanes::channels, PixelForm::taps, b);
    };
    Blocking b;
    REQUIRE(block_of("mb8ic960ih19oc24kh3sh2ph1", b));
    CHECK(b.pixel_block == 50);
    REQUIRE(block_of("mb8ic256ih9oc40kh3sh2ph1", b));
    CHECK(b.pixel_block == 25);
    CHECK_FALSE(block_of("mb8ic32ih9oc40kh3sh2ph1", b));  // little depth, little padding
  }

  TEST_CASE("windows in place and far weights: blocks of what a k-block's rows of taps read") {
    const auto block_of = [](const char* descriptor, const Tiles& tiles) {
      Blocking b;
      REQUIRE(make_blocking(problem_in(parsed(descriptor), Layout::nhwc), tiles, kLarge,
                            Lanes::channels, PixelForm::in_place, b));
      return b;
    };
    // A row of seven taps is two k-blocks, of 14 output rows or more. Half of a panel is empty.
    CHECK(block_of("mb1ic300ih120oc16kh7sh2ph3", kLong).pixel_block >= 3 * 60);
    CHECK(block_of("mb1ic512ih60oc8kh7sh2ph3", kLong).pixel_block >= 4 * 30);
    // What is near is read from all rows under a block.
    CHECK(block_of("mb1ic96ih120oc16kh7sh2ph3", kLong).pixel_block <= 2 * 60);
    CHECK(block_of("mb1ic300ih120oc16kh7sh2ph3", kShort).pixel_block <= 60);
  }

  TEST_CASE("shallow windows in place are swept by blocks where y leaves L2") {
    const auto pixels_of = [](const char* descriptor, const Tiles& tiles) {
      const Blocking b =
          choose_blocking(problem_in(parsed(descriptor), Layout::nhwc), tiles, kLarge, true);
      CHECK(b.form == PixelForm::in_place);
      CHECK(b.lanes == Lanes::channels);
      return b.pixel_block;
    };
    // 2 MB and more of y, and 4.
    CHECK(pixels_of("mb1ic12ih80oc150kh1", kLong) < 500);
    CHECK(pixels_of("mb1ic12ih80oc150kh1", kShort) < 500);
    CHECK(pixels_of("mb1ic16ih80oc150kh1", kShort) > 3000);
    CHECK(pixels_of("mb1ic32ih80oc150kh1", kLong) > 3000);
    CHECK(pixels_of("mb1ic32ih90oc150kh1", kLong) < 500);
    CHECK(pixels_of("mb1ic12ih50oc150kh1", kLong) == 2500);
  }

  TEST_CASE("a patch and far weights leave each other no room in L2") {
    const auto blocking_of = [](const char* descriptor) {
      Blocking b;
      REQUIRE(make_blocking(problem_in(parsed(descriptor), Layout::nchw), kLong, kLarge,
                            Lanes::channels, PixelForm::patch, b));
      return b;
    };
    const Blocking far = blocking_of("mb1ic300ih60oc16kh7sh2ph3");
    const Blocking near = blocking_of("mb1ic150ih60oc16kh7sh2ph3");
    // Twice the depth takes more than twice the time.
    CHECK(far.pack_cycles > 3 * near.pack_cycles);
    CHECK(far.fma_cycles > 2.03 * near.fma_cycles);
  }

  TEST_CASE("tiles straddle output rows that leave them all but empty") {
    const Blocking wide = choose_blocking(problem_in(parsed("mb1ic64ih40oc64kh5sh2"), Layout::nchw),
                                          kLong, kLarge, true);
    CHECK_FALSE(wide.tile.straddles());
    const Blocking narrow = choose_blocking(problem_in(parsed("mb1ic128ih5oc128kh3"), Layout::nchw),
                                            kLong, kLarge, true);
    CHECK(narrow.form == PixelForm::patch);
    CHECK(narrow.tile.straddles());
    for (const Tiles& tiles : kTiles) {
      const Blocking b = choose_blocking(problem_in(parsed("mb1ic512ih3oc512kh3ph1"), Layout::nhwc),
                                         tiles, kLarge, true);
      CHECK(b.form == PixelForm::taps);
      CHECK(b.along == Along::area);
      CHECK(b.tile.straddles());
    }
  }

  TEST_CASE("rows in place that share sets of L1 are few") {
    const Tiles& tiles = kLong;
    const auto rows_of = [&](std::int64_t channels, const CacheSizes& caches = kCaches[3]) {
      const Problem problem = parsed("mb1ic" + std::to_string(channels) + "ih14oc64kh1");
      Blocking b;
      REQUIRE(make_blocking(problem_in(problem, Layout::nhwc), tiles, caches, Lanes::channels,
                            PixelForm::in_place, b));
      return b.tile.mr;
    };
    CHECK(rows_of(96) == tiles.channels.mr);
    CHECK(rows_of(512) == tiles.channels.mr);
    CHECK(rows_of(1024) == 7);
    CHECK(rows_of(2048) == 7);
    CHECK(rows_of(1024, kCaches[4]) == 11);  // 48 KB have twelve ways
  }

  TEST_CASE("narrow groups have narrow tiles") {
    const Tiles& tiles = kShort;
    const CacheSizes& caches = kCaches[3];
    const fastconv::Problem p =
        problem_in(parsed("mb1g16ic128ih112oc128oh56kh3sh2ph1"), Layout::nhwc);
    Blocking b;
    REQUIRE(make_blocking(p, tiles, caches, Lanes::channels, PixelForm::patch, b));
    CHECK(b.tile.mr == tiles.channels.narrow_mr);
  }

  TEST_CASE("narrow tiles are tall where rows of the output are cut so and deep enough") {
    const Tiles& tiles = kShort;
    const auto rows_of = [&](const char* descriptor) {
      return in_place(tiles, Lanes::channels, descriptor).tile.mr;
    };
    const int straddling = tiles.channels.straddling;
    CHECK(rows_of("mb1ic64ih28oc8kh3ph1") == tiles.channels.narrow_mr);
    CHECK(rows_of("mb1ic64ih14oc8kh3ph1") == straddling);  // two of seven
    CHECK(rows_of("mb1ic64ih14oc8kh1") == tiles.channels.narrow_mr);
    CHECK(rows_of("mb1ic32ih56oc8kh1sh2") == straddling);
    CHECK(rows_of("mb1ic64ih28oc24kh3ph1") == tiles.channels.mr);
  }

  TEST_CASE("few channels sum some of many planes in place at a time") {
    const auto planes_of = [](const Tiles& tiles, const char* descriptor) {
      return in_place(tiles, Lanes::pixels, descriptor).kc;
    };
    for (const Tiles& tiles : kTiles) {
      CHECK(planes_of(tiles, "mb1ic900ih60oc8kh1") <= 16);  // from memory
      CHECK(planes_of(tiles, "mb1ic200ih40oc32kh1") > 48);
      const bool is_short = tiles.pixels.sums() <= 12;
      CHECK((planes_of(tiles, "mb1ic200ih40oc8kh1") <= 48) == is_short);
    }
  }

  TEST_CASE("pixels in place go packed to the tiles of many channels, where L2 has them, too") {
    const auto copies = [](const Tiles& tiles, const char* descriptor) {
      return in_place(tiles, Lanes::pixels, descriptor).copies;
    };
    CHECK(copies(kLong, "mb1ic480ih14oc80kh1"));
    CHECK_FALSE(copies(kLong, "mb1ic480ih14oc33kh1"));
    CHECK(copies(kShort, "mb1ic480ih14oc33kh1"));
    // More planes than L1 has room for, but of an image from memory; of one in L2 for many
    // channels.
    CHECK(copies(kLong, "mb1ic64ih80oc48kh1"));
    CHECK_FALSE(copies(kLong, "mb1ic24ih80oc48kh1"));
    CHECK_FALSE(copies(kLong, "mb1ic64ih81oc48kh1"));
    CHECK_FALSE(copies(kLong, "mb1ic64ih112oc48kh1"));
    CHECK(copies(kLong, "mb1ic32ih80oc64kh1"));
    CHECK_FALSE(copies(kLong, "mb1ic32ih80oc48kh1"));
  }

  TEST_CASE("detected caches are believable") {
    const CacheSizes caches = detected_caches();
    CHECK(caches.l1 >= (16 << 10));
    CHECK(caches.l2 >= (128 << 10));
  }

  TEST_CASE("the workspace does not grow with image, batch or groups") {
    struct Growth {
      std::int64_t mb, groups, size;
    };
    constexpr Growth kGrowth[] = {{1, 1, 7},      {1, 1, 56},   {1, 1, 224},   {1, 1, 1000},
                                  {1, 1, 4096},   {64, 1, 56},  {64, 1, 4096}, {1, 64, 56},
                                  {64, 64, 4096}, {1, 64, 4096}};
    for (const Isa isa : tested_isas()) {
      CAPTURE(std::string(name(isa)));
      const KernelTable& table = *kernel_table(isa);
      const Tiles tiles(table);
      for (const std::int64_t kernel : {1, 3}) {
        for (const Growth& growth : kGrowth) {
          CAPTURE(growth.mb);
          CAPTURE(growth.groups);
          CAPTURE(growth.size);
          Conv2d conv;
          conv.in_channels = 64 * growth.groups;
          conv.out_channels = 96 * growth.groups;
          conv.groups = growth.groups;
          conv.kernel_size = kernel;
          conv.padding = kernel / 2;
          const Tensor weights(Layout::nchw, {conv.out_channels, 64, kernel, kernel});
          fill_with(weights.view(), 1.0F);
          LayerOptions options;
          options.algorithm = Algorithm::gemm;
          options.isa = isa;
          Layer layer;
          REQUIRE(Layer::create(conv, weights.view(), nullptr, options, layer).ok());
          for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
            const Dims<4> x{growth.mb, conv.in_channels, growth.size, growth.size};
            const Dims<4> y{growth.mb, conv.out_channels, growth.size, growth.size};
            for (const int threads : {1, 8}) {
              Plan plan;
              const Status status =
                  layer.plan({nullptr, x, strides_of(layout, x), nullptr, -1},
                             {nullptr, y, strides_of(layout, y), nullptr, -1}, plan, threads);
              REQUIRE_MESSAGE(status.ok(), text(status));
              CHECK(plan.workspace_bytes() <=
                    plan.slots() * workspace_bound(tiles, detected_caches()) + 64);
            }
          }
        }
      }
    }
  }

  TEST_CASE("nor does that of few channels and of depthwise, for 7x7 dilated by 5") {
    for (const Isa isa : tested_isas()) {
      CAPTURE(std::string(name(isa)));
      for (const Algorithm algorithm : {Algorithm::direct, Algorithm::depthwise}) {
        for (const std::int64_t channels : {3, 64, 512}) {
          const std::int64_t groups = algorithm == Algorithm::depthwise ? channels : 1;
          Conv2d conv = conv_of(channels, groups == 1 ? 3 : channels, 7, 15, groups);
          conv.dilation = 5;
          const Tensor weights(Layout::nchw, {conv.out_channels, channels / groups, 7, 7});
          fill_with(weights.view(), 1.0F);
          LayerOptions options;
          options.algorithm = algorithm;
          options.isa = isa;
          Layer layer;
          REQUIRE(Layer::create(conv, weights.view(), nullptr, options, layer).ok());
          for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
            const auto bytes_of = [&](std::int64_t mb, std::int64_t size) {
              const Dims<4> x{mb, channels, size, size};
              const Dims<4> y{mb, conv.out_channels, size, size};
              Plan plan;
              REQUIRE(layer
                          .plan({nullptr, x, strides_of(layout, x), nullptr, -1},
                                {nullptr, y, strides_of(layout, y), nullptr, -1}, plan, 8)
                          .ok());
              return plan.workspace_bytes() / plan.slots();
            };
            for (const std::int64_t size : {1000, 4096, 50000}) {
              CHECK(bytes_of(size > 1000 ? 64 : 1, size) <= 4 * detected_caches().l2);
            }
          }
        }
      }
    }
  }
}

}  // namespace fastconv::testing
