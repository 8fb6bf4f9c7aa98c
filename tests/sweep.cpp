// SPDX-License-Identifier: Apache-2.0
#include "sweep.hpp"

#include <doctest/doctest.h>

namespace fastconv::testing {
namespace {

// What no level refuses, as the algorithms' docstrings say; of others some may.
bool is_promised(Algorithm algorithm, const Conv2d& conv) {
  const Pair kernel = conv.kernel_size;
  const bool dense = conv.stride.h == 1 && conv.stride.w == 1;
  const auto is = [&](std::int64_t h, std::int64_t w) { return kernel.h == h && kernel.w == w; };
  switch (algorithm) {
    case Algorithm::depthwise:
      return conv.groups == conv.in_channels && conv.groups == conv.out_channels &&
             conv.padding_mode == PaddingMode::zeros;
    case Algorithm::winograd_f2:
      return dense && (is(3, 3) || is(5, 5) || is(1, 5) || is(5, 1));
    case Algorithm::winograd_f4:
      return dense && (is(3, 3) || is(1, 3) || is(3, 1));
    case Algorithm::winograd_f6:
      return dense && is(3, 3);
    default:
      return true;
  }
}

}  // namespace

bool Sweep::covers(Algorithm algorithm, Isa isa) const noexcept {
  return depends_on_isa(algorithm) || (with_baselines_ && isa == Isa::generic);
}

void Sweep::run(const Problem& problem, Layout layout, Fill fill, std::uint64_t seed, bool bias,
                Guard guard, const PostOps& post_ops) {
  if (!takes_next()) return;
  // A name that the driver cannot read reproduces nothing.
  Problem again;
  ParseError error;
  CHECK_MESSAGE((parse_problem(to_string(problem), again, error) && again.oh == problem.oh &&
                 again.ow == problem.ow),
                to_string(problem), ": ", error.reason);
  const Check check(problem, layout, fill, seed, bias, post_ops);
  for (const Isa isa : tested_isas()) {
    for (const Algorithm algorithm : all_algorithms()) {
      if (!covers(algorithm, isa)) continue;
      const Verdict verdict = check.run({algorithm, isa, guard});
      CHECK_MESSAGE(verdict.failure.empty(), verdict.failure);
      if (!verdict.refused) {
        ++runs_[algorithm];
      } else {
        CHECK_MESSAGE(!is_promised(algorithm, problem.conv),
                      "refused: ", check.command({algorithm, isa, guard}));
      }
    }
  }
}

void Sweep::run_both_ways(const Problem& problem, std::uint64_t seed, bool sum) {
  const Guard guard = seed % 2 == 0 ? Guard::after : Guard::before;
  PostOps post_ops;
  post_ops.sum = sum;
  for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
    run(problem, layout, Fill::integers, seed, seed % 3 != 0, guard, post_ops);
  }
}

Sweep::~Sweep() {
  if (runs_.empty()) return;  // a short sweep, none of whose steps was to be taken
  for (const Algorithm algorithm : general_algorithms()) {
    if (!covers(algorithm, tested_isas().front())) continue;
    CHECK_MESSAGE(runs_[algorithm] > 0, std::string(fastconv::name(algorithm)),
                  " ran no problem of this case");
  }
}

std::vector<std::int64_t> tile_sizes() {
  std::vector<std::int64_t> result;
  for (const std::int64_t edge : {1, 4, 6, 8, 14, 16, 24, 32, 48, 49, 64, 96}) {
    for (const std::int64_t size : {edge - 1, edge, edge + 1}) {
      if (size >= 1 && (result.empty() || size > result.back())) result.push_back(size);
    }
  }
  return result;
}

}  // namespace fastconv::testing
