// SPDX-License-Identifier: Apache-2.0
#include "tiles.hpp"

#include <algorithm>
#include <numeric>

#include "integers.hpp"
#include "isa.hpp"

namespace fastconv {

Tiles::Tiles(const KernelTable& table) noexcept {
  const auto tile = [&](AForm form, int vectors) {
    const int(&rows)[kTileVectors] = table.max_rows[static_cast<int>(form)];
    Tile result;
    result.width = table.width;
    result.nr = table.width * vectors;
    result.mr = rows[vectors - 1];
    result.narrow_mr = rows[0];
    if (2 * vectors <= kTileVectors) {
      result.joined_mr = rows[vectors];
      result.wide_mr = rows[2 * vectors - 1];
    }
    if (form == AForm::rows) result.straddling = table.straddling_rows;
    result.halves = form == AForm::rows && table.half_gemm[rows[0] - 1] != nullptr;
    result.fuses = table.fuses;
    result.zen = is_zen();
    if (table.width > 8 && result.zen) result.cycle = 0.5;
    if (table.width == 8 && !result.zen) result.fma = kFma / 0.93;
    return result;
  };
  channels = tile(AForm::rows, table.vectors);
  pixels = tile(AForm::columns, table.pixel_vectors);
}

int rows_beside(std::int64_t pitch, int most, const CacheSizes& caches) noexcept {
  constexpr std::int64_t page = kPageBytes / kFloat;
  const std::int64_t apart = page / std::gcd(pitch, page);
  return static_cast<int>(std::min<std::int64_t>(most, (caches.ways() - 1) * apart));
}

void Tile::keep_straddling() noexcept {
  mr = std::min(mr, straddling);
  narrow_mr = std::min(narrow_mr, straddling);
  joined_mr = std::min(joined_mr, straddling);
  wide_mr = std::min(wide_mr, straddling);
}

void Tile::keep_rows_beside(std::int64_t pitch, const CacheSizes& caches) noexcept {
  mr = rows_beside(pitch, mr, caches);
  narrow_mr = rows_beside(pitch, narrow_mr, caches);
  joined_mr = rows_beside(pitch, joined_mr, caches);
}

std::int64_t tile_lanes(std::int64_t rows, std::int64_t rest, const Tile& tile) noexcept {
  if (tile.wide_mr == 0) return std::min<std::int64_t>(rest, tile.nr);
  const bool few_rows = rows <= tile.wide_mr;
  // Of channels, whose rows are pixels: over those a first tile packs what it reads, no wide one.
  const bool last_vector = rest <= tile.nr + tile.width && tile.straddling > 0;
  return std::min<std::int64_t>(rest, few_rows || last_vector ? 2 * tile.nr : tile.nr);
}

double tile_cycles(std::int64_t depth, std::int64_t rows, std::int64_t lanes,
                   std::int64_t row_panel, const Tile& tile, std::int64_t segments,
                   double least_step, double from) noexcept {
  const double overhead = (kTile + real(segments - 1) * kSegment) * tile.cycle;
  double cycles = 0;
  for (const std::int64_t part : {rows / row_panel * row_panel, rows % row_panel}) {
    if (part == 0) continue;
    const std::int64_t panel = std::min(part, row_panel);
    const auto cost = [&](std::int64_t lanes_of_tile) {
      const int most_rows = tile.rows(lanes_of_tile);
      const std::int64_t tiles = part / panel * ceil_div(panel, most_rows);
      const double height = real(part) / real(tiles);
      const bool is_half =
          tile.halves && lanes_of_tile <= tile.width / 2 && height >= kLeastHalfRows;
      const double vectors = is_half ? 0.5 : real(ceil_div(lanes_of_tile, tile.width));
      const double load = tile.two_long_fma() ? kLoadLong : kLoadTile;
      const double loads = (height + std::max(vectors, 1.0)) * load;
      const double step = std::max({least_step, real(lanes_of_tile * kFloat) / from, loads});
      return (real(depth) * std::max(height * vectors * tile.fma, step * tile.cycle) + overhead) *
             real(tiles);
    };
    // Tiles alike, but for those of the last lanes.
    const std::int64_t most = tile_lanes(panel, lanes, tile);
    const std::int64_t alike = std::max<std::int64_t>(lanes / most - 1, 0);
    cycles += real(alike) * cost(most);
    for (std::int64_t rest = lanes - alike * most; rest > 0;) {
      const std::int64_t taken = tile_lanes(panel, rest, tile);
      cycles += cost(taken);
      rest -= taken;
    }
  }
  return cycles;
}

double scatter_cycles(std::int64_t along, std::int64_t across, int width) noexcept {
  const std::int64_t masked = width < kMaxWidth ? along % width : 0;
  return real(ceil_div(across, width)) *
         (real(round_up(along, width)) * kScatter + real(width * masked) * kStoreScalar);
}

}  // namespace fastconv
