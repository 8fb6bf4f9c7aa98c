// SPDX-License-Identifier: Apache-2.0
#include <fastconv/layer.hpp>

#include <algorithm>
#include <atomic>

#include "../kernels/baselines.hpp"
#include "../kernels/denormals.hpp"
#include "error.hpp"
#include "geometry.hpp"
#include "integers.hpp"
#include "memory.hpp"
#include "packed.hpp"
#include "plan.hpp"
#include "views.hpp"

namespace fastconv {
namespace {

char* align_up(void* pointer) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  return static_cast<char*>(pointer) + (kAlignment - address % kAlignment) % kAlignment;
}

// One run of a plan of the engine, as its tasks see it.
struct Job {
  const PlanState& state;
  const Engine& engine;
  const Operands& operands;
  std::int64_t tasks;
  char* workspace;
  bool flush_denormals;
  // Of the caller's parallel_for; 0 is never a bad one.
  std::atomic<std::int64_t> bad_task;
  std::atomic<int> bad_slot;
  std::atomic<std::uint64_t> ended;  // the sum of their marks

  // Mixed, so that tasks which ran in place of others do not have their sum.
  static std::uint64_t mark(std::int64_t task) noexcept {
    const std::uint64_t mixed = (static_cast<std::uint64_t>(task) + 1) * 0x9e3779b97f4a7c15U;
    return mixed ^ mixed >> 29;
  }

  static void run(void* data, std::int64_t task, int slot) {
    Job& job = *static_cast<Job*>(data);
    const PlanState& state = job.state;
    if (slot < 0 || slot >= state.slots || task < 0 || task >= job.tasks) {
      if (slot < 0 || slot >= state.slots) job.bad_slot.store(slot, std::memory_order_relaxed);
      if (task < 0 || task >= job.tasks) job.bad_task.store(task, std::memory_order_relaxed);
      return;
    }
    const DenormalMode mode(job.flush_denormals);
    const auto first_of = [&](std::int64_t i) { return divide(i * state.blocks, job.tasks); };
    void* workspace = job.workspace + slot * state.slot_bytes;
    job.engine.run(job.operands, state, first_of(task), first_of(task + 1), workspace);
    job.ended.fetch_add(mark(task), std::memory_order_relaxed);
  }

  Status check() const noexcept {
    if (const int slot = bad_slot.load(std::memory_order_relaxed); slot != 0) {
      return fail(StatusCode::invalid_argument, "parallel_for: passed slot %d of %d", slot,
                  state.slots);
    }
    if (const std::int64_t task = bad_task.load(std::memory_order_relaxed); task != 0) {
      return fail(StatusCode::invalid_argument, "parallel_for: passed task %lld of %lld", ll(task),
                  ll(tasks));
    }
    std::uint64_t rest = ended.load(std::memory_order_relaxed);
    for (std::int64_t task = 0; task < tasks; ++task) rest -= mark(task);
    if (rest == 0) return {};
    return fail(StatusCode::invalid_argument, "parallel_for: did not run each of %lld tasks once",
                ll(tasks));
  }
};

// Are these the planned shape and strides? Along an axis of one element any stride is. Spelled out,
// as comparing arrays calls memcmp, which on a tiny image is felt.
bool is_planned(const ConstTensorView& view, const Dims<4>& shape,
                const Dims<4>& strides) noexcept {
  bool same = true;
  for (std::size_t i = 0; i < 4; ++i) {
    same = same && view.shape[i] == shape[i] && (shape[i] <= 1 || view.strides[i] == strides[i]);
  }
  return same;
}

Status check_planned(const char* argument, const ConstTensorView& view, const Dims<4>& shape,
                     const Dims<4>& strides) noexcept {
  if (is_planned(view, shape, strides)) return {};
  const bool same_shape = view.shape == shape;
  const Dims<4>& got = same_shape ? view.strides : view.shape;
  const Dims<4>& planned = same_shape ? strides : shape;
  return fail(StatusCode::shape_mismatch,
              "%s: has %s %lld, %lld, %lld, %lld, the plan was made for %lld, %lld, %lld, %lld",
              argument, same_shape ? "strides" : "shape", ll(got[0]), ll(got[1]), ll(got[2]),
              ll(got[3]), ll(planned[0]), ll(planned[1]), ll(planned[2]), ll(planned[3]));
}

Status check_residual(const Problem& p, const ConstTensorView& residual, const Footprint& to,
                      const Footprint& workspace) noexcept {
  const ConstTensorView& y = *to.view;
  if (residual.shape != y.shape) {
    return fail(StatusCode::shape_mismatch,
                "residual: has shape %lld x %lld x %lld x %lld, y has %lld x %lld x %lld x %lld",
                ll(residual.shape[0]), ll(residual.shape[1]), ll(residual.shape[2]),
                ll(residual.shape[3]), ll(y.shape[0]), ll(y.shape[1]), ll(y.shape[2]),
                ll(y.shape[3]));
  }
  FASTCONV_TRY(check_shape("residual", residual.shape, residual.strides));
  FASTCONV_TRY(check_memory("residual", residual));
  if (residual.data == y.data && is_planned(residual, y.shape, p.y_strides)) return {};
  const Footprint from("residual", residual);
  FASTCONV_TRY(check_disjoint(from, to));
  return check_disjoint(from, workspace);
}

Status check_workspace(const RunOptions& options, std::int64_t bytes) noexcept {
  if (bytes == 0) return {};
  if (options.workspace == nullptr) {
    return fail(StatusCode::workspace_too_small, "workspace: is null, %lld bytes are needed",
                ll(bytes));
  }
  if (options.workspace_bytes < bytes) {
    return fail(StatusCode::workspace_too_small, "workspace: %lld bytes are needed, got %lld",
                ll(bytes), ll(options.workspace_bytes));
  }
  return {};
}

void run_baseline(Algorithm algorithm, const BaselineArguments& arguments,
                  char* workspace) noexcept {
  auto* const matrix = reinterpret_cast<float*>(workspace);
  switch (algorithm) {
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
    default:  // the engine's
      break;
  }
}

}  // namespace

