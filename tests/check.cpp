// SPDX-License-Identifier: Apache-2.0
#include "check.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fastconv/thread_pool.hpp>
#include <memory>
#include <random>

#include "compare.hpp"
#include "onednn.hpp"
#include "winograd.hpp"

namespace fastconv::testing {
namespace {

// What oneDNN's polynomials are off by at most, as measured over the suites.
constexpr double kPeerActivationError = 2e-6;

// Values from 0 up for as long as the library has a name for them.
template <class Enum>
std::vector<Enum> named_values() {
  std::vector<Enum> values;
  const char* unknown = fastconv::name(static_cast<Enum>(-1));
  for (int i = 0; std::strcmp(fastconv::name(static_cast<Enum>(i)), unknown) != 0; ++i) {
    values.push_back(static_cast<Enum>(i));
  }
  return values;
}

Tensor filled(Layout layout, const Dims<4>& shape, Operand operand, Fill fill, std::uint64_t seed,
              std::int64_t depth) {
  Tensor tensor(layout, shape);
  fill_operand(tensor.view(), operand, fill, seed, depth);
  return tensor;
}

// The same elements and strides at the other end of their pages.
Tensor moved(const Tensor& tensor, Guard guard) {
  Tensor result(tensor.view().shape, tensor.view().strides, guard);
  copy(tensor.view(), result.view());
  return result;
}

}  // namespace

std::string text(const Status& status) {
  return std::string(fastconv::name(status.code())) + ": " + status.message();
}

const char* name(Fill fill) noexcept {
  switch (fill) {
    case Fill::integers:
      return "integers";
    case Fill::floats:
      return "floats";
    case Fill::denormals:
      break;
  }
  return "denormals";
}

bool parse_fill(const char* text, Fill& fill) noexcept {
  for (const Fill candidate : {Fill::integers, Fill::floats, Fill::denormals}) {
    if (std::strcmp(name(candidate), text) == 0) {
      fill = candidate;
      return true;
    }
  }
  return false;
}

void fill_operand(const TensorView& view, Operand operand, Fill fill, std::uint64_t seed,
                  std::int64_t taps_per_output) noexcept {
  const std::uint64_t own_seed =
      operand == Operand::y ? ~seed : 3 * seed + static_cast<std::uint64_t>(operand);
  if (fill == Fill::integers) {
    fill_integers(view, own_seed, integer_limit(taps_per_output));
    return;
  }
  fill_floats(view, own_seed);
  if (fill == Fill::denormals && operand == Operand::weights) {
    for_each_index(view.shape, [&](const Dims<4>& i) { at(view, i) *= 0x1p-126F; });
  }
}

std::vector<Algorithm> all_algorithms() { return named_values<Algorithm>(); }

std::vector<Algorithm> general_algorithms() {
  std::vector<Algorithm> result = all_algorithms();
  const auto is_special = [](Algorithm algorithm) {
    return algorithm == Algorithm::depthwise || winograd_size(algorithm) != 0;
  };
  result.erase(std::remove_if(result.begin(), result.end(), is_special), result.end());
  return result;
}

std::vector<Isa> all_isas() {
  std::vector<Isa> isas = named_values<Isa>();
  isas.erase(isas.begin());
  return isas;
}

std::vector<Isa> tested_isas() {
  const char* only = std::getenv("FASTCONV_TEST_ISA");
  std::vector<Isa> isas;
  for (const Isa isa : all_isas()) {
    if (is_supported(isa) && (only == nullptr || std::strcmp(only, fastconv::name(isa)) == 0)) {
      isas.push_back(isa);
    }
  }
  return isas;
}

int sweep_step() {
  static const char* const text = std::getenv("FASTCONV_TEST_EVERY");
  return text != nullptr ? std::max(1, std::atoi(text)) : 1;
}

bool takes_next() {
  static std::mt19937 draw(1);
  return draw() % static_cast<unsigned>(sweep_step()) == 0;
}

bool depends_on_isa(Algorithm algorithm) noexcept {
  switch (algorithm) {
    case Algorithm::naive:
    case Algorithm::im2col:
    case Algorithm::strided_im2col:
    case Algorithm::strided:
      return false;
    default:
      return true;
  }
}

Conv2d conv_of(std::int64_t in, std::int64_t out, Pair kernel, const Padding& padding,
               std::int64_t groups) {
  Conv2d conv;
  conv.in_channels = in;
  conv.out_channels = out;
  conv.groups = groups;
  conv.kernel_size = kernel;
  conv.padding = padding;
  return conv;
}

Problem problem_of(const Conv2d& conv, std::int64_t mb, std::int64_t ih, std::int64_t iw) {
  Problem problem;
  Pair output;
  if (output_size(conv.window(), ih, iw, output).ok()) {
    problem.oh = output.h;
    problem.ow = output.w;
  }
  problem.conv = conv;
  problem.mb = mb;
  problem.ih = ih;
  problem.iw = iw;
  return problem;
}

Status PlannedLayer::create(const Conv2d& conv, const ConstTensorView& weights, const float* bias,
                            const LayerOptions& options, const ConstTensorView& x,
                            const TensorView& y, Guard guard, ThreadPool* pool) {
  const auto start = std::chrono::steady_clock::now();
  Status status = Layer::create(conv, weights, bias, options, layer);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  creation_seconds = seconds.count();
  if (status.ok()) status = layer.plan(x, y, plan, pool != nullptr ? pool->threads() : 1);
  if (!status.ok()) return status;
  workspace = GuardedBuffer(plan.workspace_bytes(), guard);
  run_options.workspace = workspace.data();
  run_options.workspace_bytes = workspace.bytes();
  if (pool != nullptr) run_options.parallel_for = pool->parallel_for();
  return {};
}

Check::Check(const Problem& problem, Layout layout, Fill fill, std::uint64_t seed, bool bias,
             const PostOps& post_ops)
    : problem_(problem),
      layout_(layout),
      fill_(fill),
      seed_(seed),
      has_bias_(bias),
      post_ops_(post_ops),
      x_(filled(layout, {problem.mb, problem.conv.in_channels, problem.ih, problem.iw}, Operand::x,
                fill, seed, problem.taps_per_output())),
      weights_(filled(Layout::nchw,
                      {problem.conv.out_channels, problem.conv.in_channels / problem.conv.groups,
                       problem.conv.kernel_size.h, problem.conv.kernel_size.w},
                      Operand::weights, fill, seed, problem.taps_per_output())),
      bias_(filled(Layout::nchw, {1, problem.conv.out_channels, 1, 1}, Operand::bias, fill, seed,
                   problem.taps_per_output())),
      before_(filled(Layout::nchw, {problem.mb, problem.conv.out_channels, problem.oh, problem.ow},
                     Operand::y, fill, seed, problem.taps_per_output())),
      expected_(Layout::nchw, before_.view().shape),
      unpadded_(problem),
      padded_(padded_copy(x_.view(), problem.conv.padding, problem.conv.padding_mode)) {
  // oneDNN is given the padding spelled out: it knows zeros only and may have limits of its own.
  unpadded_.conv.padding = 0;
  unpadded_.conv.padding_mode = PaddingMode::zeros;
  unpadded_.ih = padded_.view().shape[2];
  unpadded_.iw = padded_.view().shape[3];
  const float* b = has_bias_ ? bias_.view().data : nullptr;
  if (post_ops.sum) copy(before_.view(), expected_.view());
  oracle_failure_ = onednn_conv2d(unpadded_, Layout::nchw, padded_.view().data,
                                  weights_.view().data, b, expected_.view().data, post_ops);
  if (fill != Fill::integers || !post_ops.exact()) {
    magnitudes_ = magnitudes(unpadded_.conv, padded_.view(), weights_.view(), b);
  }
}

const Check::Sources& Check::sources(Guard guard) const {
  std::unique_ptr<const Sources>& made = sources_[static_cast<int>(guard)];
  if (made == nullptr) {
    made.reset(new Sources{moved(x_, guard), moved(weights_, guard), moved(bias_, guard)});
  }
  return *made;
}

std::string Check::difference(const ConstTensorView& y, Algorithm algorithm,
                              bool flush_denormals) const {
  const int m = winograd_size(algorithm);
  // F(2 x 2, 3 x 3) multiplies by halves and quarters: integers stay exact.
  if (magnitudes_.empty() &&
      (m == 0 || (m == 2 && problem_.conv.kernel_size.h * problem_.conv.kernel_size.w == 9))) {
    const Difference found = compare_exact(y, expected_.view());
    return found.none() ? std::string() : found.text();
  }
  // Two sums, then two activations, whose slope is at most 1.5 or the slope of leaky ReLU, each off
  // by a few units of what it is applied to. oneDNN's are off by more than ours.
  const double gamma = gamma_of(problem_.conv);
  const double slope = std::max(1.5, std::fabs(static_cast<double>(post_ops_.epilogue.alpha)));
  std::vector<double> bounds, of_denormals;
  std::vector<double>& of_winograd = winograd_bounds_[m];
  if (m != 0 && of_winograd.empty()) {
    of_winograd = winograd_error_bounds(unpadded_.conv, padded_.view(), weights_.view(), m);
  }
  if (m != 0 && fill_ == Fill::denormals) {
    // Every transformed weight may be off by some of the last place of a denormal.
    const Tensor last(Layout::nchw, weights_.view().shape);
    fill_with(last.view(), flush_denormals ? 0x1p-102F : 0x1p-124F);
    of_denormals = winograd_error_bounds(unpadded_.conv, padded_.view(), last.view(), m);
  }
  std::size_t position = 0;
  for_each_index(expected_.view().shape, [&](const Dims<4>& i) {
    const double extra = (of_winograd.empty() ? 0.0 : of_winograd[position]) +
                         (of_denormals.empty() ? 0.0 : of_denormals[position]);
    const double magnitude = magnitudes_.empty() ? 0.0 : magnitudes_[position];
    ++position;
    const double residual =
        post_ops_.sum ? std::fabs(static_cast<double>(at(before_.view(), i))) : 0.0;
    double bound = 2.0 * gamma * magnitude + extra;
    if (!post_ops_.none()) {
      bound = slope * (bound + 8 * 0x1p-24 * (magnitude + residual));
      if (!post_ops_.exact()) bound += kPeerActivationError;
    }
    if (fill_ == Fill::denormals) {
      bound += static_cast<double>(problem_.taps_per_output()) * 0x1p-149;
      if (flush_denormals) {
        bound += static_cast<double>(problem_.taps_per_output()) * 0x1p-126;
      }
    }
    bounds.push_back(bound);
  });
  const Difference found = compare_within(y, expected_.view(), bounds);
  return found.none() ? std::string() : found.text();
}

Verdict Check::run(const Run& run) const {
  Verdict verdict;
  const auto fail = [&](const std::string& reason) {
    verdict.failure = reason + "\n  " + command(run);
    return verdict;
  };
  if (!oracle_failure_.empty()) return fail("oneDNN: " + oracle_failure_);
  const auto& [x, weights, bias] = sources(run.guard);
  const Layout dense = layout_ == Layout::nhwc_broadcast ? Layout::nhwc : Layout::nchw;
  const Tensor y(can_be_written(layout_) ? layout_ : dense, expected_.view().shape, run.guard);

  LayerOptions options;
  options.algorithm = run.algorithm;
  options.isa = run.isa;
  options.epilogue = post_ops_.epilogue;
  options.flush_denormals = run.flush_denormals;
  std::unique_ptr<ThreadPool> pool;
  if (run.threads > 1) pool = std::make_unique<ThreadPool>(run.threads);
  PlannedLayer planned;
  Status status =
      planned.create(problem_.conv, weights.view(), has_bias_ ? bias.view().data : nullptr, options,
                     x.view(), y.view(), run.guard, pool.get());
  if (status.code() == StatusCode::unsupported) {
    verdict.refused = true;
    return verdict;
  }
  if (!status.ok()) return fail(status.message());
  if (post_ops_.sum) {
    copy(before_.view(), y.view());
    planned.run_options.residual = y.bounded();
  }
  status = planned.run(x.bounded(), y.bounded());
  if (!status.ok()) return fail(status.message());

  const std::string wrong = difference(y.view(), planned.plan.algorithm(), run.flush_denormals);
  if (!wrong.empty()) return fail(wrong);
  if (!y.gaps_are_untouched()) return fail("wrote between the elements of y");
  if (!x.is_copy_of(x_)) return fail("wrote to x");
  if (!weights.is_copy_of(weights_) || !bias.is_copy_of(bias_)) {
    return fail("wrote to the weights or the bias");
  }
  return verdict;
}

std::string Check::command(const Run& run) const {
  std::string text = std::string("fastconv_perf --check --layout=") + name(layout_) +
                     " --isa=" + fastconv::name(run.isa) +
                     " --algo=" + fastconv::name(run.algorithm) + " --fill=" + name(fill_) +
                     " --seed=" + std::to_string(seed_);
  if (problem_.conv.padding_mode != PaddingMode::zeros) {
    text += std::string(" --padding-mode=") + fastconv::name(problem_.conv.padding_mode);
  }
  if (!post_ops_.none()) text += " --attr-post-ops=" + to_string(post_ops_);
  if (run.threads > 1) text += " --threads=" + std::to_string(run.threads);
  if (run.flush_denormals) text += " --flush-denormals";
  if (!has_bias_) text += " --no-bias";
  return text + " '" + to_string(problem_) + "'";
}

}  // namespace fastconv::testing
