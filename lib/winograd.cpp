// SPDX-License-Identifier: Apache-2.0
#include "winograd.hpp"

#include <algorithm>

#include "costs.hpp"
#include "integers.hpp"

namespace fastconv {
namespace {

constexpr auto kFloat = static_cast<std::int64_t>(sizeof(float));
constexpr std::int64_t kLine = 16;           // floats of a cache line
constexpr std::int64_t kPartFloats = 2048;   // of a point of weights that are transformed at a time
constexpr double kNearWeights = 1 << 22;     // bytes
constexpr double kRepeated = 0.03;           // share of all cycles
constexpr std::int64_t kFarBytes = 8 << 20;  // of V that L3 has room for
constexpr std::int64_t kLeastTiles = 28;     // that share a pass of the weights

// Of one block.
class Block {
 public:
  Block(const Operands& operands, const WinogradBlocking& blocking, std::int64_t group,
        void* workspace) noexcept
      : t_(operands),
        p_(operands.problem),
        b_(blocking),
        nr_(operands.table.nr()),
        width_(operands.table.width),
        max_rows_(Tiles(operands.table).channels.mr),
        size_(winograd_index(blocking.m)),
        step_(operands.problem.window.dilation),
        group_(group),
        u_(static_cast<float*>(workspace)),
        v_(u_ + b_.u_elements),
        m_(v_ + b_.points() * b_.v_stride),
        patch_(m_ + b_.points() * b_.m_stride),
        staged_(patch_ + b_.patch_elements) {}

  void run(std::int64_t tile, std::int64_t tiles, std::int64_t panel,
           std::int64_t panels) noexcept {
    for_each_run(tile, tiles, [&](const Run& run) { transform_input(run); });
    for (std::int64_t i = 0; i < panels; ++i) {
      multiply(panel + i, tiles);
      for_each_run(tile, tiles, [&](const Run& run) { transform_output(run, panel + i); });
    }
  }

 private:
  // Tiles that follow each other along a row.
  struct Run {
    std::int64_t n;
    std::int64_t row, column;  // of the first one's first output
    std::int64_t count;
    std::int64_t at;  // the first one's in the block
  };

  template <class Body>
  void for_each_run(std::int64_t tile, std::int64_t tiles, Body body) noexcept {
    for (std::int64_t at = 0; at < tiles;) {
      std::int64_t rest = tile + at;
      const auto take = [&](std::int64_t size) {
        const std::int64_t digit = rest % size;
        rest /= size;
        return digit;
      };
      const std::int64_t column = take(b_.tile_columns);
      const std::int64_t row = take(b_.tile_rows);
      const std::int64_t grid_column = take(std::min(step_.w, p_.ow));
      const std::int64_t grid_row = take(std::min(step_.h, p_.oh));
      const std::int64_t count = std::min(b_.tile_columns - column, tiles - at);
      body(Run{rest, grid_row + row * b_.m * step_.h, grid_column + column * b_.m * step_.w, count,
               at});
      at += count;
    }
  }

  void transform_input(const Run& run) noexcept {
    const std::int64_t channels = p_.c_per_group();
    const std::int64_t side = b_.m + 2;
    const std::int64_t top = run.row - p_.window.padding.top;
    const std::int64_t left = run.column - p_.window.padding.left;
    const std::int64_t tile_step = b_.m * step_.w;
    const float* x = t_.x + run.n * p_.x_strides[0] + group_ * channels * p_.x_strides[1];
    // The tiles that lie in the image are read in place, in whole vectors of channels.
    std::int64_t begin = 0, end = 0, whole = 0;
    if (p_.x_strides[1] == 1 && top >= 0 && top + (side - 1) * step_.h < p_.h) {
      begin = std::min(run.count, left < 0 ? ceil_div(-left, tile_step) : 0);
      const std::int64_t room = p_.w - 1 - (side - 1) * step_.w - left;
      end = std::clamp(room >= 0 ? room / tile_step + 1 : 0, begin, run.count);
      whole = channels / width_ * width_;
    }
    if (whole > 0 && begin < end) {
      WinogradInput in;
      in.x = x + top * p_.x_strides[2] + (left + begin * tile_step) * p_.x_strides[3];
      in.row_stride = p_.x_strides[2] * step_.h;
      in.column_stride = p_.x_strides[3] * step_.w;
      in.tiles = end - begin;
      in.channels = whole;
      in.v = v_ + (run.at + begin) * b_.pitch;
      transform(in);
      copy_and_transform(run, x, begin, end, whole);
    } else {
      end = begin = run.count;
    }
    copy_and_transform(run, x, 0, begin, 0);
    copy_and_transform(run, x, end, run.count, 0);
  }

