// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <numeric>

#include "blocking.hpp"
#include "costs.hpp"
#include "direct_blocks.hpp"
#include "geometry.hpp"
#include "integers.hpp"
#include "taps.hpp"

namespace fastconv {
namespace {

// Of kernels/direct.hpp's largest tiles.
constexpr std::int64_t kTileRows = 4, kTileChannels = 4;
constexpr std::int64_t kLeastPixels = 1024;   // of a block of some planes in place
constexpr std::int64_t kNearBytes = 8 << 20;  // of x that memory does not keep waiting for

// Sizes of the planes under a block of output rows and columns.
void set_planes(const Problem& p, DirectBlocking& b) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  const Patch patch(p, b.rows, 1);  // rows that no window reads are left out
  b.row_step = patch.step.h;
  b.plane_rows = patch.rows;
  b.plane_columns = (b.columns - 1) * stride.w + (kernel.w - 1) * dilation.w + 1;
  // The channels of a row follow each other: a tap's are on few pages, and blocks below keep whole
  // rows. Not a multiple of four cache lines from one to the next, and an odd number from row to
  // row, or they would share sets.
  b.plane = round_up(ceil_div(b.plane_columns, stride.w), 16);
  if (b.plane % 64 == 0) b.plane += 16;
  b.pitch = (b.groups * p.c_per_group() * b.plane) | 16;
  b.plane_elements = b.plane_rows * std::min(stride.w, kernel.w) * b.pitch;
}

// And of what a block takes of scratch memory.
void set_buffers(const Problem& p, DirectBlocking& b) noexcept {
  set_planes(p, b);
  if (b.in_place) b.plane_elements = 0;
  b.output_elements =
      p.y_strides[3] == 1 ? 0 : b.groups * p.k_per_group() * staged_plane(b.rows, b.columns);
}

// Channels whose planes a CPU's prefetchers follow: beyond L1, 62 of 18x18 take 0.1 cycles a vector
// longer than within it, 128 of 38x38 1.0.
constexpr std::int64_t kStreams = 48;
constexpr std::int64_t kStreamsFetched = 64;  // and of those that are fetched ahead

// Vectors of an output row, at most, under a tile of 1 to 4 channels of kernels/direct.hpp, where
// registers hold 12 sums, and where they hold more.
constexpr int kWidest[][kTileChannels] = {{3, 6, 4, 3}, {4, 8, 7, 6}};

// What tiles wait for beside their FMAs and loads from L1, in cycles.
struct Waits {
  double vector = 0.0;    // of x, for every tap
  double least = 0.0;     // a vector of x takes, at least
  double returned = 0.0;  // the same of planes that come anew for every few channels out
  double plane = 0.0;     // a step to the next plane
  double weights = 0.0;   // a step of the weights

