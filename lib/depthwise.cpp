// SPDX-License-Identifier: Apache-2.0
#include "depthwise.hpp"

#include <algorithm>

#include "../kernels/padding.hpp"
#include "depthwise_blocks.hpp"
#include "depthwise_interleaved.hpp"
#include "depthwise_part.hpp"

namespace fastconv {
namespace {

// Do pixels of x and y agree in the address bits by which a CPU tells loads from stores before
// them? Tensors often begin alike in their pages.
bool y_aliases_x(const Problem& p, std::int64_t phases, const float* x, const float* y) noexcept {
  constexpr std::int64_t kApart = 512;  // floats from one output's pixels to the next one's
  const std::int64_t stride = p.window.stride.w * phases;
  const auto bytes = reinterpret_cast<std::uintptr_t>(y) - reinterpret_cast<std::uintptr_t>(x);
  return p.x_strides[3] * stride % kApart == 0 && p.y_strides[3] * stride % kApart == 0 &&
         bytes % 1024 < 64;
}

// A block of an image's channels and rows, in whole rows.
void planes_block(const Operands& t, const DepthwiseBlocking& b,
                  const DepthwisePart& part) noexcept {
  const Problem& p = t.problem;
  PlaneArguments d;
  d.problem = &p;
  d.x = t.x + part.n * p.x_strides[0];
  d.first_channel = part.channel;
  d.channels = part.channels;
  d.first_row = part.oh;
  d.rows = part.rows;
  d.skips_padding = t.finite;
  d.fetch = b.fetch;
  d.paired = b.paired;
  d.weights = t.weights;
  d.lanes_per_group = t.lanes_per_group;
  d.y = t.y + part.n * p.y_strides[0];
  d.epilogue = &t.epilogue;
  d.bias = t.bias;
  if (t.residual != nullptr) {
    const auto [data, strides] = addend(t, part, t.residual_strides[3] == 1);
    d.residual = data + part.n * strides[0];
    d.residual_channel_stride = strides[1];
    d.residual_row_stride = strides[2];
  }
  t.table.depthwise_planes(d);
}

// Blocks whose channels lie along the vectors, adjacent in x and y, or copied or transposed from
// x to a patch and from staged outputs to y.
class PixelBlocks {
 public:
  PixelBlocks(const Operands& t, const DepthwiseBlocking& b, void* workspace) noexcept
      : t_(t), p_(found_taps(t.problem, b)), b_(b), scratch_(p_, b) {
    auto* memory = static_cast<char*>(workspace);
    zeros_ = reinterpret_cast<float*>(memory);
    pointers_ = reinterpret_cast<const float**>(memory += scratch_.zeros);
    patch_ = reinterpret_cast<float*>(memory += scratch_.pointers);
    outputs_ = reinterpret_cast<float*>(memory + scratch_.patch);
    std::fill(zeros_, zeros_ + scratch_.zeros / kFloat, 0.0F);
  }

  void run(const DepthwisePart& part) noexcept {
    const float* x =
        t_.x + part.n * p_.x_strides[0] + inputs_of(p_, part.channel) * p_.x_strides[1];
    b_.listed ? run_listed(part, x) : run_rows(part, x);
  }

 private:
  // What any pixels of some channels have in common.
  DepthwiseArguments arguments(const DepthwisePart& part) const noexcept {
    DepthwiseArguments d;
    d.inputs = pointers_;
    d.shift = shift_;
    d.kernel_h = p_.window.kernel_size.h;
    d.kernel_w = p_.window.kernel_size.w;
    d.group_in = static_cast<int>(p_.c_per_group());
    d.group_out = b_.repeated ? 1 : static_cast<int>(p_.k_per_group());
    d.group_lanes = static_cast<int>(t_.lanes_per_group);
    const std::int64_t lane = part.channel / p_.k_per_group() * t_.lanes_per_group;
    d.all_taps = t_.problem.taps();
    d.row_taps = t_.problem.window.kernel_size.w;
    const std::int64_t first = b_.first_tap.h * d.row_taps + b_.first_tap.w;
    d.weights = t_.weights + (lane * d.all_taps + first * t_.table.nr()) * d.group_in;
    d.bias = t_.bias != nullptr ? t_.bias + lane : nullptr;
    d.channels = static_cast<int>(part.channels);
    d.epilogue = &t_.epilogue;
    d.y = t_.y + offset(part, p_.y_strides);
    return d;
  }

  // Not a window's but the image's own pixels.
  Problem pixels_of_x() const noexcept {
    Problem image = p_;
    image.window = Window{};
    image.window.kernel_size = 1;
    image.oh = p_.h;
    image.ow = p_.w;
    return image;
  }

