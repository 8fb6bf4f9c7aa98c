// SPDX-License-Identifier: Apache-2.0
// Winograd's blocking as a pure function, for caches that this machine need not have.
#include <doctest/doctest.h>

#include <algorithm>
#include <iterator>
#include <string>

#include "../lib/winograd.hpp"
#include "problem_in.hpp"

namespace fastconv::testing {

TEST_SUITE("blocking") {
  TEST_CASE("Winograd's workspace is bounded by the caches") {
    for_each_blocking(
        {std::begin(kCaches), std::end(kCaches)},
        [](const fastconv::Problem& p, const Tiles& tiles, const CacheSizes& caches) {
          const Pair kernel = p.window.kernel_size;
          // Of transformed tiles: near ones, or what L3 has room for.
          const std::int64_t room =
              std::max(2 * caches.l2, std::min<std::int64_t>(8 * caches.l2, 8 << 20));
          for (int variant = 0; variant < kWinogradCount; ++variant) {
            CAPTURE(variant);
            Conv2d conv;
            conv.kernel_size = kernel;
            if (!is_winograd(kWinogradVariants[variant], conv.window())) continue;
            for (const bool owned : {false, true}) {
              CAPTURE(owned);
              const WinogradBlocking b = choose_winograd(p, variant, owned, tiles.channels, caches);
              // One tile at the least; sums, weights on their way and a patch.
              const std::int64_t tile =
                  b.points() * (p.c_per_group() + 32) * static_cast<std::int64_t>(sizeof(float));
              CHECK(winograd_workspace_bytes(b) <= room + room / 4 + 2 * tile + (2 << 20));
            }
          }
        });
  }

  TEST_CASE("Winograd costs an image the same in any batch") {
    // Or the bits would depend on the batch.
    for (const char* const descriptor :
         {"mb1ic47ih4iw48oc13kh3kw3ph1pw0dh0dw6", "mb1ic64ih56oc64kh3ph1", "mb1ic40ih7oc512kh3ph1",
          "mb1ic64ih33oc24kh3ph5dh4", "mb1ic16ih9iw200oc33kh3kw3ph0pw2dh1dw0"}) {
      CAPTURE(std::string(descriptor));
      for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
        for (const Tiles& tiles : kTiles) {
          for (const CacheSizes& caches : kCaches) {
            for (int variant = 0; variant < kWinogradCount; ++variant) {
              const Problem one = parsed(descriptor);
              if (!is_winograd(kWinogradVariants[variant], one.conv.window())) continue;
              Problem many = one;
              for (const bool owned : {false, true}) {
                const auto cycles = [&](const Problem& p) {
                  return choose_winograd(problem_in(p, layout), variant, owned, tiles.channels,
                                         caches)
                      .cycles();
                };
                for (const std::int64_t n : {2, 5, 64}) {
                  many.mb = n;
                  CHECK(cycles(many) == cycles(one));
                }
              }
            }
          }
        }
      }
    }
  }

  TEST_CASE("along one axis Winograd waits for results that leave L2, on two long FMAs a cycle") {
    const auto of_one = [](std::int64_t size, const Tiles& tiles) {
      const std::string edge = std::to_string(size);
      const Problem problem = parsed("mb1ic18ih" + edge + "iw" + edge + "oc448kh1kw5ph0pw2");
      const auto* const found =
          std::find_if(std::begin(kWinogradVariants), std::end(kWinogradVariants),
                       [&](const auto& v) { return is_winograd(v, problem.conv.window()); });
      REQUIRE(found != std::end(kWinogradVariants));
      const int variant = static_cast<int>(found - std::begin(kWinogradVariants));
      const WinogradBlocking b =
          choose_winograd(problem_in(problem, Layout::nhwc), variant, true, tiles.channels, kLarge);
      return b.store_cycles / real(b.tiles_of_image());
    };
    CHECK(of_one(112, kLong) > 1.3 * of_one(24, kLong));
    CHECK(of_one(112, kShort) < 1.1 * of_one(24, kShort));
    CHECK(of_one(112, kHalves) < 1.1 * of_one(24, kHalves));
  }

  TEST_CASE("Winograd's blocks leave no thread long without one") {
    for (const char* const descriptor :
         {"mb1ic64ih56oc64kh3ph1", "mb1ic128ih28oc128kh3ph1", "mb1ic256ih14oc256kh3ph1",
          "mb1ic512ih7oc512kh3ph1", "mb5ic96ih13oc160kh3ph1", "mb1_g2ic256ih14oc256kh3ph1"}) {
      CAPTURE(std::string(descriptor));
      const fastconv::Problem p = problem_in(parsed(descriptor), Layout::nhwc);
      for (const Tiles& tiles : kTiles) {
        for (const int threads : {2, 3, 4}) {
          CAPTURE(threads);
          WinogradBlocking b = choose_winograd(p, 1, true, tiles.channels, kCaches[0]);
          const std::int64_t work = p.groups * p.n * b.tiles_of_image() * b.panels;
          const std::int64_t most = b.tiles;
          split_for_threads(p, tiles.channels, threads, b);
          CHECK(b.tiles <= most);
          const std::int64_t blocks = winograd_blocks(p, tiles.channels.nr, b);
          const std::int64_t longest = ceil_div(blocks, threads) * b.tiles * b.panels;
          // 224 for 196 where setting up a block takes long beside its FMAs.
          CHECK(static_cast<double>(longest * threads) <= 1.15 * static_cast<double>(work));
        }
      }
    }
  }
}

}  // namespace fastconv::testing