  Waits(const Problem& p, const DirectBlocking& b, const Tile& tile,
        const CacheSizes& caches) noexcept {
    const std::int64_t channels = p.c_per_group();
    const std::int64_t bytes = kFloat * (b.in_place ? channels * p.h * p.w : b.plane_elements);
    const bool planes = b.in_place && p.taps() == 1;
    const std::int64_t near = caches.l1 * 3 / 4;
    // Many planes are each read from other pages, for the first few channels as fast as they come.
    const bool many = planes && channels > (b.fetch ? kStreamsFetched : kStreams);
    if (many) {
      if (b.fetch || has_far_planes(p, caches)) {
        least = kVectorFar;
      } else if (bytes > caches.l2) {
        least = kVectorOnce;
      }
      if (bytes > near) plane = kPlane;
    }
    // What lies beyond L1, or evicts itself there, comes anew for every tap, unless neighbouring
    // ones find it, or an image of few channels is streams that prefetchers follow.
    const bool follows = b.in_place && channels <= kStreams;
    if (b.in_place && p.taps() > 1 && channels > 8 && aliases(p.x_strides[1])) {
      vector = kVectorL3;
    } else if (bytes > near && !follows && !many) {
      vector = bytes <= caches.l2 || b.fetch ? kVectorL2 : kVectorL3;
    }
    const std::int64_t stays =
        tile.two_long_fma() ? caches.l1 : caches.l2 - kFloat * p.k * p.oh * p.ow;
    if (planes && bytes > stays) {
      const double rate = bytes > caches.l2 / 2 ? kReturnedFar : kReturned;
      returned = real(tile.width * kFloat) / rate * tile.cycle;
    }
    // Steps of the weights are on lines of their own, but for narrow ones.
    const std::int64_t lanes = direct_lanes(p.k_per_group(), tile.nr);
    const std::int64_t weight_bytes = channels * p.taps() * lanes * kFloat;
    if (weight_bytes > caches.l2) {
      weights = kWeightL3;
    } else if (weight_bytes > near) {
      weights = kVectorL2;
    }
  }
};

// Cycles of all tiles of some channels of a group.
double direct_tiles(const Problem& p, const DirectBlocking& b, const Tile& tile,
                    const CacheSizes& caches, int channels, std::int64_t out_rows,
                    std::int64_t out_columns) noexcept {
  const Pair kernel = p.window.kernel_size;
  const double cycle = tile.cycle;
  const std::int64_t channels_in = p.c_per_group();
  const int widest = kWidest[tile.many_registers() ? 1 : 0][channels - 1];
  const std::int64_t columns = b.in_place ? out_columns : b.columns;
  const std::int64_t vectors = ceil_div(columns, tile.width);
  std::int64_t per_row = ceil_div(vectors, widest);
  const double wide = real(vectors) / real(per_row);
  // Of a row that is alone, parts take the places of a tile's rows.
  if (channels == 1 && out_rows == 1) std::swap(out_rows, per_row);
  // Of several channels a tile has as many rows, a power of two, as fit beside each other.
  std::int64_t tall = kTileRows;
  if (channels > 1) {
    while (tall > 1 && tall * vectors > widest) tall /= 2;
  }
  // Only tiles of one channel share what they load.
  const bool shared = channels == 1 && p.window.stride.h == 1 && p.window.dilation.h == 1 &&
                      kernel.h >= kTileRows - 1;
  const Waits waits(p, b, tile, caches);
  const double again = 1.0 - real(channels) / real(p.k_per_group());
  // A single column's vectors are whole lines, others lie on two, half of which the last one
  // brought: 24 to 80 channels 3x1 at 136x136, NCHW, by winograd: 1616 -> 1525 us (Xeon, AVX-512).
  const double anew = kernel.w == 1 ? 0.5 : tile.stretch();
  const double found = kernel.w == 1 ? 0.5 : 1.0 / real(kernel.w);
  const auto cost = [&](std::int64_t rows) {
    const double loads = shared && rows > 1 ? real(rows + kernel.h - 1) / real(rows * kernel.h) : 1;
    const double near =
        std::max(channels * kFma, loads * kLoadUnaligned + channels * kLoadScalar / 3);
    const double vector = near + std::max(0.0, waits.returned - near) * again;
    const double taken = real(rows) * wide;
    const bool finds = real(channels_in * kLine * kFloat) * (taken + 1) <= real(caches.l1);
    const double far = waits.vector * cycle * loads * (finds ? found : anew);
    const double fma = taken * vector;
    const double latency = kFmaLatency * cycle;
    const double least = tile.zen ? latency : kChained * latency;
    const double chained = fma < latency ? latency : std::max(fma, least);
    const double step = chained + taken * far + (kStep + waits.plane + waits.weights) * cycle;
    return real(channels_in * p.taps()) * std::max(step, taken * waits.least) + kTileDirect * cycle;
  };
  const double tiles = real(out_rows / tall) * cost(tall) + real(out_rows % tall) * cost(1);
  return tiles * real(per_row) * real(ceil_div(out_columns, columns));
}

std::int64_t image_bytes(const Problem& p) noexcept { return p.c * p.h * p.w * kFloat; }

// Groups, rows and columns of a block.
void cut_blocks(const Problem& p, const Tile& tile, const CacheSizes& caches,
                DirectBlocking& b) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  const auto fits = [&](std::int64_t rows, std::int64_t most) {
    b.rows = rows;
    set_planes(p, b);
    const std::int64_t output =
        p.y_strides[3] == 1 ? 0 : b.groups * p.k_per_group() * b.rows * b.columns;
    return (b.plane_elements + output) * kFloat <= most;
  };
  // Of few adjacent channels planes stay in L1, for most of the time is the copy's; but parts of
  // rows that are far away come slowly one below the other. 32 to 3 channels 1x1 at 112x112, NHWC:
  // 102 -> 62 us (AVX-512), 127 -> 84 (AVX2), 3 to 3 3x3 at 224x224 125 -> 91, 182 -> 145 (Xeon).
  const bool overlap = (kernel.h - 1) * dilation.h >= stride.h;
  const bool near = !b.in_place && p.x_strides[1] == 1 && p.c_per_group() >= p.k_per_group() &&
                    (!overlap || image_bytes(p) <= kNearBytes);
  // Rows of a tile share what they read of weights, and blocks that overlap what they copy.
  const bool alone = near && !overlap;
  const std::int64_t more = alone ? 1 : kTileRows;
  const std::int64_t near_bytes = caches.l1 / 4 * (alone ? 2 : 3);
  // More than a few rows only as long as x and y leave them in L2. NCHW, 3 to 3 channels 3x3 at
  // 1000x1000: 2080 -> 1810 us (AVX-512), 3155 -> 2990 (AVX2), 1 to 1 5x5 at 512x512 186 -> 161, if
  // x comes from memory 670 -> 333 (Xeon).
  const std::int64_t few = b.in_place ? p.oh : 4 * kTileRows;
  const auto tallest = [&](std::int64_t most) {
    std::int64_t rows = std::min(p.oh, more);
    if (!fits(rows, most)) return std::int64_t{0};
    while (rows < p.oh) {
      const std::int64_t taller = std::min(p.oh, rows + more);
      if (!fits(taller, taller <= few ? most : std::min(most, caches.l2 / 8))) break;
      rows = taller;
    }
    return rows;
  };
  // Adjacent channels are copied together, whatever their group: lines are then read once. 4 groups
  // of 23 to 6 2x2 by 4 at 97x170, NHWC: 4530 -> 3110 us (AVX-512), 5100 -> 3900 (AVX2).
  const std::int64_t grouped = p.x_strides[1] == 1 || p.y_strides[1] == 1 ? p.groups : 1;
  struct {
    std::int64_t groups, most;
  } const attempts[] = {
      {grouped, near ? near_bytes : caches.l2 / 2}, {grouped, caches.l2 / 2}, {1, caches.l2 / 2}};
  std::int64_t rows = 0;
  for (const auto& attempt : attempts) {
    b.groups = attempt.groups;
    b.columns = p.ow;
    rows = tallest(attempt.most);
    while (rows == 0 && b.columns > (alone ? 2 : kTileRows) * tile.width) {
      b.columns = round_up(ceil_div(b.columns, 2), tile.width);
      rows = tallest(attempt.most);
    }
    if (rows > 0) break;
  }
  // If not even a tile's fit half of L2, as many as fit all of it.
  if (rows == 0) rows = std::min(p.oh, kTileRows);
  while (rows > 1 && !b.in_place && !fits(rows, caches.l2)) --rows;
  // Planes that L2 does not hold beside y come anew for every few channels, from near by blocks: 3
  // to 32 channels 1x1 at 512x512, NCHW, 2270 -> 1495 us, 16 to 16 1630 -> 1450 (Xeon, AVX-512).
  if (b.in_place && p.taps() == 1 && p.k_per_group() > kTileChannels &&
      2 * image_bytes(p) >= caches.l2) {
    const std::int64_t row = p.c_per_group() * p.w * kFloat;
    rows = std::min(rows, std::max(caches.l2 / 16 / row, ceil_div(kLeastPixels, p.w)));
  }
  b.rows = rows;
}

