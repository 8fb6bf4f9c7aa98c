// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fastconv/isa.hpp>
#include <fastconv/layer.hpp>

#include "problem.hpp"

namespace fastconv {

// How a micro-kernel finds row m of its A operand at depth k; see kernels/README.md.
enum class AForm : std::int32_t {
  columns,  // a[k * NR + m]: a panel of weights, of whose NR columns the tile takes some
  rows,     // a[m * a_row_stride + segment offset + …]: pixels as they lie in an image
};

// A stretch of a row's depth that is contiguous in memory.
struct Segment {
  std::int64_t offset;
  std::int64_t length;
  std::int64_t depth;  // where it begins in B
};

// Register tiles one below the other: c[m][n] = sum over k of A[m][k] * B[k][n], n < lanes, and
// m < tiles * rows of the kernel.
struct TileArguments {
  std::int64_t tiles = 1;
  std::int64_t depth = 0;         // of this k-block
  const float* a = nullptr;       // at the tile's first row
  std::int64_t a_row_stride = 0;  // rows only
  std::int64_t a_ahead = 0;       // to the rows or, by a panel's first tile, the panel it fetches
  // Of rows: those of the first run, 0 if it is endless, and of all others, and what lies between a
  // run and the next beyond the stride; unless rows straddle, runs end where tiles do. Of columns:
  // the same of panels of weights.
  std::int64_t a_run_left = 0, a_run = 0, a_run_gap = 0;
  const Segment* segments = nullptr;  // rows only: what of the depth is not zero
  std::int32_t segment_count = 0;
  std::int32_t lanes = 0;           // <= NR, or twice that
  const float* b = nullptr;         // depth x NR, from the tile's first column
  std::int64_t b_panel_stride = 0;  // to the next panel, of a tile over two
  std::int64_t b_stride = 0;        // columns only: floats from a step of depth to the next
  std::int64_t b_ahead = 0;         // columns only: floats to what is fetched meanwhile
  // Rows only: the same, or null; floats from a step's to the next one's and from a tile's part to
  // the next one's. Where a_ahead is set of the first tile alone, as the others fetch that.
  const float* fetch = nullptr;
  std::int64_t fetch_step = 0, fetch_part = 0;
  float* b_copy = nullptr;  // columns only, or null: the panel that a first tile packs
  // [rows][NR] between k-blocks, which are cut into tiles alike: a half's leaves the rest
  // unwritten.
  float* sums = nullptr;
  std::int64_t sums_panel_stride = 0;  // to those of the next panel, of a tile over two
  float* c = nullptr;                  // lanes of a row are adjacent
  std::int64_t c_row_stride = 0;
  const float* residual = nullptr;  // or null; lanes of a row are adjacent
  std::int64_t residual_row_stride = 0;
  const Epilogue* epilogue = nullptr;  // of the last k-block
  const float* bias = nullptr;         // or null; of columns bias[m], of rows bias[n]
  bool first = true;                   // start from zero rather than from sums
  bool last = true;                    // store c rather than sums
  const float* fetch_c = nullptr;      // rows like c's that are asked for first, or null
};

using MicroKernel = void (*)(const TileArguments& tile);

constexpr int kMaxRows = 14;
constexpr int kLeastHalfRows = 7;  // lower tiles would wait for their sums over a vector, too
constexpr int kMaxVectors = 2;     // of a row of a panel of weights
constexpr int kTileVectors = 4;    // of a tile
constexpr int kMaxWidth = 16;      // floats per vector
constexpr int kLine = 16;          // and per cache line
constexpr int kMaxKc = 1024;       // depth of a k-block
constexpr int kStepsAhead = 8;     // of depth, that are fetched from L2
constexpr int kNearDepth = 256;    // up to which a tile's rows are fetched from L2
constexpr int kMaxSegments = 256;  // stretches of memory that it may be read from

// What a pack routine gathers of an image's group: the windows of `count` pixels from flattened
// output pixel `first` on.
struct PackArguments {
  const Problem* problem = nullptr;
  const float* x = nullptr;  // channel 0 of the group, n fixed
  std::int64_t first = 0;
  std::int64_t count = 0;
  // The k-block of the depth (r, s, c), c of the group's channels.
  std::int64_t depth_begin = 0;
  std::int64_t depth_end = 0;
  std::int64_t pitch = 0;  // floats from one pixel to the next, of rows
  float* out = nullptr;    // may be written up to a vector behind the last element
};

// A block of an image's group: `rows` x `columns` of the padded image from the one under output
// (first_row, first_column) on. A patch may reach beyond the padded image, where zeros are.
struct RegionArguments {
  const Problem* problem = nullptr;
  const float* x = nullptr;  // the first channel, n fixed
  std::int64_t channels = 0;
  std::int64_t first_row = 0, first_column = 0;
  std::int64_t rows = 0, columns = 0;
  std::int64_t row_step = 1;             // image rows from one row to the next
  std::int64_t column_step = 1;          // pack_patch only: likewise
  const std::int64_t* phases = nullptr;  // pack_planes only
  std::int64_t phase_count = 0;
  std::int64_t plane = 0;  // pack_planes only: floats from one channel to the next
  std::int64_t pitch = 0;  // floats from one phase of planes, or one pixel of a patch, to the next
  float* out = nullptr;    // may be written up to a vector behind the last element
};

// A block of channels, rows and columns, copied between tensors of any strides.
struct PlaneCopy {
  Dims<3> shape{};
  const float* from = nullptr;
  Dims<3> from_strides{};
  float* to = nullptr;
  Dims<3> to_strides{};
};

// A block of output rows and columns of some output channels, from x in place or from planes.
struct DirectArguments {
  const float* x = nullptr;
  const std::int64_t* offsets = nullptr;  // of every step of the depth, from an output's place in x
  std::int64_t depth = 0, row_depth = 0;  // of a filter and of one of its rows
  std::int64_t row_stride = 0;            // of x
  std::int64_t row_step = 0;              // of x, from an output row to the next
  std::int64_t kernel_h = 0;
  bool dense_rows = false;  // neither strided nor dilated
  bool fetch = false;       // the next tile's pixels into L2, of one tap
  // Panels as micro_gemm's B, read as scalars; out channel 0 is lane first_lane of all panels.
  const float* weights = nullptr;
  std::int64_t weight_step = 0, first_lane = 0;
  std::int64_t out_channels = 0;
  std::int64_t rows = 0, columns = 0;
  float* y = nullptr;  // columns are adjacent, in the residual too
  std::int64_t y_channel_stride = 0, y_row_stride = 0;
  const float* residual = nullptr;  // or null
  std::int64_t residual_channel_stride = 0, residual_row_stride = 0;
  const Epilogue* epilogue = nullptr;
  const float* bias = nullptr;  // or null
};

constexpr int kMaxDepthwiseRows = 14;  // bounds what a kernel keeps of them on the stack

constexpr int kLeastBroadcast = 8;          // floats of vectors that groups may fill
constexpr int kBroadcastPixels[] = {4, 7};  // of a tile of theirs, with 16 and 32 registers

// A part of a few output rows of some channels, which are adjacent in x, y and the residual. Groups
// lie side by side in the lanes: a vector holds whole groups of `group_out` output channels, but
// one of kMaxWidth any, each with `group_in` <= group_out input channels. Or they fill vectors,
// each from a panel's first lane on; filters are then dense ones of 3x3, moved by one both ways, or
// two where vectors are long.
struct DepthwiseArguments {
  const float* const* inputs = nullptr;  // the pixels under the part, less `shift` floats
  std::int64_t shift = 0;
  std::int64_t row_step = 0;  // pointers from a row of them to the next
  // Of their rows and columns those that must be multiplied: others are zeros, and the weights
  // finite.
  std::int64_t first_row = 0, end_row = 0;
  std::int64_t first_column = 0, end_column = 0;
  std::int64_t kernel_h = 0, kernel_w = 0;
  std::int64_t stride_h = 0, stride_w = 0, dilation_w = 0;
  // Panels as micro_gemm's B, from the first channel and tap on, of filters that may have more taps
  // than are multiplied: so many in a row and in all.
  const float* weights = nullptr;
  std::int64_t row_taps = 0, all_taps = 0;
  int group_in = 1, group_out = 1;
  int group_lanes = 1;                // of weights and bias, from a group to the next
  std::int64_t rows = 0, pixels = 0;  // rows <= kMaxDepthwiseRows
  int channels = 0;                   // of y
  float* y = nullptr;
  std::int64_t y_row_stride = 0, y_pixel_stride = 0;
  std::int64_t fetch = 0;  // floats between the pixels to fetch ahead, or 0
  bool y_aliases = false;  // agrees with x in the address bits below a page
  bool x_crowds = false;   // pixels that follow each other share a few sets of L1
  // Rows of a vector follow each other, not vectors of a row: of filters of three taps with 32
  // registers, whose image rows are then loaded once, and of wider ones with kernels of their own.
  bool down = false;
  const float* residual = nullptr;  // or null
  std::int64_t residual_row_stride = 0, residual_pixel_stride = 0;
  const Epilogue* epilogue = nullptr;
  const float* bias = nullptr;  // or null
};

// Of a tile in a patch, which has room for as many more behind its last one.
constexpr int kInterleavedRows = 6;

// A part of a few output rows whose few channels are interleaved in x, y and the residual, with no
// floats between pixels. No float of x is read that an output does not need.
struct InterleavedArguments {
  // Rows of x from the one under the part's first output and the filter's first tap on, null where
  // they are zeros and may be left out. In place another null stands behind the last one.
  const float* const* inputs = nullptr;
  std::int64_t patch_pitch = 0;  // floats from each of them to the next, or 0 in place
  std::int64_t column_step = 0;  // and from a column of the filter to the next
  std::int64_t kernel_h = 0, kernel_w = 0;
  // Floats of a row of outputs, in place a multiple of `period`, of vectors and channels.
  std::int64_t count = 0, period = 0, channels = 0;
  // Of each tap a line of its channels' weights over and over, channels and a vector long.
  const float* weights = nullptr;
  std::int64_t weights_pitch = 0;
  std::int64_t rows = 0;
  float* y = nullptr;
  std::int64_t y_row_stride = 0;
  const float* residual = nullptr;  // or null
  std::int64_t residual_row_stride = 0;
  const Epilogue* epilogue = nullptr;
  const float* bias = nullptr;  // a line like those of the weights, or null
};

constexpr std::int64_t kMaxPlaneTaps = 16;    // of a filter's height and of its width
constexpr std::int64_t kMaxPlaneReach = 128;  // columns from its first tap to its last

// Some output rows of some output channels, each of one input channel, whose columns are adjacent
// in x, y and the residual. Padded with zeros, strides of 1 or 2, the latter with dense columns.
struct PlaneArguments {
  const Problem* problem = nullptr;
  const float* x = nullptr;  // channel 0, as in y and the residual
  std::int64_t first_channel = 0, channels = 0;
  std::int64_t first_row = 0, rows = 0;
  bool skips_padding = false;        // rows of it, as the weights are finite
  const float* weights = nullptr;    // panels as micro_gemm's B, read as scalars
  std::int64_t lanes_per_group = 0;  // of them
  float* y = nullptr;
  const float* residual = nullptr;  // or null
  std::int64_t residual_channel_stride = 0, residual_row_stride = 0;
  const Epilogue* epilogue = nullptr;
  const float* bias = nullptr;  // by lane, or null
  bool fetch = false;           // the next strip's lines, while a tile is summed
  bool paired = false;          // two channels, the first one even, share vectors
};

// A part of a panel of weights on its way into Winograd's domain.
struct WinogradWeights {
  const float* g = nullptr;  // of the first tap
  std::int64_t tap_stride = 0;
  std::int64_t count = 0;  // of each tap, whole vectors
  float* u = nullptr;      // [points][point_stride]
  std::int64_t point_stride = 0;
};

// Evenly spaced tiles of one row of tiles. Of a variant along one axis the columns are that axis,
// and there are no rows.
struct WinogradInput {
  const float* x = nullptr;  // the first tile's first pixel; channels are adjacent
  std::int64_t row_stride = 0, column_stride = 0, tile_stride = 0;
  std::int64_t tiles = 0;
  std::int64_t channels = 0;  // whole vectors
  bool fetch = false;         // the next tile's pixels
  float* v = nullptr;         // [points][tiles][pitch]
  std::int64_t point_stride = 0, pitch = 0;
};

struct WinogradOutput {
  const float* m = nullptr;  // [points][tiles][pitch]
  std::int64_t point_stride = 0, pitch = 0;
  std::int64_t tiles = 0;
  std::int64_t rows = 0;  // that exist of a tile's outputs
  // Pixels of y from the first tile's first column to the end; its columns and the tiles are so
  // many pixels apart.
  std::int64_t pixels = 0, column_pixels = 0, tile_pixels = 0;
  int channels = 0;    // of a panel
  float* y = nullptr;  // channels are adjacent
  std::int64_t y_row_stride = 0, y_column_stride = 0, y_tile_stride = 0;
  const float* residual = nullptr;  // or null; channels are adjacent
  std::int64_t residual_row_stride = 0, residual_column_stride = 0, residual_tile_stride = 0;
  const Epilogue* epilogue = nullptr;
  const float* bias = nullptr;  // or null
  bool fetch = false;           // the next tile's part of y
};

// A block of sums with adjacent lanes, channels or pixels, on its way to a y of any strides.
struct ScatterArguments {
  const float* sums = nullptr;  // whole vectors of lanes
  std::int64_t row_stride = 0, column_stride = 0;
  std::int64_t rows = 0, columns = 0;
  int lanes = 0;
  float* y = nullptr;
  Dims<3> y_strides{};  // lane, row, column
  const float* residual = nullptr;
  Dims<3> residual_strides{};
  const Epilogue* epilogue = nullptr;
  bool fetch = false;  // y a few blocks ahead: stores to many planes in memory wait for each
};

// F(m x m, r x r), or F(m, r) along one axis; an axis has m + r - 1 points.
struct WinogradVariant {
  Algorithm algorithm;
  int m, r;
  bool square;
  double error;  // about so many times that of a plain summation
};
constexpr WinogradVariant kWinogradVariants[] = {
    {Algorithm::winograd_f2, 2, 3, true, 0.7},  {Algorithm::winograd_f4, 4, 3, true, 2},
    {Algorithm::winograd_f6, 6, 3, true, 8},    {Algorithm::winograd_f2, 2, 5, true, 1.5},
    {Algorithm::winograd_f4, 4, 3, false, 1.5}, {Algorithm::winograd_f2, 2, 5, false, 1.5},
};
constexpr int kWinogradCount = sizeof kWinogradVariants / sizeof kWinogradVariants[0];

// All that leaves the translation unit of one instruction-set level.
struct KernelTable {
  Isa isa;
  int width;          // floats per vector
  int vectors;        // of a row of a panel of weights
  int pixel_vectors;  // and of a panel of pixels
  bool fuses;         // multiplies and adds, for certain, in one operation
  // micro_gemm[form][rows - 1][vectors - 1], up to max_rows[form][vectors - 1]
  MicroKernel micro_gemm[2][kMaxRows][kTileVectors];
  int max_rows[2][kTileVectors];
  int straddling_rows;              // up to which a tile's pixels may be of several output rows
  MicroKernel half_gemm[kMaxRows];  // of rows, over half a vector; null below kLeastHalfRows
  // Panels of NR pixels, [pixels / NR][depth][NR], padded with zeros to whole panels.
  void (*pack_columns)(const PackArguments& arguments);
  // The window of every pixel, [pixels][pitch]. Channels must be adjacent in x.
  void (*pack_rows)(const PackArguments& arguments);
  // [rows][columns][pitch], channels adjacent; zeros up to whole vectors behind the last.
  void (*pack_patch)(const RegionArguments& arguments);

