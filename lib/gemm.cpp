// SPDX-License-Identifier: Apache-2.0
#include "gemm.hpp"

#include <algorithm>
#include <limits>

namespace fastconv {
namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) noexcept { return (a + b - 1) / b; }
std::int64_t round_up(std::int64_t a, std::int64_t b) noexcept { return ceil_div(a, b) * b; }

// Floats of the pack buffer, with the vector that packing may write behind them.
std::int64_t pack_elements(const Blocking& b, int nr) noexcept {
  return round_up(b.pack_elements + nr, 16);
}

// One block of pixels times one block of channels of one image and group.
class BlockProduct {
 public:
  BlockProduct(const GemmArguments& arguments, std::int64_t n, std::int64_t group) noexcept
      : g_(arguments),
        p_(arguments.problem),
        b_(arguments.blocking),
        nr_(arguments.table.nr()),
        depth_(p_.c_per_group() * p_.taps()),
        pixels_(static_cast<float*>(arguments.workspace)),
        sums_(pixels_ + pack_elements(b_, nr_)) {
    const std::int64_t lanes = round_up(p_.k_per_group(), nr_);
    x_ = g_.x + n * p_.x_strides[0] + group * p_.c_per_group() * p_.x_strides[1];
    y_ = g_.y + n * p_.y_strides[0] + group * p_.k_per_group() * p_.y_strides[1];
    weights_ = g_.weights + group * lanes * depth_;
    bias_ = g_.bias != nullptr ? g_.bias + group * lanes : nullptr;
  }

  void run(std::int64_t pixel, std::int64_t pixel_count, std::int64_t channel,
           std::int64_t channel_count) noexcept {
    first_channel_ = channel;
    PackArguments pack;
    pack.problem = &p_;
    pack.x = x_;
    pack.first = pixel;
    pack.count = pixel_count;
    pack.pitch = b_.pitch;
    pack.out = pixels_;
    const bool windows = b_.form == PixelForm::patch || b_.form == PixelForm::in_place;
    if (windows) place_windows(pack);
    for (std::int64_t begin = 0; begin < depth_; begin += b_.kc) {
      pack.depth_begin = begin;
      pack.depth_end = std::min(depth_, begin + b_.kc);
      if (windows) list_segments(begin, pack.depth_end);
      for (std::int64_t done = 0; done < pixel_count; done += b_.pack_block) {
        pack.first = pixel + done;
        pack.count = std::min(b_.pack_block, pixel_count - done);
        if (b_.form == PixelForm::columns) {
          g_.table.pack_columns(pack);
        } else if (b_.form == PixelForm::rows) {
          g_.table.pack_rows(pack);
          segments_[0] = {0, pack.depth_end - begin};
          segment_count_ = 1;
        }
        first_pixel_ = pack.first;
        float* sums = sums_ + done * round_up(channel_count, nr_);
        if (b_.lanes == Lanes::pixels) {
          multiply(pack, channel_count, pack.count, sums);
        } else {
          multiply(pack, pack.count, channel_count, sums);
        }
      }
    }
  }

 private:
  // Where the windows of a block are read: from a patch of the padded image, or from x itself.
  void place_windows(const PackArguments& pack) noexcept {
    const auto& [kernel, stride, padding, dilation, mode] = p_.window;
    const std::int64_t oh = pack.first / p_.ow;
    const std::int64_t ow = pack.first % p_.ow;
    column_stride_ = b_.pitch;
    if (b_.form == PixelForm::patch) {
      g_.table.pack_patch(pack);
      const std::int64_t columns = std::min(pack.count, p_.ow);
      row_stride_ = ((columns - 1) * stride.w + (kernel.w - 1) * dilation.w + 1) * b_.pitch;
      windows_ = pixels_;
    } else {
      row_stride_ = p_.x_strides[2];
      windows_ = x_ + oh * stride.h * row_stride_ + ow * stride.w * column_stride_;
    }
  }