// Four channels of a vector of pixels that cross lines.
constexpr double kQuadCrossed = 24.0;

// How channels of adjacent pixels go to rows of their own, or come from them.
struct Apart {
  std::int64_t least;  // channels that go together, where nothing lies between pixels
  double alone;        // of one element
  bool by_pixels;      // may short rows be fours of pixels of a vector of channels?
};
constexpr Apart kSplit{3, kCopyScalar, true}, kJoin{2, kStoreScalar, false};

// Do those of a row of pixels, `step` floats apart?
bool goes_together(const Apart& way, const Tile& tile, std::int64_t channels, std::int64_t step,
                   double columns) noexcept {
  if (channels < (channels == step ? way.least : 4)) return false;
  return columns >= tile.width || (way.by_pixels && columns >= 4 && channels >= tile.width);
}

// Cycles of such a row; of pixels on lines of their own a few channels leave most of a line unused.
double apart_cycles(const Apart& way, const Tile& tile, std::int64_t channels, std::int64_t step,
                    double columns) noexcept {
  const double unused =
      step >= kLine && 4 * channels <= step ? columns * kLineUnused * tile.cycle : 0.0;
  if (!goes_together(way, tile, channels, step, columns)) {
    return real(channels) * columns * way.alone * tile.cycle + unused;
  }
  const double quads = columns >= tile.width
                           ? std::ceil(columns / tile.width) * real(ceil_div(channels, 4))
                           : std::ceil(columns / 4) * real(ceil_div(channels, tile.width)) * kFours;
  // A last vector of pixels begins before the others end, and lies on two lines.
  const std::int64_t last = static_cast<std::int64_t>(std::ceil(columns)) % kLine;
  const bool crosses =
      way.by_pixels && tile.width == kLine / 2 && columns > kLine && 0 < last && last < tile.width;
  const double crossed = crosses ? real(ceil_div(channels, 4)) * kQuadCrossed : 0.0;
  return quads * tile.quads() + crossed + unused;
}

