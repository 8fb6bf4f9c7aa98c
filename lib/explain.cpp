// SPDX-License-Identifier: Apache-2.0
#include <cstdarg>
#include <cstdio>

#include "error.hpp"
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
    case Algorithm::gemm:
      return "implicit GEMM, packed im2col blocks and register tiles";
    case Algorithm::automatic:
      break;
  }
  return "none";
}

}  // namespace

Explanation explain(const PlanState& state) noexcept {
  Explanation result;
  Writer out(result);
  if (state.layer_id == 0) {
    out.line("no plan: made by no layer\n");
    return result;
  }
  const Problem& p = state.problem;
  out.line("problem: x %lldx%lldx%lldx%lld, kernel %lldx%lld, groups %lld, y %lldx%lldx%lldx%lld\n",
           ll(p.n), ll(p.c), ll(p.h), ll(p.w), ll(p.window.kernel_size.h),
           ll(p.window.kernel_size.w), ll(p.groups), ll(p.n), ll(p.k), ll(p.oh), ll(p.ow));
  out.line("algorithm: %s (%s): %s\n", name(state.algorithm),
           state.chosen ? "chosen by the library" : "asked for by name", meaning(state.algorithm));
  if (state.algorithm == Algorithm::gemm) {
    const Blocking& b = state.blocking;
    const bool pixels = b.lanes == Lanes::pixels;
    out.line("isa: %s, tile %d x %d (%s broadcast, %s along vectors of %d)\n", name(state.isa),
             state.tile.mr, state.tile.nr, pixels ? "channels" : "pixels",
             pixels ? "pixels" : "channels", state.tile.width);
    out.line("blocks: KC %lld, %lld pixels (%s, %lld at a time), %lld channels\n", ll(b.kc),
             ll(b.pixel_block), form_name(b.form), ll(b.pack_block), ll(b.channel_block));
    const double total = b.fma_cycles + b.pack_cycles + b.store_cycles;
    out.line("cost model: fma %.0f%%, packing %.0f%%, store %.0f%%\n", 100 * b.fma_cycles / total,
             100 * b.pack_cycles / total, 100 * b.store_cycles / total);
  } else {
    out.line("speed: a correctness baseline, slow by design\n");
    out.line("isa: generic (baselines are compiled for the platform's lowest level)\n");
  }
  out.line("epilogue: %s%s\n", state.has_bias ? "bias, " : "",
           state.epilogue.activation == Activation::none ? "no activation"
                                                         : name(state.epilogue.activation));
  out.line("threads: %d slot%s, %lld task%s\n", state.slots, state.slots == 1 ? "" : "s",
           ll(state.tasks), state.tasks == 1 ? "" : "s");
  out.line("workspace: %lld bytes\n", ll(workspace_bytes(state)));
  return result;
}

}  // namespace fastconv
