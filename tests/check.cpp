// SPDX-License-Identifier: Apache-2.0
#include "check.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "compare.hpp"
#include "onednn.hpp"

namespace fastconv::testing {
namespace {

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

Tensor filled(Layout layout, const Dims<4>& shape, Fill fill, std::uint64_t seed,
              std::int64_t depth) {
  Tensor tensor(layout, shape);
  if (fill == Fill::integers) {
    fill_integers(tensor.view(), seed, integer_limit(depth));
  } else {
    fill_floats(tensor.view(), seed);
  }
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

const char* name(Fill fill) noexcept { return fill == Fill::integers ? "integers" : "floats"; }

bool parse_fill(const char* text, Fill& fill) noexcept {
  for (const Fill candidate : {Fill::integers, Fill::floats}) {
    if (std::strcmp(name(candidate), text) == 0) {
      fill = candidate;
      return true;
    }
  }
  return false;
}

std::vector<Algorithm> all_algorithms() { return named_values<Algorithm>(); }

std::vector<Algorithm> general_algorithms() {
  std::vector<Algorithm> result = all_algorithms();
  result.erase(std::remove(result.begin(), result.end(), Algorithm::depthwise), result.end());
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

Check::Check(const Problem& problem, Layout layout, Fill fill, std::uint64_t seed, bool bias)
    : problem_(problem),
      layout_(layout),
      fill_(fill),
      seed_(seed),
      has_bias_(bias),
      x_(filled(layout, {problem.mb, problem.conv.in_channels, problem.ih, problem.iw}, fill,
                3 * seed, problem.taps_per_output())),
      weights_(filled(Layout::nchw,
                      {problem.conv.out_channels, problem.conv.in_channels / problem.conv.groups,
                       problem.conv.kernel_size.h, problem.conv.kernel_size.w},
                      fill, 3 * seed + 1, problem.taps_per_output())),
      bias_(filled(Layout::nchw, {1, problem.conv.out_channels, 1, 1}, fill, 3 * seed + 2,
                   problem.taps_per_output())),
      expected_(Layout::nchw, {problem.mb, problem.conv.out_channels, problem.oh, problem.ow}) {
  // oneDNN is given the padding spelled out: it knows zeros only and may have limits of its own.
  const Padding& padding = problem.conv.padding;
  const Tensor padded = padded_copy(x_.view(), padding, problem.conv.padding_mode);
  Problem unpadded = problem;
  unpadded.conv.padding = 0;
  unpadded.conv.padding_mode = PaddingMode::zeros;
  unpadded.ih += padding.top + padding.bottom;
  unpadded.iw += padding.left + padding.right;
  const float* b = has_bias_ ? bias_.view().data : nullptr;
  oracle_failure_ = onednn_conv2d(unpadded, Layout::nchw, padded.view().data, weights_.view().data,
                                  b, expected_.view().data);
  if (fill == Fill::floats) {
    bounds_ = error_bounds(unpadded.conv, padded.view(), weights_.view(), b);
  }
}

std::string Check::difference(const ConstTensorView& y) const {
  const Difference found = fill_ == Fill::integers ? compare_exact(y, expected_.view())
                                                   : compare_within(y, expected_.view(), bounds_);
  return found.none() ? std::string() : found.text();
}

Verdict Check::run(const Run& run) const {
  Verdict verdict;
  const auto fail = [&](const std::string& reason) {
    verdict.failure = reason + "\n  " + command(run);
    return verdict;
  };
  if (!oracle_failure_.empty()) return fail("oneDNN: " + oracle_failure_);
  const Tensor x = moved(x_, run.guard);
  const Tensor weights = moved(weights_, run.guard);
  const Tensor bias = moved(bias_, run.guard);
  const Layout dense = layout_ == Layout::nhwc_broadcast ? Layout::nhwc : Layout::nchw;
  const Tensor y(can_be_written(layout_) ? layout_ : dense, expected_.view().shape, run.guard);

  LayerOptions options;
  options.algorithm = run.algorithm;
  options.isa = run.isa;
  Layer layer;
  Plan plan;
  Status status = Layer::create(problem_.conv, weights.view(),
                                has_bias_ ? bias.view().data : nullptr, options, layer);
  if (status.ok()) status = layer.plan(x.view(), y.view(), plan);
  if (status.code() == StatusCode::unsupported) {
    verdict.refused = true;
    return verdict;
  }
  if (!status.ok()) return fail(status.message());
  const GuardedBuffer workspace(plan.workspace_bytes(), run.guard);
  status = layer.run(plan, x.bounded(), y.bounded(), {workspace.data(), workspace.bytes()});
  if (!status.ok()) return fail(status.message());

  const std::string wrong = difference(y.view());
  if (!wrong.empty()) return fail(wrong);
  if (!y.gaps_are_untouched()) return fail("wrote between the elements of y");
  if (!x.gaps_are_untouched() || !compare_bits(x.view(), x_.view()).none()) {
    return fail("wrote to x");
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
  if (!has_bias_) text += " --no-bias";
  return text + " '" + to_string(problem_) + "'";
}

}  // namespace fastconv::testing
