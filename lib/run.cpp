// SPDX-License-Identifier: Apache-2.0
#include <fastconv/layer.hpp>

#include <algorithm>
#include <atomic>
#include <limits>
#include <new>
#include <type_traits>

#include "../kernels/baselines.hpp"
#include "../kernels/denormals.hpp"
#include "error.hpp"
#include "gemm.hpp"
#include "integers.hpp"
#include "packed.hpp"
#include "plan.hpp"
#include "views.hpp"
#include "winograd.hpp"

namespace fastconv {
namespace {

static_assert(sizeof(PlanState) <= sizeof(Plan) && std::is_trivially_copyable_v<PlanState> &&
                  std::is_trivially_destructible_v<PlanState>,
              "a PlanState lives in a Plan's bytes");

const PlanState& state_of(const unsigned char* bytes) noexcept {
  return *std::launder(reinterpret_cast<const PlanState*>(bytes));
}

char* align_up(void* pointer) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  return static_cast<char*>(pointer) + (kAlignment - address % kAlignment) % kAlignment;
}

// A thread that gets less than this has spent as long waking up.
constexpr double kFlopPerThread = 5e5;
// Tasks per thread: enough that one that was held up leaves its share to the others.
constexpr std::int64_t kTasksPerThread = 8;

double flop(const Problem& p) noexcept {
  return 2.0 * real(p.c_per_group() * p.taps()) * real(p.k * p.oh * p.ow) * real(p.n);
}

// The algorithm, by the cost model if not by name, and its blocks.
Status choose(bool merged, const float* const (&transformed)[kWinogradSizes], Algorithm asked,
              PlanState& state) noexcept {
  const Problem& p = state.problem;
  const CacheSizes caches = detected_caches();
  const bool any = asked == Algorithm::automatic;
  double best = std::numeric_limits<double>::infinity();
  const auto consider = [&](Algorithm algorithm, double cycles) {
    if (cycles >= best) return;
    best = cycles;
    state.algorithm = algorithm;
  };
  if ((any && !merged) || asked == Algorithm::gemm) {
    state.gemm = choose_blocking(p, state.tile, caches);
    consider(Algorithm::gemm, state.gemm.cycles() * real(p.groups));
  }
  if (any || asked == Algorithm::direct) {
    state.direct = choose_direct(p, state.tile, caches);
    consider(Algorithm::direct, state.direct.cycles());
  }
  if ((any && merged) || asked == Algorithm::depthwise) {
    if (choose_depthwise(p, state.tile, state.depthwise)) {
      consider(Algorithm::depthwise, state.depthwise.cycles());
    } else if (!any) {
      return fail(StatusCode::unsupported,
                  "algorithm: depthwise takes adjacent channels, got strides %lld in x and %lld "
                  "in y",
                  ll(p.x_strides[1]), ll(p.y_strides[1]));
    }
  }
  for (const Algorithm algorithm :
       {Algorithm::winograd_f2, Algorithm::winograd_f4, Algorithm::winograd_f6}) {
    const int m = winograd_size(algorithm);
    if (transformed[m / 2 - 1] == nullptr) continue;
    state.winograd = choose_winograd(p, m, state.tile, caches);
    consider(algorithm, state.winograd.cycles());
  }
  return {};
}

std::int64_t block_count(const PlanState& state) noexcept {
  switch (state.algorithm) {
    case Algorithm::gemm:
      return gemm_blocks(state.problem, state.gemm);
    case Algorithm::direct:
      return direct_blocks(state.problem, state.direct);
    case Algorithm::depthwise:
      return depthwise_blocks(state.problem, state.depthwise);
    case Algorithm::winograd_f2:
    case Algorithm::winograd_f4:
    case Algorithm::winograd_f6:
      return winograd_blocks(state.problem, state.tile.nr, state.winograd);
    default:
      return 1;
  }
}

void share_among_threads(int threads, PlanState& state) noexcept {
  const Problem& p = state.problem;
  const double most = std::min(flop(p) / kFlopPerThread, 1e6);
  state.slots = std::clamp(static_cast<int>(most), 1, threads);
  if (state.slots > 1 && state.algorithm == Algorithm::gemm) {
    split_for_threads(p, state.tile, state.slots, state.gemm);
  } else if (state.slots > 1 && state.algorithm == Algorithm::direct) {
    split_for_threads(p, state.tile.width, state.slots, state.direct);
  } else if (state.slots > 1 && winograd_size(state.algorithm) != 0) {
    split_for_threads(p, state.tile, state.slots, state.winograd);
  }
  state.tasks = std::min(block_count(state), kTasksPerThread * state.slots);
  state.slots = static_cast<int>(std::clamp<std::int64_t>(state.tasks, 1, state.slots));
}

std::int64_t slot_bytes(const PlanState& state) noexcept {
  const Problem& p = state.problem;
  switch (state.algorithm) {
    case Algorithm::gemm:
      return gemm_workspace_bytes(p, state.gemm, state.tile.nr);
    case Algorithm::direct:
      return direct_workspace_bytes(p, state.direct, state.tile.nr);
    case Algorithm::depthwise:
      return depthwise_workspace_bytes(p, state.depthwise);
    case Algorithm::winograd_f2:
    case Algorithm::winograd_f4:
    case Algorithm::winograd_f6:
      return winograd_workspace_bytes(state.winograd);
    case Algorithm::im2col:
    case Algorithm::strided_im2col:
      return im2col_bytes(p);
    default:
      return 0;
  }
}

// One run of a plan of the engine, as its tasks see it.
struct Job {
  const PlanState& state;
  Operands operands;
  std::int64_t blocks;
  std::int64_t tasks;
  char* workspace;
  bool flush_denormals;
  std::atomic<int> bad_slot;