  void transform(WinogradInput& in) noexcept {
    in.point_stride = b_.v_stride;
    in.pitch = b_.pitch;
    t_.table.winograd_input[size_](in);
  }

  // Of the tiles [begin, end) of a run, the channels from `channel` on.
  void copy_and_transform(const Run& run, const float* x, std::int64_t begin, std::int64_t end,
                          std::int64_t channel) noexcept {
    if (begin == end) return;
    RegionArguments region;
    region.problem = &p_;
    region.first_row = run.row;
    region.first_column = run.column + begin * b_.m * step_.w;
    region.row_step = step_.h;
    region.column_step = step_.w;
    region.rows = b_.m + 2;
    region.columns = (end - begin) * b_.m + 2;
    region.out = patch_;
    while (channel < p_.c_per_group()) {
      region.x = x + channel * p_.x_strides[1];
      region.channels = std::min(b_.patch_channels, p_.c_per_group() - channel);
      region.pitch = round_up(region.channels, width_);
      t_.table.pack_patch(region);
      WinogradInput in;
      in.x = patch_;
      in.row_stride = region.columns * region.pitch;
      in.column_stride = region.pitch;
      in.tiles = end - begin;
      in.channels = region.pitch;
      in.v = v_ + (run.at + begin) * b_.pitch + channel;
      transform(in);
      channel += region.channels;
    }
  }

  // All points' products of a panel of channels out.
  void multiply(std::int64_t panel, std::int64_t tiles) noexcept {
    const std::int64_t panels = ceil_div(p_.k_per_group(), nr_);
    const std::int64_t depth = p_.c_per_group();
    const std::int64_t index = group_ * panels + panel;
    TileArguments tile;
    tile.a_row_stride = b_.pitch;
    tile.segment_count = 1;
    tile.last = false;
    const int vectors = p_.k_per_group() - panel * nr_ > width_ ? 2 : 1;
    for (std::int64_t begin = 0; begin < depth; begin += b_.depth) {
      const Segment segment{0, std::min(b_.depth, depth - begin), 0};
      tile.depth = segment.length;
      tile.segments = &segment;
      tile.first = begin == 0;
      const float* u = u_;
      if (b_.u_elements == 0) {
        u = t_.transformed + index * b_.points() * b_.u_stride;
      } else {
        transform_weights(t_.weights + (index * 9 * depth + begin) * nr_, segment.length);
      }
      for (int point = 0; point < b_.points(); ++point) {
        tile.b = u + point * b_.u_stride;
        tile.b_ahead = b_.u_elements == 0 ? b_.u_stride : 0;
        for (std::int64_t row = 0; row < tiles;) {
          const std::int64_t left = tiles - row;
          const std::int64_t count = ceil_div(left, max_rows_);
          const std::int64_t height = ceil_div(left, count);
          tile.tiles = count - (count * height - left);  // the others are one row less
          tile.a = v_ + point * b_.v_stride + row * b_.pitch + begin;
          tile.sums = m_ + point * b_.m_stride + row * nr_;
          t_.table.micro_gemm[static_cast<int>(AForm::rows)][height - 1][vectors - 1](tile);
          row += tile.tiles * height;
        }
      }
    }
  }

  void transform_weights(const float* panel, std::int64_t depth) noexcept {
    WinogradWeights weights;
    weights.g = panel;
    weights.tap_stride = p_.c_per_group() * nr_;
    weights.count = depth * nr_;
    weights.u = u_;
    weights.point_stride = b_.u_stride;
    t_.table.winograd_weights[size_](weights);
  }