  // Convolution without packing, for few channels in planes.
  void (*direct)(const DirectArguments& arguments);
  // [rows][phases][channels][plane]: phase p has columns p, p + stride.w, … of the padded image.
  void (*pack_planes)(const RegionArguments& arguments);
  // Whole vectors where one of both has adjacent channels and the other adjacent columns.
  void (*copy_planes)(const PlaneCopy& copy);

  void (*depthwise)(const DepthwiseArguments& arguments);
  // Null where a multiply-add is two operations, which bind it.
  void (*depthwise_interleaved)(const InterleavedArguments& arguments);
  // Of pixels `pitch` apart, to `channels` of them. The multiplier divides the width.
  void (*repeat_channels)(float* pixels, std::int64_t count, std::int64_t pitch, int channels,
                          int multiplier);
  void (*depthwise_planes)(const PlaneArguments& arguments);

  // By place in kWinogradVariants.
  void (*winograd_weights[kWinogradCount])(const WinogradWeights& arguments);
  void (*winograd_input[kWinogradCount])(const WinogradInput& arguments);
  void (*winograd_output[kWinogradCount])(const WinogradOutput& arguments);
  // Finishes and stores sums whose lanes do not lie in y and the residual as they do in the sums.
  void (*scatter)(const ScatterArguments& arguments);

  MicroKernel tile(AForm form, std::int64_t rows, std::int64_t lanes) const noexcept {
    if (form == AForm::rows && lanes <= width / 2 && half_gemm[rows - 1] != nullptr) {
      return half_gemm[rows - 1];
    }
    return micro_gemm[static_cast<int>(form)][rows - 1][(lanes - 1) / width];
  }
  int nr() const noexcept { return width * vectors; }
  int pixel_nr() const noexcept { return width * pixel_vectors; }
};

// The table of a level, or null if this library has none for it (another architecture's).
const KernelTable* kernel_table(Isa isa) noexcept;

extern const KernelTable kernels_generic;
extern const KernelTable kernels_sse4;
extern const KernelTable kernels_avx2;
extern const KernelTable kernels_avx512;
extern const KernelTable kernels_neon;

}  // namespace fastconv