Status Layer::run(const Plan& plan, const ConstTensorView& x, const TensorView& y,
                  const RunOptions& options) const noexcept {
  const PlanState& state = state_of(plan.state_);
  if (packed_ == nullptr) {
    return fail(StatusCode::invalid_argument, "layer: is empty, none has been created");
  }
  if (state.layer_id == 0) {
    return fail(StatusCode::invalid_argument, "plan: is empty, no layer has made it");
  }
  if (state.layer_id != packed_->id) {
    return fail(StatusCode::invalid_argument, "plan: was not made by this layer");
  }
  const Problem& p = state.asked;
  FASTCONV_TRY(check_planned("x", x, {p.n, p.c, p.h, p.w}, p.x_strides));
  FASTCONV_TRY(check_planned("y", y, {p.n, p.k, p.oh, p.ow}, p.y_strides));
  FASTCONV_TRY(check_memory("x", x));
  FASTCONV_TRY(check_memory("y", y));
  const std::int64_t bytes = fastconv::workspace_bytes(state);
  FASTCONV_TRY(check_workspace(options, bytes));
  const ConstTensorView written = y;
  const Footprint from("x", x), to("y", written);
  const Footprint scratch("workspace", options.workspace, bytes);
  FASTCONV_TRY(check_disjoint(from, to));
  FASTCONV_TRY(check_disjoint(from, scratch));
  FASTCONV_TRY(check_disjoint(to, scratch));
  const Dims<4>& added = options.residual.shape;
  if (options.residual.data != nullptr || (added[0] | added[1] | added[2] | added[3]) != 0) {
    FASTCONV_TRY(check_residual(p, options.residual, to, scratch));
  }
  if (p.n == 0) return {};
  const Dims<4> residual_strides = used_strides(options.residual.shape, options.residual.strides);
  char* workspace = align_up(options.workspace);
  const bool flush = packed_->options.flush_denormals;

  if (const Engine* engine = find_engine(state.algorithm)) {
    const float* transformed = winograd_size(state.algorithm) != 0
                                   ? packed_->winograd[state.winograd.variant].weights
                                   : nullptr;
    const Operands operands{state.problem,
                            *packed_->table,
                            x.data + state.x_offset,
                            packed_->weights,
                            packed_->lanes_per_group,
                            packed_->finite,
                            packed_->bias,
                            y.data,
                            options.residual.data,
                            permuted(residual_strides, state.axes),
                            state.epilogue,
                            transformed,
                            packed_->narrow};
    Job job{state, *engine, operands, state.tasks, workspace, flush, {0}, {0}, {0}};
    if (options.parallel_for.run != nullptr && state.slots > 1) {
      options.parallel_for.run(options.parallel_for.context, state.tasks, state.slots, Job::run,
                               &job);
    } else {
      job.tasks = 1;
      Job::run(&job, 0, 0);
    }
    return job.check();
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
  run_baseline(state.algorithm, arguments, workspace);
  return {};
}

Status Layer::run(const ConstTensorView& x, const TensorView& y) const noexcept {
  Plan plan;
  FASTCONV_TRY(this->plan(x, y, plan));
  RunOptions options;
  options.workspace_bytes = plan.workspace_bytes();
  const Allocator& allocator = packed_->options.allocator;
  if (options.workspace_bytes > 0) {
    FASTCONV_TRY(allocate(allocator, "workspace", options.workspace_bytes, options.workspace));
  }
  const Status status = run(plan, x, y, options);
  deallocate(allocator, options.workspace, options.workspace_bytes);
  return status;
}

Status conv2d(const ConstTensorView& x, const ConstTensorView& weights, const float* bias,
              const TensorView& y, Pair stride, Padding padding, Pair dilation, std::int64_t groups,
              PaddingMode padding_mode, const LayerOptions& options) noexcept {
  FASTCONV_TRY(check_shape("x", x.shape, x.strides));
  FASTCONV_TRY(check_shape("weights", weights.shape, weights.strides));
  if (std::int64_t channels = 0;
      groups > 0 && (!multiply(weights.shape[1], groups, channels) || x.shape[1] != channels)) {
    return fail(StatusCode::shape_mismatch,
                "x: has %lld channels, the weights are for %lld in each of %lld groups",
                ll(x.shape[1]), ll(weights.shape[1]), ll(groups));
  }
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