// Of x to planes.
double copy_cycles(const Problem& p, const Tile& tile, const CacheSizes& caches,
                   const DirectBlocking& b) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  const std::int64_t bytes = image_bytes(p);
  const std::int64_t channels_in = b.groups * p.c_per_group();
  const std::int64_t row_blocks = ceil_div(p.oh, b.rows);
  const double strips = real(p.groups / b.groups * ceil_div(p.ow, b.columns));
  const std::int64_t element_step = stride.w * p.x_strides[3];
  const bool adjacent = p.x_strides[1] == 1;
  const std::int64_t together = adjacent ? channels_in : 1;
  const double columns = real(b.plane_columns) / real(stride.w);
  double row = columns * kCopyVector / tile.width;
  if (element_step == 2) {
    row *= 1.5;
  } else if (element_step != 1) {
    row = apart_cycles(kSplit, tile, together, element_step, columns) / real(together);
  }
  const std::int64_t phases = std::min(stride.w / std::gcd(stride.w, dilation.w), kernel.w);
  const std::int64_t kept = rows_kept(p, b);
  const Patch last(p, p.oh - (row_blocks - 1) * b.rows, 1);
  const std::int64_t copied = (row_blocks - 1) * (b.plane_rows - kept) + last.rows;
  const double plane_rows = real(channels_in * copied * phases);
  // Columns in the padding are found one by one, but zeros beside adjacent ones; a last part of a
  // vector, of every second one.
  const bool beside = element_step == 1 && pads_with_zeros(p.window);
  const double ends = real(beside ? 2 : std::max<std::int64_t>(2, b.plane_columns - p.w)) * kRun +
                      (element_step == 2 ? real(tile.width / 2) * kCopyScalar : 0.0);
  // Copies of many adjacent channels wait for what comes from beyond L2 or goes beyond L1, and so
  // do those of more than four by 2, or where a core does two long FMAs a cycle. 256 to 3 channels
  // 1x1 at 56x56, NHWC, by gemm: 258 -> 160 us, 72 to 10 62 -> 42, 768 to 8 at 2x24 14.2 -> 7.0
  // (Xeon, AVX-512), 32 by 2, 3x3 by 2 at 112x112, by depthwise: 216 -> 171 (AVX2).
  const bool many = channels_in > 32;
  const bool some = channels_in > 4 && (tile.two_long_fma() || stride.w == 2);
  const bool splits = adjacent && (many || some);
  const bool leaves = splits && b.plane_elements * kFloat > caches.l1;
  const bool far = bytes > kNearBytes;
  const bool late = adjacent && tile.two_long_fma();
  double longer = 1.0;
  if (far && (!many || late)) {
    longer = 2.0;
  } else if (far) {
    longer = 4.0;
  } else if (leaves || (splits && bytes > caches.l2)) {
    longer = late ? 2.0 : many ? 1.6 : 1.3;
  }
  const bool at_once =
      element_step > 1 && goes_together(kSplit, tile, together, element_step, columns);
  const double runs = plane_rows / real(at_once ? channels_in : 1);
  const double apart_runs = element_step > 2 ? plane_rows / real(adjacent ? channels_in : 1) : 0.0;
  const double moved = real(row_blocks - 1) * real(kept) * real(b.pitch);
  return strips * (plane_rows * row * longer + (runs * ends + apart_runs * kRunApart) * tile.cycle +
                   moved * kCopyVector / tile.width);
}

}  // namespace

