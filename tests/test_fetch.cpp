// SPDX-License-Identifier: Apache-2.0
// How the tiles over a panel share what they fetch for those after them.
#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "../lib/operands.hpp"

namespace fastconv::testing {

TEST_SUITE("fetch") {
  TEST_CASE("the tiles' parts are the panel, each one's in proportion to its rows") {
    constexpr std::int64_t kAhead = 1000, kMostRows = 6;
    for (const std::int64_t nr : {12, 24, 32}) {
      for (const std::int64_t depth : {1, 2, 7, 256}) {
        for (std::int64_t rows = 1; rows <= 40; ++rows) {
          CAPTURE(nr);
          CAPTURE(depth);
          CAPTURE(rows);
          std::int64_t end = kAhead;  // of what is fetched so far
          for (std::int64_t row = 0; row < rows;) {
            // As many tiles of one height as a call takes.
            const std::int64_t height = std::min(kMostRows, rows - row);
            const std::int64_t tiles = (rows - row) / height;
            TileArguments tile;
            share_fetch(kAhead, depth, nr, row, height, rows, tile);
            CHECK(tile.b_ahead <= end);
            const std::int64_t part = depth * tile.b_fetch;
            CHECK(part * rows < depth * (nr * height + rows));  // less than a float a step too many
            end = std::max(end, tile.b_ahead + tiles * part);
            row += tiles * height;
          }
          CHECK(end >= kAhead + depth * nr);
        }
      }
    }
  }

  TEST_CASE("nothing is fetched for no next panel") {
    TileArguments tile;
    share_fetch(0, 64, 24, 6, 6, 12, tile);
    CHECK(tile.b_ahead == 0);
    CHECK(tile.b_fetch == 0);
  }
}

}  // namespace fastconv::testing