  static void run(void* data, std::int64_t task, int slot) {
    Job& job = *static_cast<Job*>(data);
    const PlanState& state = job.state;
    if (slot < 0 || slot >= state.slots) {
      job.bad_slot.store(slot, std::memory_order_relaxed);
      return;
    }
    const DenormalMode mode(job.flush_denormals);
    const std::int64_t begin = job.blocks * task / job.tasks;
    const std::int64_t end = job.blocks * (task + 1) / job.tasks;
    void* workspace = job.workspace + slot * state.slot_bytes;
    if (state.algorithm == Algorithm::gemm) {
      gemm(job.operands, state.gemm, begin, end, workspace);
    } else if (state.algorithm == Algorithm::direct) {
      direct(job.operands, state.direct, begin, end, workspace);
    } else if (winograd_size(state.algorithm) != 0) {
      winograd(job.operands, state.winograd, begin, end, workspace);
    } else {
      depthwise(job.operands, state.depthwise, begin, end, workspace);
    }
  }
};

// Spelled out, as comparing arrays calls memcmp, which on a tiny image is felt.
bool is_planned(const ConstTensorView& view, const Dims<4>& shape,
                const Dims<4>& strides) noexcept {
  const Dims<4> used = used_strides(view.shape, view.strides);
  bool same = true;
  for (std::size_t i = 0; i < 4; ++i) {
    same = same && view.shape[i] == shape[i] && used[i] == strides[i];
  }
  return same;
}

Status check_residual(const Problem& p, const ConstTensorView& residual,
                      const TensorView& y) noexcept {
  if (residual.shape != y.shape) {
    return fail(StatusCode::shape_mismatch,
                "residual: has shape %lld x %lld x %lld x %lld, y has %lld x %lld x %lld x %lld",
                ll(residual.shape[0]), ll(residual.shape[1]), ll(residual.shape[2]),
                ll(residual.shape[3]), ll(y.shape[0]), ll(y.shape[1]), ll(y.shape[2]),
                ll(y.shape[3]));
  }
  FASTCONV_TRY(check_shape("residual", residual.shape, residual.strides));
  FASTCONV_TRY(check_memory("residual", residual));
  if (residual.data == y.data && used_strides(residual.shape, residual.strides) == p.y_strides) {
    return {};
  }
  return check_disjoint("residual", residual, "y", y);
}

}  // namespace

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
    return fail(StatusCode::invalid_argument, "layer: is empty; Layer::create makes one");
  }
  if (threads < 1) {
    return fail(StatusCode::invalid_argument, "threads: must be at least 1, got %d", threads);
  }
  PlanState state;
  FASTCONV_TRY(make_problem(packed_->descriptor, x, y, state.problem));
  FASTCONV_TRY(check_no_self_overlap("y", y));
  state.layer_id = packed_->id;
  const Algorithm asked = packed_->options.algorithm;
  const KernelTable& table = *packed_->table;
  state.chosen = asked == Algorithm::automatic;
  state.isa = table.isa;
  state.epilogue = packed_->options.epilogue;
  state.has_bias = packed_->bias != nullptr;
  state.strict = packed_->options.strict;
  state.flush_denormals = packed_->options.flush_denormals;
  state.tile = {table.width, table.nr(), table.max_rows};
  // An empty batch is not planned: nobody has looked at its strides.
  const bool empty = state.problem.n == 0;
  if (uses_panels(asked) && !empty) {
    FASTCONV_TRY(choose(packed_->merged, packed_->transformed, asked, state));
    share_among_threads(threads, state);
  } else {
    state.algorithm = asked;
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

Status Layer::run(const Plan& plan, const ConstTensorView& x, const TensorView& y,
                  const RunOptions& options) const noexcept {
  const PlanState& state = state_of(plan.state_);
  if (packed_ == nullptr || state.layer_id != packed_->id) {
    return fail(StatusCode::invalid_argument, "plan: was not made by this layer");
  }
  const Problem& p = state.problem;
  if (!is_planned(x, {p.n, p.c, p.h, p.w}, p.x_strides)) {
    return fail(StatusCode::shape_mismatch, "x: shape or strides differ from the plan's");
  }
  if (!is_planned(y, {p.n, p.k, p.oh, p.ow}, p.y_strides)) {
    return fail(StatusCode::shape_mismatch, "y: shape or strides differ from the plan's");
  }
  FASTCONV_TRY(check_memory("x", x));
  FASTCONV_TRY(check_memory("y", y));
  FASTCONV_TRY(check_disjoint("x", x, "y", y));
  if (options.residual.data != nullptr) FASTCONV_TRY(check_residual(p, options.residual, y));
  const std::int64_t bytes = fastconv::workspace_bytes(state);
  if (bytes > 0 && (options.workspace == nullptr || options.workspace_bytes < bytes)) {
    return fail(StatusCode::workspace_too_small, "workspace: %lld bytes are needed, got %lld",
                ll(bytes), ll(options.workspace == nullptr ? 0 : options.workspace_bytes));
  }
  if (p.n == 0) return {};
  const Dims<4> residual_strides = used_strides(options.residual.shape, options.residual.strides);
  char* workspace = align_up(options.workspace);
  const bool flush = packed_->options.flush_denormals;

  if (uses_panels(state.algorithm)) {
    const int m = winograd_size(state.algorithm);
    const float* weights = m != 0 ? packed_->transformed[m / 2 - 1] : packed_->weights;
    Job job{state,
            {p, *packed_->table, x.data, weights, packed_->lanes_per_group, packed_->bias, y.data,
             options.residual.data, residual_strides, state.epilogue},
            block_count(state),
            state.tasks,
            workspace,
            flush,
            {0}};
    if (options.parallel_for.run != nullptr && state.slots > 1) {
      options.parallel_for.run(options.parallel_for.context, state.tasks, state.slots, Job::run,
                               &job);
    } else {
      job.tasks = 1;
      Job::run(&job, 0, 0);
    }
    if (const int slot = job.bad_slot.load(std::memory_order_relaxed); slot != 0) {
      return fail(StatusCode::invalid_argument, "parallel_for: passed slot %d of %d", slot,
                  state.slots);
    }
    return {};
  }

  const DenormalMode mode(flush);
  const BaselineArguments arguments{p,
                                    x.data,
                                    packed_->weights,
                                    packed_->bias,
                                    y.data,
                                    options.residual.data,
                                    residual_strides,
                                    state.epilogue};
  auto* matrix = reinterpret_cast<float*>(workspace);
  switch (state.algorithm) {
    case Algorithm::naive:
      naive(arguments);
      break;
    case Algorithm::strided:
      strided(arguments);
      break;
    case Algorithm::im2col:
      im2col_matmul(arguments, im2col_loops, matrix);
      break;
    case Algorithm::strided_im2col:
      im2col_matmul(arguments, im2col_gather, matrix);
      break;
    default:  // the engine's, above
      break;
  }
  return {};
}

Status Layer::run(const ConstTensorView& x, const TensorView& y) const noexcept {
  Plan plan;
  FASTCONV_TRY(this->plan(x, y, plan));
  RunOptions options;
  options.workspace_bytes = plan.workspace_bytes();
  const Allocator& allocator = packed_->options.allocator;
  if (options.workspace_bytes > 0) {
    options.workspace = allocate(allocator, options.workspace_bytes);
    if (options.workspace == nullptr) {
      return fail(StatusCode::out_of_memory, "workspace: cannot allocate %lld bytes",
                  ll(options.workspace_bytes));
    }
  }
  const Status status = run(plan, x, y, options);
  deallocate(allocator, options.workspace, options.workspace_bytes);
  return status;
}

Status conv2d(const ConstTensorView& x, const ConstTensorView& weights, const float* bias,
              const TensorView& y, Pair stride, Padding padding, Pair dilation, std::int64_t groups,
              PaddingMode padding_mode, const LayerOptions& options) noexcept {
  Conv2d descriptor;
  descriptor.in_channels = x.shape[1];
  descriptor.out_channels = weights.shape[0];
  descriptor.kernel_size = {weights.shape[2], weights.shape[3]};
  descriptor.stride = stride;
  descriptor.padding = padding;
  descriptor.dilation = dilation;
  descriptor.groups = groups;
  descriptor.padding_mode = padding_mode;
  Layer layer;
  FASTCONV_TRY(Layer::create(descriptor, weights, bias, options, layer));
  return layer.run(x, y);
}

}  // namespace fastconv