  void run_listed(const DepthwisePart& part, const float* x) noexcept {
    if (b_.transposed) {
      // To the copy images are rows, and their rows one.
      Problem image = pixels_of_x();
      image.oh = image.h = part.images;
      image.ow = image.w = p_.h * p_.w;
      image.x_strides[2] = p_.x_strides[0];
      image.x_strides[3] = p_.w > 1 ? p_.x_strides[3] : p_.x_strides[2];
      RegionArguments region;
      region.problem = &image;
      region.x = x;
      region.channels = inputs_of(p_, part.channels);
      region.rows = image.h;
      region.columns = image.w;
      region.pitch = scratch_.patch_pitch;
      region.out = patch_;
      t_.table.pack_patch(region);
      const std::int64_t row = p_.w * region.pitch;
      list(part, patch_, {p_.h * row, row, region.pitch});
    } else {
      list(part, x, {p_.x_strides[0], p_.x_strides[2], p_.x_strides[3]});
    }
    DepthwiseArguments d = arguments(part);
    d.rows = 1;
    d.pixels = part.images * part.rows * part.pixels;
    d.stride_h = 1;
    d.stride_w = d.kernel_w;
    d.dilation_w = 1;
    d.row_step = d.end_column = d.pixels * d.kernel_w;
    d.end_row = d.kernel_h;
    if (b_.transposed) {
      d.epilogue = &kNoEpilogue;
      d.y = outputs_;
      d.y_pixel_stride = scratch_.output_pitch;
      t_.table.depthwise(d);
      const float* sums = outputs_;
      for (DepthwisePart image = part; image.n < part.n + part.images; ++image.n) {
        scatter(image, sums);
        sums += part.rows * part.pixels * scratch_.output_pitch;
      }
      return;
    }
    d.y_pixel_stride = output_step(p_, p_.y_strides);
    if (t_.residual != nullptr) {
      const Dims<4>& rs = t_.residual_strides;
      const auto [data, strides] = addend(t_, part, rs[1] == 1 && output_step(p_, rs) != 0);
      d.residual = data + offset(part, strides);
      d.residual_pixel_stride = output_step(p_, strides);
    }
    t_.table.depthwise(d);
  }

  // Lays out [rows of the filter][pixels][columns of the filter] pointers to the pixels of images,
  // rows and columns so many floats apart.
  void list(const DepthwisePart& part, const float* x, const Dims<3>& steps) noexcept {
    if (x == origin_ && part.images == pointed_.images) return;
    pointed_.images = part.images;
    origin_ = x;
    const auto& [kernel, stride, padding, dilation, mode] = p_.window;
    const float** pointer = pointers_;
    for (std::int64_t r = 0; r < kernel.h; ++r) {
      for (std::int64_t i = 0; i < part.images; ++i) {
        for (std::int64_t oh = 0; oh < part.rows; ++oh) {
          const std::int64_t h =
              source_index(oh * stride.h + r * dilation.h - padding.top, p_.h, mode);
          const float* in = origin_ + i * steps[0] + std::max<std::int64_t>(h, 0) * steps[1];
          for (std::int64_t ow = 0; ow < part.pixels; ++ow) {
            std::int64_t at = ow * stride.w - padding.left;
            for (std::int64_t s = 0; s < kernel.w; ++s, at += dilation.w) {
              const std::int64_t w = h < 0 ? -1 : source_index(at, p_.w, mode);
              *pointer++ = w < 0 ? zeros_ : in + w * steps[2];
            }
          }
        }
      }
    }
  }

