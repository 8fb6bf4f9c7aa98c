// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <iterator>

#include "depthwise.hpp"
#include "error.hpp"
#include "integers.hpp"
#include "plan.hpp"

namespace fastconv {
namespace {

// Appends printf-formatted text to an Explanation and cuts it at its capacity.
class Writer {
 public:
  explicit Writer(Explanation& explanation) noexcept : text_(explanation.text) { text_[0] = '\0'; }

  __attribute__((format(printf, 2, 3))) void line(const char* format, ...) noexcept {
    va_list arguments;
    va_start(arguments, format);
    const int written =
        std::vsnprintf(text_ + length_, sizeof(Explanation::text) - length_, format, arguments);
    va_end(arguments);
    if (written < 0) return;
    length_ += static_cast<std::size_t>(written);
    if (length_ >= sizeof(Explanation::text)) length_ = sizeof(Explanation::text) - 1;
  }

 private:
  char* text_;
  std::size_t length_ = 0;
};

const char* form_name(PixelForm form) noexcept {
  switch (form) {
    case PixelForm::columns:
      return "packed in columns";
    case PixelForm::rows:
      return "packed in rows";
    case PixelForm::patch:
      return "read from a padded patch";
    case PixelForm::in_place:
      return "read in place";
    case PixelForm::taps:
      return "by the taps that they find in the image";
  }
  return "";
}

const char* meaning(Algorithm algorithm) noexcept {
  switch (algorithm) {
    case Algorithm::naive:
      return "seven loops summing in double";
    case Algorithm::im2col:
      return "im2col by loops, then a plain matrix product summing in double";
    case Algorithm::strided_im2col:
      return "im2col gathered from the window view, then a plain matrix product summing in double";
    case Algorithm::strided:
      return "sum over the 7-D broadcast view in double";
    case Algorithm::direct:
      return "every tap read at its own offset, nothing packed by tap";
    case Algorithm::depthwise:
      return "every channel by its own filter, narrow groups side by side in the lanes, or groups "
             "that fill them";
    case Algorithm::gemm:
      return "implicit GEMM, packed im2col blocks and register tiles";
    case Algorithm::winograd_f2:
    case Algorithm::winograd_f4:
    case Algorithm::winograd_f6:
      return "minimal filtering, transformed tiles multiplied point by point";
    case Algorithm::automatic:
      break;
  }
  return "none";
}

// Why what was not estimated is not legal.
const char* limit(Algorithm algorithm, const PlanState& state) noexcept {
  const Problem& p = state.problem;
  const char* const empty_lanes = "would leave most lanes of every group's panel empty";
  switch (algorithm) {
    case Algorithm::gemm:
      return empty_lanes;
    case Algorithm::depthwise:
      if (fills_vectors(p.window, p.c_per_group(), p.k_per_group(), state.tile.width)) {
        return "takes groups that fill vectors if channels are adjacent and rows not shorter than "
               "tiles";
      }
      if (!is_depthwise(p.c_per_group(), p.k_per_group(), state.tile.width)) {
        return state.tile.width < kMaxWidth
                   ? "takes groups of channels out that divide half a vector, and no more in"
                   : "takes groups of up to half a vector of channels out, and no more in";
      }
      return p.groups == 1 && !is_plane(p) ? "takes more groups than one"
                                           : "pads with zeros alone where channels lie apart";
    case Algorithm::winograd_f4: {
      if (state.strict) return "strict excludes";
      Window window = p.window;
      window.stride = 1;
      const auto serves = [&](const WinogradVariant& v) { return is_winograd(v, window); };
      if (std::none_of(std::begin(kWinogradVariants), std::end(kWinogradVariants), serves)) {
        return "takes kernels of 3x3, 5x5, or 3 or 5 taps along one axis";
      }
      if (p.window.stride.h > 1 || p.window.stride.w > 1) {
        return "takes stride 1, or one within the image that divides the dilation, among zeros";
      }
      static_assert(kWinogradChannels == 8 && kWinogradOutputs == 4);
      return p.c_per_group() < kWinogradChannels || p.k_per_group() < kWinogradOutputs
                 ? "takes 8 channels of a group in and 4 out, or more"
                 : empty_lanes;
    }
    default:
      return "does not apply";
  }
}

// In the order in which it happens.
void explain_epilogue(const PlanState& state, Writer& out) noexcept {
  const Epilogue& e = state.epilogue;
  out.line("epilogue: %s%s", state.has_bias ? "bias, " : "",
           !e.residual_last ? "residual if given, " : "");
  out.line("%s", e.activation != Activation::none ? name(e.activation) : "no activation");
  if (e.activation == Activation::clamp) {
    out.line(" %g to %g", static_cast<double>(e.alpha), static_cast<double>(e.beta));
  } else if (e.activation == Activation::leaky_relu) {
    out.line(" of slope %g", static_cast<double>(e.alpha));
  }
  out.line("%s\n", e.residual_last ? ", residual if given" : "");
  out.line("numbers: %s, denormals %s\n", state.strict ? "strict" : "not strict",
           state.flush_denormals ? "flushed to zero" : "as the caller has set them");
}

// The cost model's terms of what a plan takes.
struct Cycles {
  double fma = 0, pack = 0, store = 0;