  // The k-block's part of a window as stretches of memory; taps that touch are one.
  void list_segments(std::int64_t begin, std::int64_t end) noexcept {
    const auto& [kernel, stride, padding, dilation, mode] = p_.window;
    const std::int64_t channels = p_.c_per_group();
    segment_count_ = 0;
    while (begin < end) {
      const std::int64_t tap = begin / channels;
      const std::int64_t channel = begin % channels;
      const std::int64_t length = std::min(channels - channel, end - begin);
      const std::int64_t offset = tap / kernel.w * dilation.h * row_stride_ +
                                  tap % kernel.w * dilation.w * column_stride_ + channel;
      Segment* last = segments_ + segment_count_ - 1;
      if (segment_count_ > 0 && last->offset + last->length == offset) {
        last->length += length;
      } else {
        segments_[segment_count_++] = {offset, length};
      }
      begin += length;
    }
  }

  // The weights' panel that holds a channel of the block, from depth `begin` on.
  const float* weight_panel(std::int64_t channel, std::int64_t begin) const noexcept {
    return weights_ + ((first_channel_ + channel) / nr_ * depth_ + begin) * nr_;
  }
  const float* pixel_panel(std::int64_t pixel, std::int64_t length) const noexcept {
    return pixels_ + pixel / nr_ * length * nr_;
  }

  // The window of a pixel of the block, and how many from it on are evenly spaced.
  const float* window(std::int64_t pixel) const noexcept {
    if (b_.form == PixelForm::rows) return pixels_ + pixel * b_.pitch;
    const std::int64_t ow = first_pixel_ % p_.ow + pixel;
    return windows_ + ow / p_.ow * p_.window.stride.h * row_stride_ +
           (ow % p_.ow - first_pixel_ % p_.ow) * p_.window.stride.w * column_stride_;
  }
  std::int64_t even_rows(std::int64_t row) const noexcept {
    if (b_.form == PixelForm::columns) return nr_ - row % nr_;  // to the panel's end
    if (b_.form == PixelForm::rows) return std::numeric_limits<std::int64_t>::max();
    return p_.ow - (first_pixel_ + row) % p_.ow;  // to the end of the output row
  }

  // Every B panel meets every tile of A while it lies in L1.
  void multiply(const PackArguments& pack, std::int64_t rows, std::int64_t lanes,
                float* sums) noexcept {
    const bool pixels_in_lanes = b_.lanes == Lanes::pixels;
    const std::int64_t begin = pack.depth_begin;
    const std::int64_t length = pack.depth_end - begin;
    TileArguments tile;
    tile.depth = length;
    tile.segments = segments_;
    tile.segment_count = segment_count_;
    tile.a_row_stride = b_.form == PixelForm::rows ? b_.pitch : p_.window.stride.w * b_.pitch;
    tile.first = begin == 0;
    tile.last = pack.depth_end == depth_;
    for (std::int64_t lane = 0; lane < lanes; lane += nr_) {
      tile.b = pixels_in_lanes ? pixel_panel(lane, length) : weight_panel(lane, begin);
      tile.lanes = static_cast<std::int32_t>(std::min<std::int64_t>(nr_, lanes - lane));
      const std::int64_t vectors = ceil_div(tile.lanes, g_.table.width);
      std::int64_t row = 0;
      while (row < rows) {
        // Tiles of equal height up to where the rows' addresses are no longer evenly spaced.
        const std::int64_t left = std::min(rows - row, even_rows(row));
        const std::int64_t height = ceil_div(left, ceil_div(left, g_.table.max_rows));
        AForm form = AForm::columns;
        if (pixels_in_lanes) {
          tile.a = weight_panel(row, begin) + row % nr_;
        } else if (b_.form == PixelForm::columns) {
          tile.a = pixel_panel(row, length) + row % nr_;
        } else {
          form = AForm::rows;
          tile.a = window(row);
        }
        tile.sums = sums + (lane / nr_ * rows + row) * nr_;
        const MicroKernel kernel =
            g_.table.micro_gemm[static_cast<int>(form)][height - 1][vectors - 1];
        if (tile.last) {
          store(kernel, tile, row, static_cast<int>(height), lane);
        } else {
          kernel(tile);
        }
        row += height;
      }
    }
  }

  // Where a packed pixel lies in y.
  std::int64_t pixel_offset(std::int64_t pixel) const noexcept {
    const std::int64_t flat = first_pixel_ + pixel;
    return flat / p_.ow * p_.y_strides[2] + flat % p_.ow * p_.y_strides[3];
  }
  // Do `count` pixels lie evenly spaced in y?
  bool evenly_spaced(std::int64_t pixel, std::int64_t count) const noexcept {
    return p_.y_strides[2] == p_.ow * p_.y_strides[3] ||
           (first_pixel_ + pixel) % p_.ow + count <= p_.ow;
  }

