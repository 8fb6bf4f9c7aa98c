// SPDX-License-Identifier: Apache-2.0
#include "gemm.hpp"

#include <algorithm>

#include "block_product.hpp"
#include "integers.hpp"
#include "tap_product.hpp"
#include "taps.hpp"

namespace fastconv {

std::int64_t gemm_workspace_bytes(const Problem& p, const Blocking& b, int weight_nr) noexcept {
  // By taps, of two panels at most, and as much for areas of part of the rows.
  const bool taps = b.form == PixelForm::taps;
  const std::int64_t channels =
      taps ? std::min<std::int64_t>(b.channel_block, 2 * b.tile.nr) : b.channel_block;
  const std::int64_t sums =
      p.c_per_group() * p.taps() > b.kc
          ? round_up(b.images * b.pixel_block, b.tile.nr) * round_up(channels, weight_nr)
          : 0;
  const std::int64_t areas = taps && b.along == Along::area ? sums : 0;
  return round_up(b.buffer_elements() + sums + areas, 16) *
         static_cast<std::int64_t>(sizeof(float));
}

namespace {

struct Block {
  std::int64_t n, group, pixel, pixels, channel, channels;
};

// How the output is cut. Blocks of whole_rows that are smaller than a row end with it.
struct Grid {
  const Problem& p;
  const Blocking& b;
  std::int64_t rows;            // of blocks of pixels
  std::int64_t blocks_per_row;  // of pixels
  std::int64_t row_pixels;      // that they cut
  std::int64_t channel_blocks;

  Grid(const Problem& problem, const Blocking& blocking) noexcept : p(problem), b(blocking) {
    const bool parts = b.whole_rows && b.pixel_block < p.ow;
    rows = parts ? p.oh : 1;
    row_pixels = parts ? p.ow : p.oh * p.ow;
    blocks_per_row = ceil_div(row_pixels, b.pixel_block);
    channel_blocks = ceil_div(p.k_per_group(), b.channel_block);
  }

  Block operator[](std::int64_t index) const noexcept {
    const auto place = [&](std::int64_t count) {
      if (count == 1) return std::int64_t{0};  // a division is felt on tiny images
      const std::int64_t at = index % count;
      index /= count;
      return at;
    };
    Block block;
    block.channel = place(channel_blocks) * b.channel_block;
    block.group = place(b.groups_within ? p.groups : 1);
    const std::int64_t in_row = place(blocks_per_row) * b.pixel_block;
    block.pixel = place(rows) * row_pixels + in_row;
    if (!b.groups_within) block.group = place(p.groups);
    block.n = index * b.images;
    block.channels = std::min(b.channel_block, p.k_per_group() - block.channel);
    block.pixels = std::min(b.pixel_block, row_pixels - in_row);
    return block;
  }
};

}  // namespace

std::int64_t gemm_blocks(const Problem& p, const Blocking& b) noexcept {
  const Grid grid(p, b);
  return ceil_div(p.n, b.images) * p.groups * grid.rows * grid.blocks_per_row * grid.channel_blocks;
}

void split_for_threads(const Problem& p, int weight_nr, int threads, Blocking& b) noexcept {
  const Tile& tile = b.tile;
  // Pixels are cut at what the form packs or reads as one.
  const std::int64_t unit = b.form == PixelForm::taps  ? p.ow
                            : b.whole_rows             ? std::min(b.pixel_block, p.ow)
                            : b.lanes == Lanes::pixels ? tile.nr
                                                       : tile.mr;
  const auto halve = [](std::int64_t block, std::int64_t step) {
    return round_up(ceil_div(block, 2), step);
  };
  while (gemm_blocks(p, b) < 3 * std::int64_t{threads}) {
    // A block of fewer pixels reads the weights more often, one of fewer channels packs more often.
    if (b.pixel_block > unit && b.pixel_block * tile.nr >= b.channel_block * tile.mr) {
      b.pixel_block = halve(b.pixel_block, unit);
      b.pack_block = b.whole_rows ? b.pixel_block : std::min(b.pack_block, b.pixel_block);
      if (b.pixel_block % b.pack_block != 0) b.pixel_block = round_up(b.pixel_block, b.pack_block);
    } else if (b.channel_block > weight_nr) {
      b.channel_block = halve(b.channel_block, weight_nr);
    } else if (b.images > 1) {
      b.images = halve(b.images, 1);
    } else {
      break;
    }
  }
}

namespace {

// Some rows and columns of the output as a problem of their own, whose first window may begin
// within the image.
struct Part {
  Problem problem;
  Operands operands;