  void transform_output(const Run& run, std::int64_t panel) noexcept {
    const std::int64_t first = panel * nr_;
    if (run.row >= p_.oh || run.column >= p_.ow) return;
    const auto at = [&](const Dims<4>& s) {
      return run.n * s[0] + (group_ * p_.k_per_group() + first) * s[1] + run.row * s[2] +
             run.column * s[3];
    };
    const std::int64_t rows = std::min<std::int64_t>(b_.m, ceil_div(p_.oh - run.row, step_.h));
    const std::int64_t columns = std::min(run.count * b_.m, ceil_div(p_.ow - run.column, step_.w));
    // A grid of one row steps nowhere, and its step may be too large to form.
    const auto spaced = [&](const Dims<4>& s) {
      return Dims<4>{s[0], s[1], rows > 1 ? s[2] * step_.h : 0, columns > 1 ? s[3] * step_.w : 0};
    };
    const Dims<4> ys = spaced(p_.y_strides);
    const Dims<4> rs = spaced(t_.residual_strides);
    const int channels = static_cast<int>(std::min<std::int64_t>(nr_, p_.k_per_group() - first));
    float* y = t_.y + at(p_.y_strides);
    const float* residual =
        t_.residual != nullptr ? t_.residual + at(t_.residual_strides) : nullptr;
    WinogradOutput out;
    out.m = m_ + run.at * nr_;
    out.point_stride = b_.m_stride;
    out.tiles = run.count;
    out.rows = rows;
    out.columns = columns;
    out.bias = t_.bias != nullptr ? t_.bias + group_ * t_.lanes_per_group + first : nullptr;
    if (ys[1] == 1 && (residual == nullptr || rs[1] == 1)) {
      out.channels = channels;
      out.y = y;
      out.y_row_stride = ys[2];
      out.y_column_stride = ys[3];
      out.residual = residual;
      out.residual_row_stride = rs[2];
      out.residual_column_stride = rs[3];
      out.epilogue = &t_.epilogue;
      t_.table.winograd_output[size_](out);
      return;
    }
    const Epilogue none;
    out.channels = static_cast<int>(round_up(channels, width_));
    out.y = staged_;
    out.y_row_stride = out.columns * nr_;
    out.y_column_stride = nr_;
    out.epilogue = &none;
    t_.table.winograd_output[size_](out);
    ScatterArguments scatter;
    scatter.sums = staged_;
    scatter.row_stride = out.y_row_stride;
    scatter.column_stride = nr_;
    scatter.rows = out.rows;
    scatter.columns = out.columns;
    scatter.lanes = channels;
    scatter.y = y;
    scatter.y_strides = {ys[1], ys[2], ys[3]};
    scatter.residual = residual;
    scatter.residual_strides = {rs[1], rs[2], rs[3]};
    scatter.epilogue = &t_.epilogue;
    t_.table.scatter(scatter);
  }