  Cycles() = default;
  template <class AnyBlocking>
  explicit Cycles(const AnyBlocking& b) noexcept
      : fma(b.fma_cycles), pack(b.pack_cycles), store(b.store_cycles) {}
  double all() const noexcept { return fma + pack + store; }
};

// Of a tensor, by what lies next to each other in memory.
const char* layout_name(const Dims<4>& shape, const Dims<4>& strides) noexcept {
  const auto& [n, c, h, w] = shape;
  const auto is = [&](const Dims<4>& dense) {
    bool same = true;
    for (std::size_t i = 0; i < 4; ++i) same = same && (shape[i] <= 1 || strides[i] == dense[i]);
    return same;
  };
  if (is({c * h * w, h * w, w, 1})) return "NCHW";
  if (is({h * w * c, 1, w * c, c})) return "NHWC";
  if (strides[1] == 1) return "with adjacent channels";
  return strides[3] == 1 ? "with adjacent columns" : "with nothing adjacent";
}

void explain_problem(const PlanState& state, Writer& out) noexcept {
  const Problem& p = state.asked;
  out.line("problem: x %lldx%lldx%lldx%lld, kernel %lldx%lld, groups %lld, y %lldx%lldx%lldx%lld\n",
           ll(p.n), ll(p.c), ll(p.h), ll(p.w), ll(p.window.kernel_size.h),
           ll(p.window.kernel_size.w), ll(p.groups), ll(p.n), ll(p.k), ll(p.oh), ll(p.ow));
  out.line("layout: x %s, y %s\n", layout_name({p.n, p.c, p.h, p.w}, p.x_strides),
           layout_name({p.n, p.k, p.oh, p.ow}, p.y_strides));
  const auto& [kernel, stride, padding, dilation, mode] = p.window;
  out.line("window: stride %lldx%lld, dilation %lldx%lld, padding %lld %lld %lld %lld of %s\n",
           ll(stride.h), ll(stride.w), ll(dilation.h), ll(dilation.w), ll(padding.top),
           ll(padding.bottom), ll(padding.left), ll(padding.right), name(mode));
}

Cycles explain_blocks(const PlanState& state, const Blocking& b, Writer& out) noexcept {
  const bool pixels = b.lanes == Lanes::pixels;
  out.line("isa: %s, tile %d x %d (%s broadcast, %s along vectors of %d)\n", name(state.isa),
           b.tile.mr, b.tile.nr, pixels ? "channels" : "pixels", pixels ? "pixels" : "channels",
           state.tile.width);
  out.line("blocks: KC %lld, %lld pixels (%s, %lld at a time), %lld channels\n", ll(b.kc),
           ll(b.pixel_block), form_name(b.form), ll(b.pack_block), ll(b.channel_block));
  return Cycles(b);
}

Cycles explain_blocks(const PlanState& state, const DirectBlocking& b, Writer& out) noexcept {
  out.line("isa: %s, pixels along vectors of %d\n", name(state.isa), state.tile.width);
  out.line("blocks: %lld rows x %lld columns, %s%s\n", ll(b.rows), ll(b.columns),
           b.in_place ? "read in place" : "read from padded planes",
           b.output_elements > 0 ? ", results staged: the columns of y are apart" : "");
  return Cycles(b);
}

Cycles explain_blocks(const PlanState& state, const DepthwiseBlocking& b, Writer& out) noexcept {
  out.line("isa: %s, %s along vectors of %d\n", name(state.isa),
           b.lanes == Lanes::pixels ? "pixels" : "channels", state.tile.width);
  out.line("blocks: %lld rows x %lld pixels, %lld channels%s", ll(b.rows), ll(b.pixels),
           ll(b.channels),
           b.transposed ? ", transposed on their way in and out"
           : b.copied   ? ", copied on their way in"
                        : "");
  if (b.interleaved) out.line(", interleaved in the lanes");
  if (b.listed) out.line(", all pixels of %lld images as one row", ll(b.images));
  out.line("\n");
  return Cycles(b);
}

Cycles explain_blocks(const PlanState& state, const WinogradBlocking& b, Writer& out) noexcept {
  out.line(
      "isa: %s, F(%lldx%lld, %lldx%lld), tile %d x %d (pixels broadcast, channels along "
      "vectors)\n",
      name(state.isa), ll(b.rows.m), ll(b.columns.m), ll(b.rows.side - b.rows.m + 1),
      ll(b.columns.side - b.columns.m + 1), state.tile.mr, state.tile.nr);
  out.line("blocks: %lld tiles (an image has %lld), %lld channels\n", ll(b.tiles),
           ll(b.tiles_of_image()),
           ll(std::min(b.panels * state.tile.nr, state.asked.k_per_group())));
  out.line("weights: transformed %s\n", b.u_elements > 0 ? "by every block" : "by the layer");
  out.line("error: %g times direct summation's\n", kWinogradVariants[b.variant].error);
  return Cycles(b);
}

Cycles explain_algorithm(const PlanState& state, Writer& out) noexcept {
  if (state.algorithm == Algorithm::gemm) return explain_blocks(state, state.gemm, out);
  if (state.algorithm == Algorithm::direct) return explain_blocks(state, state.direct, out);
  if (state.algorithm == Algorithm::depthwise) return explain_blocks(state, state.depthwise, out);
  if (winograd_size(state.algorithm) != 0) return explain_blocks(state, state.winograd, out);
  out.line("speed: a correctness baseline, slow by design\n");
  out.line("isa: generic (baselines are compiled for the platform's lowest level)\n");
  return {};
}

// The others that `auto` looked at. Estimates of those that were not legal are zero.
void explain_refused(const PlanState& state, double best, Writer& out) noexcept {
  const struct {
    Algorithm algorithm;
    double cycles;
  } others[] = {{Algorithm::gemm, state.gemm.cycles()},
                {Algorithm::direct, state.direct.cycles()},
                {Algorithm::depthwise, state.depthwise.cycles()},
                {state.winograd.variant < 0 ? Algorithm::winograd_f4
                                            : kWinogradVariants[state.winograd.variant].algorithm,
                 state.winograd.cycles()}};
  for (const auto& [algorithm, cycles] : others) {
    if (algorithm == state.algorithm) continue;
    if (cycles > 0) {
      out.line("refused: %s, estimated at %.2f x the cycles%s\n", name(algorithm), cycles / best,
               cycles < best ? ", but not for an image alone, whose bits a batch has" : "");
    } else {
      const bool winograd = algorithm == Algorithm::winograd_f4;
      out.line("refused: %s, which %s\n", winograd ? "winograd" : name(algorithm),
               limit(algorithm, state));
    }
  }
}

}  // namespace

Explanation explain(const PlanState& state) noexcept {
  Explanation result;
  Writer out(result);
  if (state.layer_id == 0) {
    out.line("no plan: made by no layer\n");
    return result;
  }
  explain_problem(state, out);
  if (state.asked.n == 0) {
    out.line("algorithm: %s, with nothing to do for an empty batch\n", name(state.algorithm));
    return result;
  }
  out.line("algorithm: %s (%s): %s\n", name(state.algorithm),
           state.chosen ? "chosen by the library" : "asked for by name", meaning(state.algorithm));
  const Problem& q = state.problem;
  if (find_engine(state.algorithm) != nullptr &&
      (state.axes != Axes{0, 1, 2, 3} || q.h != state.asked.h || q.w != state.asked.w)) {
    const auto& [kernel, stride, padding, dilation, mode] = q.window;
    out.line(
        "seen as: x %lldx%lldx%lldx%lld, kernel %lldx%lld, stride %lldx%lld, "
        "dilation %lldx%lld\n",
        ll(q.n), ll(q.c), ll(q.h), ll(q.w), ll(kernel.h), ll(kernel.w), ll(stride.h), ll(stride.w),
        ll(dilation.h), ll(dilation.w));
  }
  const Cycles cycles = explain_algorithm(state, out);
  if (const double all = cycles.all(); all > 0) {
    out.line("cost model: fma %.0f%%, packing %.0f%%, store %.0f%%\n", 100 * cycles.fma / all,
             100 * cycles.pack / all, 100 * cycles.store / all);
  }
  if (state.chosen) explain_refused(state, cycles.all(), out);
  explain_epilogue(state, out);
  out.line("threads: %d slot%s, %lld task%s\n", state.slots, state.slots == 1 ? "" : "s",
           ll(state.tasks), state.tasks == 1 ? "" : "s");
  out.line("workspace: %lld bytes\n", ll(workspace_bytes(state)));
  return result;
}

}  // namespace fastconv
