// SPDX-License-Identifier: Apache-2.0
#include <fastconv/layer.hpp>

#include <atomic>
#include <cstdlib>
#include <new>
#include <type_traits>
#include <utility>

#include "../kernels/baselines.hpp"
#include "../kernels/table.hpp"
#include "error.hpp"
#include "gemm.hpp"
#include "names.hpp"
#include "plan.hpp"
#include "views.hpp"
#include "weights.hpp"

namespace fastconv {
namespace {

constexpr Named<Algorithm> kNames[] = {
    {Algorithm::automatic, "auto"},  {Algorithm::naive, "naive"},
    {Algorithm::im2col, "im2col"},   {Algorithm::strided_im2col, "strided_im2col"},
    {Algorithm::strided, "strided"}, {Algorithm::gemm, "gemm"},
};

constexpr std::int64_t kAlignment = 64;

std::int64_t align_up(std::int64_t bytes) noexcept {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

void* align_up(void* pointer) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  return static_cast<char*>(pointer) + (kAlignment - address % kAlignment) % kAlignment;
}

}  // namespace

const char* name(Algorithm algorithm) noexcept { return find_name(kNames, algorithm); }

Status parse_algorithm(const char* text, Algorithm& algorithm) noexcept {
  return find_value(kNames, "algorithm", text, algorithm);
}

// Lives at the start of one allocation; the arrays follow it.
struct Layer::Packed {
  std::uint64_t id;  // no other layer of this process ever has it
  Conv2d descriptor;
  Algorithm algorithm;
  bool chosen;
  const KernelTable* table;
  float* weights;  // panels for gemm, dense for the baselines
  float* bias;     // null if the layer has none; padded like the panels
};

Layer::~Layer() { std::free(packed_); }

Layer::Layer(Layer&& other) noexcept : packed_(std::exchange(other.packed_, nullptr)) {}

Layer& Layer::operator=(Layer&& other) noexcept {
  std::swap(packed_, other.packed_);
  return *this;
}

Status Layer::create(const Conv2d& descriptor, const ConstTensorView& weights, const float* bias,
                     const LayerOptions& options, Layer& layer) noexcept {
  FASTCONV_TRY(check_descriptor(descriptor));
  Isa isa{};
  FASTCONV_TRY(resolve_isa(options.isa, isa));
  if (name(options.algorithm) == name(static_cast<Algorithm>(-1))) {
    return fail(StatusCode::invalid_argument, "algorithm: %d is no algorithm",
                static_cast<int>(options.algorithm));
  }
  const Dims<4> shape{descriptor.out_channels, descriptor.in_channels / descriptor.groups,
                      descriptor.kernel_size.h, descriptor.kernel_size.w};
  if (weights.shape != shape) {
    return fail(StatusCode::shape_mismatch,
                "weights: have shape %lld x %lld x %lld x %lld, the descriptor asks for %lld x "
                "%lld x %lld x %lld (out_channels, in_channels / groups, kernel_size)",
                ll(weights.shape[0]), ll(weights.shape[1]), ll(weights.shape[2]),
                ll(weights.shape[3]), ll(shape[0]), ll(shape[1]), ll(shape[2]), ll(shape[3]));
  }
  FASTCONV_TRY(check_shape("weights", weights.shape, weights.strides));
  FASTCONV_TRY(check_memory("weights", weights));

  const Algorithm algorithm =
      options.algorithm == Algorithm::automatic ? Algorithm::gemm : options.algorithm;
  const KernelTable* table = kernel_table(isa);
  const int lanes = algorithm == Algorithm::gemm ? table->nr() : 1;
  std::int64_t elements = 0;
  std::int64_t bytes = 0;
  if (!panel_elements(shape, descriptor.groups, lanes, elements) ||
      !multiply(elements, 2 * static_cast<std::int64_t>(sizeof(float)), bytes)) {
    return fail(StatusCode::overflow, "weights: %lld x %lld x %lld x %lld exceed 64 bits",
                ll(shape[0]), ll(shape[1]), ll(shape[2]), ll(shape[3]));
  }
  const auto float_bytes = static_cast<std::int64_t>(sizeof(float));
  const std::int64_t group_lanes =
      (shape[0] / descriptor.groups + lanes - 1) / lanes * lanes;  // of one group, padded
  const std::int64_t header = align_up(static_cast<std::int64_t>(sizeof(Packed)));
  const std::int64_t weight_bytes = align_up(elements * float_bytes);
  const std::int64_t bias_bytes =
      bias != nullptr ? align_up(descriptor.groups * group_lanes * float_bytes) : 0;
  bytes = header + weight_bytes + bias_bytes;
  void* memory = std::aligned_alloc(kAlignment, static_cast<std::size_t>(bytes));
  if (memory == nullptr) {
    return fail(StatusCode::out_of_memory, "layer: cannot allocate %lld bytes for the weights",
                ll(bytes));
  }
  static std::atomic<std::uint64_t> last_id{0};
  auto* packed = new (memory) Packed{};
  packed->id = ++last_id;
  packed->descriptor = descriptor;
  packed->chosen = options.algorithm == Algorithm::automatic;
  packed->algorithm = algorithm;
  packed->table = table;
  packed->weights = reinterpret_cast<float*>(static_cast<char*>(memory) + header);
  ConstTensorView source = weights;
  source.strides = used_strides(weights.shape, weights.strides);
  if (algorithm == Algorithm::gemm) {
    pack_panels(source, descriptor.groups, lanes, packed->weights);
  } else {
    pack_dense(source, packed->weights);
  }
  if (bias != nullptr) {
    packed->bias = reinterpret_cast<float*>(static_cast<char*>(memory) + header + weight_bytes);
    const std::int64_t per_group = shape[0] / descriptor.groups;
    for (std::int64_t group = 0; group < descriptor.groups; ++group) {
      for (std::int64_t k = 0; k < group_lanes; ++k) {
        packed->bias[group * group_lanes + k] = k < per_group ? bias[group * per_group + k] : 0.0F;
      }
    }
  }
  std::free(layer.packed_);
  layer.packed_ = packed;
  return {};
}

static_assert(sizeof(PlanState) <= sizeof(Plan) && std::is_trivially_copyable_v<PlanState> &&
                  std::is_trivially_destructible_v<PlanState>,
              "a PlanState lives in a Plan's bytes");

namespace {

const PlanState& state_of(const unsigned char* bytes) noexcept {
  return *std::launder(reinterpret_cast<const PlanState*>(bytes));
}

}  // namespace

std::int64_t Plan::workspace_bytes() const noexcept { return state_of(state_).workspace_bytes; }

Explanation Plan::explain() const noexcept { return fastconv::explain(state_of(state_)); }

Status Layer::plan(const ConstTensorView& x, const TensorView& y, Plan& plan) const noexcept {
  if (packed_ == nullptr) {
    return fail(StatusCode::invalid_argument, "layer: is empty; Layer::create makes one");
  }
  PlanState state;
  FASTCONV_TRY(make_problem(packed_->descriptor, x, y, state.problem));
  FASTCONV_TRY(check_no_self_overlap("y", y));
  state.layer_id = packed_->id;
  state.algorithm = packed_->algorithm;
  state.chosen = packed_->chosen;
  state.isa = packed_->table->isa;
  if (state.algorithm == Algorithm::gemm) {
    const KernelTable& table = *packed_->table;
    state.tile = {table.width, table.nr(), table.max_rows};
    state.blocking = choose_blocking(state.problem, state.tile, detected_caches());
    state.workspace_bytes =
        gemm_workspace_bytes(state.problem, state.blocking, table.nr()) + kAlignment;
  } else if (state.algorithm == Algorithm::im2col || state.algorithm == Algorithm::strided_im2col) {
    state.workspace_bytes = im2col_bytes(state.problem) + kAlignment;
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
  if (x.shape != Dims<4>{p.n, p.c, p.h, p.w} || used_strides(x.shape, x.strides) != p.x_strides) {
    return fail(StatusCode::shape_mismatch, "x: shape or strides differ from the plan's");
  }
  if (y.shape != Dims<4>{p.n, p.k, p.oh, p.ow} || used_strides(y.shape, y.strides) != p.y_strides) {
    return fail(StatusCode::shape_mismatch, "y: shape or strides differ from the plan's");
  }
  FASTCONV_TRY(check_memory("x", x));
  FASTCONV_TRY(check_memory("y", y));
  FASTCONV_TRY(check_disjoint("x", x, "y", y));
  if (state.workspace_bytes > 0 &&
      (options.workspace == nullptr || options.workspace_bytes < state.workspace_bytes)) {
    return fail(StatusCode::workspace_too_small, "workspace: %lld bytes are needed, got %lld",
                ll(state.workspace_bytes),
                ll(options.workspace == nullptr ? 0 : options.workspace_bytes));
  }
  const BaselineArguments arguments{p, x.data, packed_->weights, packed_->bias, y.data};
  void* workspace = align_up(options.workspace);
  auto* matrix = static_cast<float*>(workspace);
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
    case Algorithm::gemm:
      gemm({p, state.blocking, *packed_->table, x.data, packed_->weights, packed_->bias, y.data,
            workspace});
      break;
    case Algorithm::automatic:  // create has resolved it
      break;
  }
  return {};
}

Status Layer::run(const ConstTensorView& x, const TensorView& y) const noexcept {
  Plan plan;
  FASTCONV_TRY(this->plan(x, y, plan));
  RunOptions options;
  options.workspace_bytes = plan.workspace_bytes();
  if (options.workspace_bytes > 0) {
    options.workspace = std::malloc(static_cast<std::size_t>(options.workspace_bytes));
    if (options.workspace == nullptr) {
      return fail(StatusCode::out_of_memory, "workspace: cannot allocate %lld bytes",
                  ll(options.workspace_bytes));
    }
  }
  const Status status = run(plan, x, y, options);
  std::free(options.workspace);
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