  const Operands& t_;
  const Problem& p_;
  const WinogradBlocking& b_;
  int nr_;
  int width_;
  int max_rows_;  // of a tile
  int size_;      // index into the table
  Pair step_;     // between the outputs of a tile, and its inputs
  std::int64_t group_;
  float* u_;       // a part of a panel's transformed weights, [points][depth][NR]
  float* v_;       // transformed input, [points][tiles][pitch]
  float* m_;       // products of a panel, [points][tiles][NR]
  float* patch_;   // the padded image under a run
  float* staged_;  // a run's results on their way to where channels are apart
};

// Sizes that follow from the tiles of a block.
void set_sizes(const Tile& tile, WinogradBlocking& b) noexcept {
  b.v_stride = winograd_point_stride(b.tiles * b.pitch);
  b.m_stride = winograd_point_stride(b.tiles * tile.nr);
  const std::int64_t run = std::min(b.tiles, b.tile_columns);
  b.patch_elements = round_up((b.m + 2) * (run * b.m + 2) * b.patch_channels + tile.nr, kLine);
  b.staged_elements = b.m * run * b.m * tile.nr;
}

// With the layer's transformed weights or with its own.
WinogradBlocking cut(const Problem& p, int m, bool owned, const Tile& tile,
                     const CacheSizes& caches) noexcept {
  WinogradBlocking b;
  b.m = m;
  const Pair step = p.window.dilation;
  b.tile_rows = ceil_div(ceil_div(p.oh, step.h), m);
  b.tile_columns = ceil_div(ceil_div(p.ow, step.w), m);
  b.panels = ceil_div(p.k_per_group(), tile.nr);
  b.depth = owned ? p.c_per_group() : std::min(p.c_per_group(), kPartFloats / tile.nr);
  b.u_stride = winograd_point_stride(b.depth * tile.nr);
  b.u_elements = owned ? 0 : b.points() * b.u_stride;
  // An odd number of lines between tiles, as between the rows of any A.
  b.pitch = round_up(p.c_per_group(), 2 * kLine) + kLine;
  b.patch_channels = p.x_strides[1] == 1 ? 64 : tile.width;
  // V takes half of L2, where it is read once a panel; or more, if it takes more tiles to pay for
  // the weights, which are read, and transformed unless the layer has done so, once a block. From
  // L3 it comes as fast, as long as that is not full of it.
  const std::int64_t tiles = p.n * tiles_of_image(p, b);
  const std::int64_t tile_bytes = b.points() * b.pitch * kFloat;
  const std::int64_t least = owned ? kLeastTiles : 2 * kLeastTiles;
  std::int64_t limit = std::max<std::int64_t>(caches.l2 / 2 / tile_bytes, least);
  const std::int64_t near = caches.l2 * 2;
  const std::int64_t room = owned ? near : std::max(near, std::min(caches.l2 * 8, kFarBytes));
  limit = std::clamp<std::int64_t>(room / tile_bytes, 1, limit);
  limit = std::min(limit, tiles);
  // Whole rows of tiles, or equal parts of one.
  b.tiles = limit >= b.tile_columns ? limit / b.tile_columns * b.tile_columns
                                    : ceil_div(b.tile_columns, ceil_div(b.tile_columns, limit));
  set_sizes(tile, b);

  // Of one image: the choice must not depend on the batch.
  const std::int64_t of_image = tiles_of_image(p, b);
  const std::int64_t in_vectors = ceil_div(p.c_per_group(), tile.width);
  const std::int64_t out_vectors = ceil_div(p.k_per_group(), tile.width);
  const double images = real(p.groups);
  const double transform = b.points() * kTransform;
  // A vector of a pixel's channels, where those of neighbouring pixels are apart.
  const std::int64_t x_apart = p.window.dilation.w * p.x_strides[3];
  const std::int64_t y_apart = p.window.dilation.w * p.y_strides[3];
  const auto transposed = [&](bool in_vectors_of_pixels, double element) {
    return real((b.m + 2) * b.m) *
           (in_vectors_of_pixels ? kCopyVector + kTranspose : tile.width * element);
  };
  const std::int64_t height = std::min(of_image, limit);
  Tile one_panel = tile;
  one_panel.wide_mr = 0;
  b.fma_cycles = images * b.points() *
                 tile_cycles(p.c_per_group(), height, p.k_per_group(), height, one_panel) *
                 real(of_image) / real(height);
  // What touches the border, or has no adjacent channels, is copied first.
  const auto inner = [&](std::int64_t tile_count, std::int64_t before, std::int64_t after) {
    return std::max<std::int64_t>(0, tile_count - (before > 0 ? 1 : 0) - (after > 0 ? 1 : 0));
  };
  const Padding& padding = p.window.padding;
  const double in_place =
      real(inner(b.tile_rows, padding.top, padding.bottom)) / real(b.tile_rows) *
      real(inner(b.tile_columns, padding.left, padding.right)) / real(b.tile_columns);
  const double copied = p.x_strides[1] == 1
                            ? (1 - in_place) * real((b.m + 2) * (b.m + 2)) * kCopyVector
                            : transposed(x_apart == 1 || x_apart == 2, kCopyScalar);
  b.input_cycles = images * real(of_image) * real(in_vectors) * (transform + copied);
  const double weight_vectors =
      images * real(p.c_per_group()) * real(b.panels * tile.nr / tile.width);
  const double blocks = real(ceil_div(of_image, limit));
  if (owned) {
    // Read while the last ones are multiplied.
    const double bytes = weight_vectors * real(b.points() * tile.width * kFloat);
    const double rate = bytes < kNearWeights ? kWeightByte : kWeightByteFar;
    b.weight_cycles = std::max(0.0, bytes * rate - b.fma_cycles / blocks);
  } else {
    b.weight_cycles = weight_vectors * (b.points() + 9) * kTransformWeight;
  }
  b.pack_cycles = b.input_cycles + blocks * b.weight_cycles;
  b.store_cycles = images * real(of_image) * real(out_vectors) *
                   (transform + real(b.m * b.m) * kStoreVector / 2 +
                    (p.y_strides[1] == 1 ? 0.0 : transposed(y_apart == 1, kStoreScalar)));
  return b;
}

}  // namespace

std::int64_t tiles_of_image(const Problem& p, const WinogradBlocking& b) noexcept {
  const Pair step = p.window.dilation;
  return std::min(step.h, p.oh) * std::min(step.w, p.ow) * b.tile_rows * b.tile_columns;
}

int winograd_size(Algorithm algorithm) noexcept {
  switch (algorithm) {
    case Algorithm::winograd_f2:
      return 2;
    case Algorithm::winograd_f4:
      return 4;
    case Algorithm::winograd_f6:
      return 6;
    default:
      return 0;
  }
}

bool is_winograd(const Conv2d& d) noexcept {
  const auto is = [](const Pair& pair, std::int64_t size) {
    return pair.h == size && pair.w == size;
  };
  constexpr std::int64_t kMost = 1 << 30;  // so that some steps of it are 64-bit
  return is(d.kernel_size, 3) && is(d.stride, 1) && d.dilation.h < kMost && d.dilation.w < kMost;
}

WinogradBlocking choose_winograd(const Problem& p, int m, bool owned, const Tile& tile,
                                 const CacheSizes& caches) noexcept {
  const WinogradBlocking b = cut(p, m, false, tile, caches);
  if (!owned) return b;
  const WinogradBlocking of_layer = cut(p, m, true, tile, caches);
  return of_layer.cycles() <= b.cycles() ? of_layer : b;
}

void split_for_threads(const Problem& p, const Tile& tile, int threads,
                       WinogradBlocking& b) noexcept {
  const std::int64_t tiles = p.n * tiles_of_image(p, b);
  const std::int64_t panels = b.panels;
  const auto tile_blocks = [&] { return ceil_div(tiles, b.tiles); };
  const auto panel_blocks = [&] { return ceil_div(panels, b.panels); };
  // More blocks of tiles repeat what is done to the weights, more blocks of panels to the input:
  // what costs less, and little once every thread has a block.
  const double all = real(p.n) * b.cycles();
  for (;;) {
    const std::int64_t blocks = p.groups * tile_blocks() * panel_blocks();
    if (blocks >= 3 * std::int64_t{threads}) break;
    const double by_tiles = b.tiles >= 2 * tile.mr ? real(tile_blocks()) * b.weight_cycles : all;
    const double by_panels = b.panels > 1 ? real(panel_blocks() * p.n) * b.input_cycles : all;
    if (std::min(by_tiles, by_panels) >= (blocks < threads ? all : kRepeated * all)) break;
    std::int64_t& part = by_tiles <= by_panels ? b.tiles : b.panels;
    part = ceil_div(part, 2);
  }
  if (tile_blocks() >= threads) b.tiles = ceil_div(tiles, round_up(tile_blocks(), threads));
  set_sizes(tile, b);
}

std::int64_t winograd_workspace_bytes(const WinogradBlocking& b) noexcept {
  return (b.u_elements + b.points() * (b.v_stride + b.m_stride) + b.patch_elements +
          b.staged_elements) *
         kFloat;
}

std::int64_t winograd_blocks(const Problem& p, int nr, const WinogradBlocking& b) noexcept {
  return p.groups * ceil_div(p.n * tiles_of_image(p, b), b.tiles) *
         ceil_div(ceil_div(p.k_per_group(), nr), b.panels);
}

void winograd(const Operands& t, const WinogradBlocking& b, std::int64_t begin, std::int64_t end,
              void* workspace) noexcept {
  const Problem& p = t.problem;
  const std::int64_t tiles = p.n * tiles_of_image(p, b);
  const std::int64_t panels = ceil_div(p.k_per_group(), t.table.nr());
  const std::int64_t panel_blocks = ceil_div(panels, b.panels);
  const std::int64_t tile_blocks = ceil_div(tiles, b.tiles);
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t panel = i % panel_blocks * b.panels;
    const std::int64_t tile = i / panel_blocks % tile_blocks * b.tiles;
    Block block(t, b, i / panel_blocks / tile_blocks, workspace);
    block.run(tile, std::min(b.tiles, tiles - tile), panel, std::min(b.panels, panels - panel));
  }
}

}  // namespace fastconv