  void run_rows(const DepthwisePart& part, const float* x) noexcept {
    const auto& [kernel, stride, padding, dilation, mode] = p_.window;
    const std::int64_t columns = columns_of(p_, part.pixels);
    const std::int64_t apart = row_phases(p_, b_);  // output rows of a block
    const std::int64_t phases = column_phases(p_, part.pixels);
    const std::int64_t top = part.oh * stride.h - padding.top;
    if (b_.transposed || b_.copied) {
      read_patch(part, x, phases);
    } else {
      point(part, phases, p_.x_strides[3], dilation.h * p_.x_strides[2], x + top * p_.x_strides[2]);
    }
    if (b_.reads_lines) read_lines(t_, part.n, {part.oh, part.ow}, {part.rows, part.pixels});
    DepthwiseArguments d = arguments(part);
    d.row_step = columns;
    d.end_row = rows_of(p_, part.rows);
    const bool skips = t_.finite && mode == PaddingMode::zeros;
    if (skips) {
      // Those outside the image find zeros, which add nothing to a sum.
      d.first_row = std::max<std::int64_t>(ceil_div(-top, dilation.h), 0);
      d.end_row = std::min(d.end_row, std::max<std::int64_t>(ceil_div(p_.h - top, dilation.h), 0));
    }
    d.end_column = columns;
    d.stride_h = stride.h;
    d.stride_w = stride.w;
    d.dilation_w = dilation.w / phases;
    d.rows = part.rows;
    d.down = b_.down;
    if (b_.transposed) {
      d.epilogue = &kNoEpilogue;
      d.y = outputs_;
      d.y_row_stride = part.pixels * scratch_.output_pitch;
      d.y_pixel_stride = scratch_.output_pitch;
    } else {
      d.y_row_stride = apart * p_.y_strides[2];
      d.y_pixel_stride = p_.y_strides[3];
      d.y_aliases = !b_.copied && y_aliases_x(p_, phases, x, d.y);
      d.fetch = b_.fetch ? phases * p_.x_strides[3] : 0;
      d.x_crowds = crowds(p_, b_);
      if (t_.residual != nullptr) {
        const auto [data, strides] = addend(t_, part, t_.residual_strides[1] == 1, apart);
        d.residual = data + offset(part, strides);
        d.residual_row_stride = apart * strides[2];
        d.residual_pixel_stride = strides[3];
      }
    }
    d.y_pixel_stride *= phases;
    d.residual_pixel_stride *= phases;
    for (std::int64_t phase = 0; phase < phases; ++phase) {
      d.pixels = ceil_div(part.pixels - phase, phases);
      if (skips) {
        const std::int64_t left = part.ow * stride.w - padding.left + phase;
        d.first_column = ceil_div(-left, phases);
        d.end_column = ceil_div(p_.w - left, phases);
      }
      t_.table.depthwise(d);
      d.inputs += ceil_div(columns - phase, phases);
      d.y += d.y_pixel_stride / phases;
      if (d.residual != nullptr) d.residual += d.residual_pixel_stride / phases;
    }
    if (b_.transposed) scatter(part, outputs_);
  }

  // Lays out the pointers to the pixels under a part, which are `step` apart, and the rows that a
  // filter visits `row_step`, of which the first has column 0 at `origin`. Pointers into the image
  // also serve parts of other rows, channels and images, shifted as a whole.
  void point(const DepthwisePart& part, std::int64_t phases, std::int64_t step,
             std::int64_t row_step, const float* origin) noexcept {
    if (part.ow != pointed_.ow) {
      origin_ = origin;
      end_kept_ = 0;
    } else if (part.oh == pointed_.oh && origin == origin_ + shift_) {
      return;
    }
    pointed_ = part;
    shift_ = origin - origin_;
    const Window& window = p_.window;
    const std::int64_t top = part.oh * window.stride.h - window.padding.top;
    const std::int64_t left = part.ow * window.stride.w - window.padding.left;
    const std::int64_t right = left + columns_of(p_, part.pixels);
    std::int64_t first_inside = 0, end_inside = 0;
    const float** pointer = pointers_;
    for (std::int64_t i = 0; i < rows_of(p_, part.rows); ++i) {
      const std::int64_t at = top + i * window.dilation.h;
      const std::int64_t h = source_index(at, p_.h, window.padding_mode);
      const float* in = h < 0 ? nullptr : origin_ + (h - top) * row_step / window.dilation.h;
      const bool inside = h >= 0 && h == at;
      const bool kept = inside && i >= first_kept_ && i < end_kept_;
      if (inside) end_inside = i + 1;
      if (!inside && end_inside == 0) first_inside = i + 1;
      for (std::int64_t phase = 0; phase < phases; ++phase) {
        for (std::int64_t j = left + phase; j < right;) {
          const std::int64_t w = h < 0 ? -1 : source_index(j, p_.w, window.padding_mode);
          *pointer++ = w < 0 ? zeros_ - shift_ : in + w * step;
          j += phases;
          // Those inside the image follow each other.
          const std::int64_t end = std::min(right, p_.w);
          if (h < 0 || j < 0 || j >= end) continue;
          const std::int64_t run = ceil_div(end - j, phases);
          for (std::int64_t k = 0; !kept && k < run; ++k) pointer[k] = in + (j + k * phases) * step;
          pointer += run;
          j += run * phases;
        }
      }
    }
    first_kept_ = first_inside;
    end_kept_ = end_inside;
  }

