// SPDX-License-Identifier: Apache-2.0
// How the tiles over a panel share what they fetch for those after them.
#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "../lib/operands.hpp"

namespace fastconv::testing {

TEST_SUITE("fetch") {
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