DirectBlocking choose_direct(const Problem& p, const Tile& tile,
                             const CacheSizes& caches) noexcept {
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  DirectBlocking b;
  b.in_place = stride.w == 1 && p.x_strides[3] == 1 && windows_inside(p);
  // The planes of many channels are more streams than a CPU follows by itself: 64 to 2 channels at
  // 388x388 take 2.3 ms rather than 3.4 (AVX-512), 2.4 rather than 4.5 (AVX2). Near ones lose.
  const std::int64_t bytes = image_bytes(p);
  b.fetch = b.in_place && p.taps() == 1 && bytes > 8 * caches.l2;
  cut_blocks(p, tile, caches, b);
  set_buffers(p, b);

  const double groups = real(p.groups);
  // Rows that follow each other are one to a filter of one tap.
  const bool follow = b.in_place && p.taps() == 1 && stride.h * p.x_strides[2] == p.ow &&
                      p.y_strides[3] == 1 && p.y_strides[2] == p.ow;
  const std::int64_t out_rows = follow ? 1 : p.oh;
  const std::int64_t out_columns = follow ? p.oh * p.ow : p.ow;
  const double vectors = real(out_rows * ceil_div(out_columns, tile.width));
  const auto add_tiles = [&](std::int64_t count, std::int64_t channels) {
    if (count == 0 || channels == 0) return;
    b.fma_cycles +=
        groups * real(count) *
        direct_tiles(p, b, tile, caches, static_cast<int>(channels), out_rows, out_columns);
  };
  add_tiles(p.k_per_group() / kTileChannels, kTileChannels);
  add_tiles(1, p.k_per_group() % kTileChannels);
  if (!b.in_place) b.pack_cycles = copy_cycles(p, tile, caches, b);
  const double outputs = groups * real(p.k_per_group()) * vectors;
  const std::int64_t together = p.y_strides[1] == 1 ? b.groups * p.k_per_group() : 1;
  const double element =
      p.y_strides[3] == 1
          ? 0.0
          : apart_cycles(kJoin, tile, together, p.y_strides[3], real(p.ow)) / real(together * p.ow);
  // Results that leave L1 meanwhile come back by as many streams as there are channels, and nothing
  // is computed while y's lines are waited for: beside two long FMAs a cycle the longer the more of
  // it leaves L2, elsewhere at least as if all did. 3 to 12 channels 3x3 at 416x416, NHWC, by gemm:
  // 1150 -> 930 us, 1 to 16 7x7 1980 -> 1570, 3 to 8 3x3 at 1080x1920 15.0 -> 10.5 ms (Xeon,
  // AVX-512), 3 to 8 5x5 at 720x1280 15.2 -> 11.3 (AVX2). With one channel in, depthwise's copies
  // take as much longer than thought: 32 of 1 to 4 3x3 at 112x112 1080 us by this, 1430 by
  // depthwise (AVX2).
  const bool staged = tile.one_permutation() && b.output_elements * kFloat > caches.l1 &&
                      (p.groups == 1 || p.c_per_group() > 1);
  const double leaves = std::min(p.groups == 1 ? 3.0 : 1.0, real(y_bytes(p)) / real(caches.l2));
  const double share = tile.two_long_fma() ? leaves : std::max(1.0, leaves);
  const double vector =
      kStoreVector + element * tile.width + (staged ? kVectorStaged * share : 0.0);
  // Those of kMaxWidth have masks that take no time.
  const bool partial = !follow && p.ow < tile.width && tile.width < kMaxWidth;
  b.store_cycles = outputs * (vector + (partial ? real(p.ow) * kStoreScalar : 0.0));
  return b;
}

void split_for_threads(const Problem& p, int threads, DirectBlocking& b) noexcept {
  while (direct_blocks(p, b) < 3 * std::int64_t{threads} && (b.rows > kTileRows || b.groups > 1)) {
    if (b.rows > kTileRows) {
      b.rows = round_up(ceil_div(b.rows, 2), kTileRows);
    } else {
      std::int64_t parts = 2;
      while (b.groups % parts != 0) ++parts;
      b.groups /= parts;
    }
    set_buffers(p, b);
  }
}

std::int64_t direct_workspace_bytes(const Problem& p, const DirectBlocking& b, int nr) noexcept {
  return (table_elements(p) + round_up(b.plane_elements + nr, 16) +
          round_up(b.output_elements, 16)) *
         kFloat;
}

std::int64_t direct_blocks(const Problem& p, const DirectBlocking& b) noexcept {
  return p.n * (p.groups / b.groups) * ceil_div(p.oh, b.rows) * ceil_div(p.ow, b.columns);
}

}  // namespace fastconv