  // Copies what lies under a part to the patch, channels adjacent.
  void read_patch(const DepthwisePart& part, const float* x, std::int64_t phases) noexcept {
    const Window& window = p_.window;
    const std::int64_t apart = window.dilation.h;
    const std::int64_t top = part.oh * window.stride.h - window.padding.top;
    const std::int64_t left = part.ow * window.stride.w - window.padding.left;
    const std::int64_t first = top < 0 ? ceil_div(-top, apart) : 0;  // row that is in the image
    const std::int64_t column = std::max<std::int64_t>(left, 0);
    const Problem image = pixels_of_x();
    RegionArguments region;
    region.problem = &image;
    region.x = x;
    region.channels = inputs_of(p_, part.channels);
    region.first_row = top + first * apart;
    region.first_column = column;
    region.rows =
        std::min(rows_of(p_, part.rows) - first, ceil_div(p_.h - region.first_row, apart));
    region.columns = std::min(left + columns_of(p_, part.pixels), p_.w) - column;
    region.row_step = apart;
    region.pitch = scratch_.patch_pitch;
    region.out = patch_;
    if (region.rows > 0 && region.columns > 0) {
      t_.table.pack_patch(region);
      if (b_.repeated) {
        t_.table.repeat_channels(patch_, region.rows * region.columns, region.pitch,
                                 static_cast<int>(part.channels),
                                 static_cast<int>(p_.k_per_group()));
      }
    }
    point(part, phases, region.pitch, region.columns * region.pitch,
          patch_ - (first * region.columns + column) * region.pitch);
  }

  void scatter(const DepthwisePart& part, const float* sums) noexcept {
    const Dims<4>& ys = p_.y_strides;
    const Dims<4>& rs = t_.residual_strides;
    const std::int64_t apart = row_phases(p_, b_);
    ScatterArguments s;
    s.sums = sums;
    s.column_stride = scratch_.output_pitch;
    s.row_stride = part.pixels * s.column_stride;
    s.rows = part.rows;
    s.columns = part.pixels;
    s.lanes = static_cast<int>(part.channels);
    s.fetch = ys[3] == 1;
    s.y = t_.y + offset(part, ys);
    s.y_strides = {ys[1], apart * ys[2], ys[3]};
    s.epilogue = &t_.epilogue;
    if (t_.residual != nullptr) {
      s.residual = t_.residual + offset(part, rs);
      s.residual_strides = {rs[1], apart * rs[2], rs[3]};
    }
    // Rows that follow each other are one.
    if (s.y_strides[1] == s.columns * ys[3] &&
        (s.residual == nullptr || s.residual_strides[1] == s.columns * rs[3])) {
      s.columns *= s.rows;
      s.rows = 1;
    }
    t_.table.scatter(s);
  }

  const Operands& t_;
  const Problem p_;
  const DepthwiseBlocking& b_;
  Scratch scratch_;
  float* zeros_;
  const float** pointers_;
  float* patch_;
  float* outputs_;
  DepthwisePart pointed_{0, 0, -1, -1, 0, 0, 0, 0};  // the part that the pointers are for
  const float* origin_ = nullptr;                    // of the first part of these pixels
  std::int64_t shift_ = 0;                           // from there
  std::int64_t first_kept_ = 0, end_kept_ = 0;       // rows of pointers inside the image
};

// Calls run(part) for the blocks [begin, end).
template <class Run>
void each_part(const Problem& p, const DepthwiseBlocking& b, std::int64_t begin, std::int64_t end,
               Run run) noexcept {
  const std::int64_t channel_blocks = ceil_div(p.k, b.channels);
  const std::int64_t pixel_blocks = ceil_div(p.ow, b.pixels);
  const std::int64_t blocks_of_rows = row_blocks(p, b);
  const std::int64_t apart = row_phases(p, b);  // output rows of a block
  for (std::int64_t block = begin; block < end; ++block) {
    DepthwisePart part;
    std::int64_t rest = block;
    part.channel = rest % channel_blocks * b.channels;
    part.channels = std::min(b.channels, p.k - part.channel);
    rest /= channel_blocks;
    // Down the rows of some pixels, which have most pointers in common.
    part.oh = rest % blocks_of_rows / apart * b.rows * apart + rest % blocks_of_rows % apart;
    part.rows = std::min(b.rows, ceil_div(p.oh - part.oh, apart));
    rest /= blocks_of_rows;
    part.ow = rest % pixel_blocks * b.pixels;
    part.pixels = std::min(b.pixels, p.ow - part.ow);
    part.n = rest / pixel_blocks * b.images;
    part.images = std::min(b.images, p.n - part.n);
    if (part.rows > 0) run(part);
  }
}

}  // namespace

void depthwise(const Operands& t, const DepthwiseBlocking& b, std::int64_t begin, std::int64_t end,
               void* workspace) noexcept {
  const auto parts = [&](auto run) { each_part(t.problem, b, begin, end, run); };
  if (b.lanes == Lanes::pixels) {
    parts([&](const DepthwisePart& part) { planes_block(t, b, part); });
  } else if (b.interleaved) {
    InterleavedBlocks blocks(t, b, workspace);
    parts([&](const DepthwisePart& part) { blocks.run(part); });
  } else {
    PixelBlocks blocks(t, b, workspace);
    parts([&](const DepthwisePart& part) { blocks.run(part); });
  }
}

}  // namespace fastconv