  void store(MicroKernel kernel, TileArguments& tile, std::int64_t row, int rows,
             std::int64_t lane) noexcept {
    const bool pixels_in_lanes = b_.lanes == Lanes::pixels;
    const std::int64_t pixel = pixels_in_lanes ? lane : row;
    const int pixel_count = pixels_in_lanes ? tile.lanes : rows;
    const std::int64_t channel = first_channel_ + (pixels_in_lanes ? row : lane);
    const std::int64_t channel_stride = p_.y_strides[1];
    const std::int64_t pixel_stride = p_.y_strides[3];
    float* c = y_ + channel * channel_stride;
    tile.bias = bias_ != nullptr ? bias_ + channel : nullptr;
    tile.bias_along_rows = pixels_in_lanes;
    const std::int64_t lane_stride = pixels_in_lanes ? pixel_stride : channel_stride;
    if (lane_stride == 1 && evenly_spaced(pixel, pixel_count)) {
      tile.c = c + pixel_offset(pixel);
      tile.c_row_stride = pixels_in_lanes ? channel_stride : pixel_stride;
      kernel(tile);
      return;
    }
    float scratch[kMaxRows * kMaxVectors * 16];
    tile.c = scratch;
    tile.c_row_stride = nr_;
    kernel(tile);
    const std::int64_t pixel_step = pixels_in_lanes ? 1 : nr_;
    const std::int64_t channel_step = pixels_in_lanes ? nr_ : 1;
    const int channel_count = pixels_in_lanes ? rows : tile.lanes;
    for (int i = 0; i < pixel_count;) {
      // The pixels of one output row.
      const std::int64_t in_row = p_.ow - (first_pixel_ + pixel + i) % p_.ow;
      const int count = static_cast<int>(std::min<std::int64_t>(pixel_count - i, in_row));
      float* out = c + pixel_offset(pixel + i);
      for (int k = 0; k < channel_count; ++k) {
        const float* in = scratch + i * pixel_step + k * channel_step;
        for (int j = 0; j < count; ++j) {
          out[k * channel_stride + j * pixel_stride] = in[j * pixel_step];
        }
      }
      i += count;
    }
  }

  const GemmArguments& g_;
  const Problem& p_;
  const Blocking& b_;
  int nr_;
  std::int64_t depth_;
  float* pixels_;
  float* sums_;
  const float* x_;
  const float* weights_;
  const float* bias_;
  float* y_;
  const float* windows_ = nullptr;
  std::int64_t row_stride_ = 0;     // of the windows
  std::int64_t column_stride_ = 0;  // of the windows
  Segment segments_[kMaxKc];
  int segment_count_ = 0;
  std::int64_t first_pixel_ = 0;
  std::int64_t first_channel_ = 0;
};

}  // namespace

std::int64_t gemm_workspace_bytes(const Problem& p, const Blocking& b, int nr) noexcept {
  const std::int64_t sums = p.c_per_group() * p.taps() > b.kc
                                ? round_up(b.pixel_block, nr) * round_up(b.channel_block, nr)
                                : 0;
  return (pack_elements(b, nr) + sums) * static_cast<std::int64_t>(sizeof(float));
}

void gemm(const GemmArguments& arguments) noexcept {
  const Problem& p = arguments.problem;
  const Blocking& b = arguments.blocking;
  const std::int64_t pixels = p.oh * p.ow;
  const std::int64_t channels = p.k_per_group();
  for (std::int64_t n = 0; n < p.n; ++n) {
    for (std::int64_t group = 0; group < p.groups; ++group) {
      BlockProduct product(arguments, n, group);
      for (std::int64_t pixel = 0, count = 0; pixel < pixels; pixel += count) {
        count = std::min(b.pixel_block, pixels - pixel);
        if (b.whole_rows && count < p.ow) count = std::min(count, p.ow - pixel % p.ow);
        for (std::int64_t channel = 0; channel < channels; channel += b.channel_block) {
          product.run(pixel, count, channel, std::min(b.channel_block, channels - channel));
        }
      }
    }
  }
}

}  // namespace fastconv