  Part(const Operands& all, std::int64_t row, std::int64_t column, std::int64_t rows,
       std::int64_t columns) noexcept
      : problem(all.problem),
        operands{problem,     all.table, all.x, all.weights,  all.lanes_per_group,
                 all.finite,  all.bias,  all.y, all.residual, all.residual_strides,
                 all.epilogue} {
    Window& window = problem.window;
    window.padding.top -= row * window.stride.h;
    window.padding.left -= column * window.stride.w;
    problem.oh = rows;
    problem.ow = columns;
    const auto place = [&](auto& tensor, Dims<4>& strides) {
      if (tensor != nullptr) tensor += row * strides[2] + column * strides[3];
      if (columns == 1) strides[3] = strides[2];  // evenly spaced
    };
    place(operands.y, problem.y_strides);
    place(operands.residual, operands.residual_strides);
  }
};

// A block of windows in place of which some reach into the padding, in parts of which all find the
// same taps in the image.
void multiply_parts(const Operands& operands, const Blocking& b, std::int64_t n, std::int64_t group,
                    std::int64_t pixel, std::int64_t pixels, std::int64_t channel,
                    std::int64_t channels, void* workspace) noexcept {
  const Problem& p = operands.problem;
  Blocking border = b;
  if (!operands.skips_padding()) border.form = PixelForm::patch;
  const std::int64_t first_column = pixel % p.ow;
  const std::int64_t end_row = pixel / p.ow + ceil_div(pixels, p.ow);
  const std::int64_t end_column = first_column + std::min(pixels, p.ow);
  for (std::int64_t row = pixel / p.ow, next_row = 0; row < end_row; row = next_row) {
    const TapRange tap_rows = tap_rows_inside(p, row);
    next_row = std::min(end_row, tap_rows.until);
    for (std::int64_t column = first_column, next = 0; column < end_column; column = next) {
      const TapRange tap_columns = tap_columns_inside(p, column);
      next = tap_rows.begin < tap_rows.end ? std::min(end_column, tap_columns.until) : end_column;
      const Part part(operands, row, column, next_row - row, next - column);
      const bool is_inside = tap_rows.end - tap_rows.begin == p.window.kernel_size.h &&
                             tap_columns.end - tap_columns.begin == p.window.kernel_size.w;
      BlockProduct(part.operands, is_inside ? b : border, n, group, workspace)
          .run(0, part.problem.oh * part.problem.ow, channel, channels);
    }
  }
}

// The first pixel of x that a block of whole rows reads.
const float* first_pixel(const Operands& operands, const Block& block) noexcept {
  const Problem& p = operands.problem;
  const std::int64_t row = block.pixel / p.ow * p.window.stride.h - p.window.padding.top;
  return operands.x + block.n * p.x_strides[0] + block.group * p.c_per_group() * p.x_strides[1] +
         std::clamp<std::int64_t>(row, 0, p.h - 1) * p.x_strides[2];
}

}  // namespace

void gemm(const Operands& operands, const Blocking& b, std::int64_t begin, std::int64_t end,
          void* workspace) noexcept {
  const Problem& p = operands.problem;
  const Grid grid(p, b);
  Block next = grid[begin];
  for (std::int64_t index = begin; index < end; ++index) {
    const auto [n, group, pixel, pixels, channel, channels] = next;
    const bool is_last = index + 1 == end;
    if (!is_last) next = grid[index + 1];
    if (b.reads_lines && group == 0 && channel == 0) {
      read_lines(operands, n, {pixel / p.ow, pixel % p.ow},
                 {ceil_div(pixels, p.ow), std::min(pixels, p.ow)});
    }
    if (b.form == PixelForm::taps) {
      const std::int64_t images = std::min(b.images, p.n - n);
      TapProduct(operands, b, {n, n + images}, {pixel / p.ow, (pixel + pixels) / p.ow}, group,
                 workspace)
          .run(channel, channels);
    } else if (b.has_border) {
      multiply_parts(operands, b, n, group, pixel, pixels, channel, channels, workspace);
    } else {
      const bool fetches = b.fetch_patch && !is_last && next.channel == 0;
      BlockProduct(operands, b, n, group, workspace)
          .run(pixel, pixels, channel, channels, fetches ? first_pixel(operands, next) : nullptr);
    }
  }
}

}  // namespace fastconv
