// SPDX-License-Identifier: Apache-2.0
#include "plan.hpp"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "../kernels/baselines.hpp"
#include "error.hpp"
#include "gemm.hpp"
#include "geometry.hpp"
#include "integers.hpp"
#include "memory.hpp"
#include "packed.hpp"
#include "views.hpp"

namespace fastconv {
namespace {

static_assert(sizeof(PlanState) <= sizeof(Plan) && std::is_trivially_copyable_v<PlanState> &&
                  std::is_trivially_destructible_v<PlanState>,
              "a PlanState lives in a Plan's bytes");

constexpr Engine kGemm{
    [](int threads, PlanState& s) { split_for_threads(s.problem, s.tile.nr, threads, s.gemm); },
    [](const PlanState& s) { return gemm_blocks(s.problem, s.gemm); },
    [](const PlanState& s) { return gemm_workspace_bytes(s.problem, s.gemm, s.tile.nr); },
    [](const Operands& t, const PlanState& s, std::int64_t begin, std::int64_t end,
       void* workspace) { gemm(t, s.gemm, begin, end, workspace); }};

constexpr Engine kDirect{
    [](int threads, PlanState& s) { split_for_threads(s.problem, threads, s.direct); },
    [](const PlanState& s) { return direct_blocks(s.problem, s.direct); },
    [](const PlanState& s) { return direct_workspace_bytes(s.problem, s.direct, s.tile.nr); },
    [](const Operands& t, const PlanState& s, std::int64_t begin, std::int64_t end,
       void* workspace) { direct(t, s.direct, begin, end, workspace); }};

constexpr Engine kDepthwise{
    [](int threads, PlanState& s) { split_for_threads(s.problem, threads, s.depthwise); },
    [](const PlanState& s) { return depthwise_blocks(s.problem, s.depthwise); },
    [](const PlanState& s) { return depthwise_workspace_bytes(s.problem, s.depthwise); },
    [](const Operands& t, const PlanState& s, std::int64_t begin, std::int64_t end,
       void* workspace) { depthwise(t, s.depthwise, begin, end, workspace); }};

constexpr Engine kWinograd{
    [](int threads, PlanState& s) { split_for_threads(s.problem, s.tile, threads, s.winograd); },
    [](const PlanState& s) { return winograd_blocks(s.problem, s.tile.nr, s.winograd); },
    [](const PlanState& s) { return winograd_workspace_bytes(s.winograd); },
    [](const Operands& t, const PlanState& s, std::int64_t begin, std::int64_t end,
       void* workspace) { winograd(t, s.winograd, begin, end, workspace); }};

// The algorithm, by the cost model if not by name, and its blocks.
Status choose(const Tiles& tiles, bool merged, bool whole, bool finite,
              const PackedWinograd (&packed)[kWinogradCount], Algorithm asked,
              PlanState& state) noexcept {
  const Problem& p = state.problem;
  const CacheSizes caches = detected_caches();
  const bool any = asked == Algorithm::automatic;
  struct Best {
    Algorithm algorithm = Algorithm::automatic;
    double cycles = std::numeric_limits<double>::infinity();
  } best;
  const auto consider = [&](Algorithm algorithm, double cycles) {
    if (cycles < best.cycles) best = {algorithm, cycles};
  };
  // One lane of a panel is never worth a product.
  const bool product = !merged || (whole && p.k_per_group() > 1);
  if ((any && product) || asked == Algorithm::gemm) {
    state.gemm = choose_blocking(p, tiles, caches, finite);
    consider(Algorithm::gemm, state.gemm.cycles());
  }
  if (any || asked == Algorithm::direct) {
    state.direct = choose_direct(p, state.tile, caches);
    consider(Algorithm::direct, state.direct.cycles());
  }
  // 1 to 1 channel 3x3 at 512x512, NCHW, by direct: 156 -> 109 us, 1 to 4 by 2 at 180x11 4.6 -> 2.4
  // (Xeon, AVX-512).
  const bool fills = fills_vectors(p.window, p.c_per_group(), p.k_per_group(), state.tile.width);
  if ((any && (merged || is_plane(p) || fills)) || asked == Algorithm::depthwise) {
    if (choose_depthwise(p, state.tile, caches, finite, state.depthwise)) {
      consider(Algorithm::depthwise, state.depthwise.cycles());
    } else if (!any) {
      return fail(StatusCode::unsupported,
                  "algorithm: depthwise pads with zeros where channels lie apart, and takes groups "
                  "that fill vectors in place, %lld columns or more, got padding_mode %s, channel "
                  "strides %lld in x and %lld in y, and %lld columns",
                  ll(broadcast_pixels(state.tile)), name(p.window.padding_mode), ll(p.x_strides[1]),
                  ll(p.y_strides[1]), ll(p.ow));
    }
  }
  const Best direct_sums = best;
  best = Best();
  for (int i = 0; i < kWinogradCount; ++i) {
    if (!packed[i].allowed || p.window.stride.h > 1 || p.window.stride.w > 1) continue;
    const WinogradBlocking blocking =
        choose_winograd(p, i, packed[i].weights != nullptr, state.tile, caches);
    consider(kWinogradVariants[i].algorithm, blocking.cycles());
    if (state.winograd.variant < 0 || blocking.cycles() < state.winograd.cycles()) {
      state.winograd = blocking;
    }
  }
  if (winograd_size(asked) != 0 && state.winograd.variant < 0) {
    return fail(StatusCode::unsupported,
                "algorithm: %s takes strides above 1 on images no smaller than they are, got "
                "%lld x %lld",
                name(asked), ll(state.asked.h), ll(state.asked.w));
  }
  bool winograd = best.cycles < direct_sums.cycles;
  if (any && state.winograd.variant >= 0 && state.asked.n > 1) {
    // Its bits are others, and must not depend on a batch whose images are rows of a tile.
    PlanState alone = state;
    alone.asked.n = 1;
    alone.problem = permuted(alone.asked, alone.axes);
    FASTCONV_TRY(choose(tiles, merged, whole, finite, packed, asked, alone));
    winograd = winograd_size(alone.algorithm) != 0;
  }
  state.algorithm = (winograd ? best : direct_sums).algorithm;
  return {};
}

// A thread that gets less than this has spent as long waking up.
constexpr double kFlopPerThread = 5e5;
// Tasks per thread: enough that one that was held up leaves its share to the others, and of a large
// problem more, so that nobody waits long for the last one.
constexpr std::int64_t kTasksPerThread = 8, kMostTasksPerThread = 32;
constexpr double kFlopPerTask = 2e6;  // of those beyond the least, which each have their set-up

double flop(const Problem& p) noexcept {
  return 2.0 * real(p.c_per_group() * p.taps()) * real(p.k * p.oh * p.ow) * real(p.n);
}

void share_among_threads(int threads, const Engine& engine, PlanState& state) noexcept {
  const double work = std::min(flop(state.problem), 1e12);
  state.slots = std::clamp(static_cast<int>(work / kFlopPerThread), 1, threads);
  if (state.slots > 1) engine.split(state.slots, state);
  const std::int64_t slots = state.slots;
  const std::int64_t tasks = std::clamp(static_cast<std::int64_t>(work / kFlopPerTask),
                                        kTasksPerThread * slots, kMostTasksPerThread * slots);
  state.blocks = engine.blocks(state);
  state.tasks = std::min(state.blocks, tasks);
  state.slots = static_cast<int>(std::clamp<std::int64_t>(state.tasks, 1, state.slots));
}

std::int64_t slot_bytes(const PlanState& state) noexcept {
  if (const Engine* engine = find_engine(state.algorithm)) return engine->slot_bytes(state);
  const bool has_matrix =
      state.algorithm == Algorithm::im2col || state.algorithm == Algorithm::strided_im2col;
  return has_matrix ? im2col_bytes(state.problem) : 0;
}

}  // namespace

const Engine* find_engine(Algorithm algorithm) noexcept {
  switch (algorithm) {
    case Algorithm::gemm:
      return &kGemm;
    case Algorithm::direct:
      return &kDirect;
    case Algorithm::depthwise:
      return &kDepthwise;
    case Algorithm::winograd_f2:
    case Algorithm::winograd_f4:
    case Algorithm::winograd_f6:
      return &kWinograd;
    default:
      return nullptr;
  }
}

std::int64_t workspace_bytes(const PlanState& state) noexcept {
  return state.slot_bytes > 0 ? state.slots * state.slot_bytes + kAlignment : 0;
}

std::int64_t Plan::workspace_bytes() const noexcept {
  return fastconv::workspace_bytes(state_of(state_));
}

Algorithm Plan::algorithm() const noexcept { return state_of(state_).algorithm; }

int Plan::slots() const noexcept { return state_of(state_).slots; }

Explanation Plan::explain() const noexcept { return fastconv::explain(state_of(state_)); }

Plan::Plan() noexcept : state_{} { new (state_) PlanState(); }

Status Layer::plan(const ConstTensorView& x, const TensorView& y, Plan& plan,
                   int threads) const noexcept {
  if (packed_ == nullptr) {
    return fail(StatusCode::invalid_argument, "layer: is empty, none has been created");
  }
  if (threads < 1) {
    return fail(StatusCode::invalid_argument, "threads: must be at least 1, got %d", threads);
  }
  PlanState state;
  FASTCONV_TRY(make_problem(packed_->descriptor, x, y, state.asked));
  FASTCONV_TRY(check_no_self_overlap("y", y));
  state.layer_id = packed_->id;
  const Algorithm asked = packed_->options.algorithm;
  const KernelTable& table = *packed_->table;
  state.chosen = asked == Algorithm::automatic;
  state.isa = table.isa;
  state.epilogue = packed_->options.epilogue;
  // Without an activation there is no last, and a residual is added in registers.
  if (state.epilogue.activation == Activation::none) state.epilogue.residual_last = false;
  state.has_bias = packed_->has_bias;
  state.strict = packed_->options.strict;
  state.flush_denormals = packed_->options.flush_denormals;
  const Tiles tiles(table);
  state.tile = tiles.channels;
  // An empty batch is not planned: nobody has looked at its strides.
  const bool empty = state.asked.n == 0;
  if (uses_panels(asked) && !empty) state.axes = useful_axes(state.asked);
  state.problem = permuted(state.asked, state.axes);
  state.x_offset = first_visited(state.asked, state.axes);
  if (uses_panels(asked) && !empty) {
    FASTCONV_TRY(choose(tiles, packed_->merged, packed_->whole, packed_->finite, packed_->winograd,
                        asked, state));
    share_among_threads(threads, *find_engine(state.algorithm), state);
  } else {
    state.algorithm = empty && asked == Algorithm::automatic ? Algorithm::gemm : asked;
  }
  state.slot_bytes = empty ? 0 : slot_bytes(state);
  if (std::int64_t bytes = 0; state.slot_bytes < 0 ||
                              !multiply(state.slot_bytes, state.slots, bytes) ||
                              bytes > std::int64_t{1} << 62) {
    return fail(StatusCode::overflow, "workspace: %d slots of %lld bytes exceed 64 bits",
                state.slots, ll(state.slot_bytes));
  }
  new (plan.state_) PlanState(state);
  return {};
}

}  // namespace fastconv
