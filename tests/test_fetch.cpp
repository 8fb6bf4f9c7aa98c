// SPDX-License-Identifier: Apache-2.0
// What tiles fetch, and how those over a panel share it.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "../lib/blocking.hpp"
#include "../lib/operands.hpp"
#include "problem_in.hpp"

namespace fastconv::testing {
namespace {

Blocking blocking(const std::string& descriptor, PixelForm form, const Tiles& tiles) {
  CAPTURE(descriptor);
  const fastconv::Problem problem = problem_in(parsed(descriptor), Layout::nhwc);
  Blocking b;
  REQUIRE(make_blocking(problem, tiles, kLarge, Lanes::channels, form, b));
  return b;
}

}  // namespace

TEST_SUITE("fetch") {
  TEST_CASE("the next block's patch, from far away and where nothing waits behind it") {
    const auto patch = [](const char* descriptor) {
      return blocking(descriptor, PixelForm::patch, kLong).fetch_patch;
    };
    CHECK(patch("mb1ic32ih416oc64kh3sh2ph1"));
    CHECK(!patch("mb1ic32ih56oc64kh3sh2ph1"));   // near
    CHECK(!patch("mb1ic512ih28oc512kh3ph1"));    // the weights are fetched instead
    CHECK(!patch("mb1ic64ih208oc64kh1sh2ph0"));  // of which every second row and column is read
    CHECK(patch("g32mb1ic512ih28oc512kh3sh2ph1"));
    CHECK(!patch("g32mb1ic512ih28oc1024kh3sh2ph1"));
    CHECK(!patch("g32mb1ic512ih56oc512kh3sh2ph1"));    // windows beyond L1
    CHECK(!patch("g32mb1ic2048ih14oc2048kh3sh2ph1"));  // weights beyond L2
  }

  TEST_CASE("weights of several tiles, and pixels of one tap, from beyond L2") {
    CHECK(blocking("mb1ic512ih28oc512kh3ph1", PixelForm::patch, kLong).fetch_weights);
    CHECK(!blocking("mb1ic64ih28oc64kh3ph1", PixelForm::patch, kLong).fetch_weights);
    CHECK(!blocking("mb1ic2048ih3oc512kh1ph0", PixelForm::in_place, kLong).fetch_weights);
    CHECK(blocking("mb1ic256ih129oc21kh1ph0", PixelForm::in_place, kLong).fetch_pixels > 0);
    CHECK(blocking("mb1ic512ih14oc21kh1ph0", PixelForm::in_place, kLong).fetch_pixels == 0);
    // Shallow ones from L2, too, under all channels.
    CHECK(blocking("mb1ic64ih56oc96kh1ph0", PixelForm::in_place, kLong).fetch_pixels == 96);
    CHECK(blocking("mb1ic64ih4oc96kh1ph0", PixelForm::in_place, kLong).fetch_pixels == 0);
  }

  TEST_CASE("lines of x, before the first group's channels, where prefetchers do not follow them") {
    const auto block = [](const char* descriptor, const Tiles& tiles) {
      return blocking(descriptor, PixelForm::in_place, tiles);
    };
    for (const Tiles& tiles : {kShort, kHalves}) {
      CHECK(block("g32mb1ic768ih52oc768kh1ph0", tiles).reads_lines);
      CHECK(!block("g32mb1ic768ih13oc768kh1ph0", tiles).reads_lines);  // near
      CHECK(!block("mb1ic768ih52oc768kh1ph0", tiles).reads_lines);
      CHECK(!block("g4mb1ic1024ih52oc1024kh3ph1", tiles).reads_lines);  // a group after the other
      CHECK(block("g20mb1ic640ih100oc640kh3ph1", tiles).groups_within);
      CHECK(!block("g20mb1ic640ih26oc640kh3ph1", tiles).groups_within);
    }
    for (const Tiles& tiles : {kShortIntel, kLong}) {
      CHECK(!block("g32mb1ic768ih52oc768kh1ph0", tiles).reads_lines);
      CHECK(!block("g20mb1ic640ih100oc640kh3ph1", tiles).groups_within);
    }
  }

  TEST_CASE("rows below windows that go down by more than one") {
    const auto rows = [](const char* descriptor, const Tiles& tiles) {
      return blocking(descriptor, PixelForm::in_place, tiles).fetch_rows;
    };
    CHECK(rows("mb1ic3ih224oc16kh3sh2ph1", kLong));
    CHECK(!rows("mb1ic3ih224oc16kh3sh2ph1", kHalves));
    CHECK(!rows("mb1ic3ih224oc16kh3ph1", kLong));
    CHECK(!rows("mb1ic3ih224oc16kh1sh2ph0", kLong));
    CHECK(!rows("mb1ic3ih112oc16kh3sh2ph1", kLong));     // near
    CHECK(!rows("mb1ic512ih28oc512kh3sh2ph1", kLong));   // the weights instead
    CHECK(!rows("g2mb1ic64ih224oc64kh3sh2ph1", kLong));  // channels of a group
    CHECK(!rows("mb1ic16ih224oc16kh3sh2ph1dh1", kLong));
  }

  TEST_CASE("y, of shallow tiles, where long vectors are halves, or of several sweeps in memory") {
    const auto y = [](const char* descriptor, const Tiles& tiles) {
      return blocking(descriptor, PixelForm::in_place, tiles).fetch_y;
    };
    CHECK(y("mb1ic9ih150oc96kh1ph0", kLong));
    CHECK(!y("mb1ic16ih150oc96kh1ph0", kLong));
    CHECK(y("mb1ic16ih150oc96kh1ph0", kHalves));
    CHECK(y("mb1ic16ih300oc96kh1ph0", kLong));
    CHECK(!y("mb1ic16ih600oc32kh1ph0", kLong));  // in one
    CHECK(!y("mb1ic16ih30oc96kh1ph0", kHalves));
  }

  TEST_CASE("the tiles' parts are the panel, each one's in proportion to its rows") {
    constexpr std::int64_t kMostRows = 6;
    for (const std::int64_t nr : {12, 24, 32}) {
      for (const std::int64_t depth : {1, 2, 7, 256}) {
        for (std::int64_t rows = 1; rows <= 40; ++rows) {
          CAPTURE(nr);
          CAPTURE(depth);
          CAPTURE(rows);
          const std::vector<float> next(static_cast<std::size_t>(depth * nr));
          std::int64_t end = 0;  // of what is fetched so far
          for (std::int64_t row = 0; row < rows;) {
            // As many tiles of one height as a call takes.
            const std::int64_t height = std::min(kMostRows, rows - row);
            const std::int64_t tiles = (rows - row) / height;
            TileArguments tile;
            share_fetch(next.data(), depth, nr, row, height, rows, tile);
            const std::int64_t begin = tile.fetch - next.data();
            CHECK(begin <= end);
            const std::int64_t part = depth * tile.fetch_step;
            CHECK(tile.fetch_part == part);
            CHECK(part * rows < depth * (nr * height + rows));  // less than a float a step too many
            end = std::max(end, begin + tiles * part);
            row += tiles * height;
          }
          CHECK(end >= depth * nr);
        }
      }
    }
  }

  TEST_CASE("nothing is fetched for no next panel") {
    const float panel[24] = {};
    TileArguments tile;
    tile.b = panel;
    share_fetch(panel, 1, 24, 6, 6, 12, tile);
    CHECK(tile.fetch == nullptr);
    CHECK(tile.fetch_step == 0);
  }
}

}  // namespace fastconv::testing
