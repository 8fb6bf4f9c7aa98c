// SPDX-License-Identifier: Apache-2.0
#include "accuracy.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fastconv/version.hpp>
#include <vector>

#include "compare.hpp"
#include "progress.hpp"
#include "runs.hpp"

namespace fastconv::perf {
namespace {

struct Error {
  double rms = 0.0;
  double largest = 0.0;
};

// The formula of descriptor.hpp for a convolution without padding, in double.
double exact_sum(const Operands& operands, const Dims<4>& i) {
  const ConstTensorView x = operands.x.view(), weights = operands.weights.view();
  double sum = 0.0;
  testing::for_each_index(
      {1, weights.shape[1], weights.shape[2], weights.shape[3]}, [&](const Dims<4>& tap) {
        const float value = testing::at(x, {i[0], tap[1], i[2] + tap[2], i[3] + tap[3]});
        const float weight = testing::at(weights, {i[1], tap[1], tap[2], tap[3]});
        sum += static_cast<double>(value) * static_cast<double>(weight);
      });
  return sum;
}

Status measure_error(const testing::Problem& problem, const Options& options, Error& error) {
  const Operands operands(problem, options.layout, testing::Fill::floats, options.seed, false);
  FastconvRun run(operands);
  Status status = run.create(layer_options(options));
  if (status.ok()) status = run.run();
  if (!status.ok()) return status;
  const std::vector<double> magnitudes =
      testing::magnitudes(problem.conv, operands.x.view(), operands.weights.view(), nullptr);
  std::size_t position = 0;
  double squares = 0.0;
  testing::for_each_index(operands.output_shape(), [&](const Dims<4>& i) {
    const double off =
        std::fabs(static_cast<double>(testing::at(run.y().view(), i)) - exact_sum(operands, i)) /
        (0x1p-24 * magnitudes[position++]);
    squares += off * off;
    error.largest = std::max(error.largest, off);
  });
  error.rms = std::sqrt(squares / static_cast<double>(position));
  return {};
}

}  // namespace

bool print_accuracy(const Options& options) {
  Progress progress(options.quiet);
  bool good = true;
  std::printf(
      "Error of y in units of 2^-24 * sum |x||w|, x and w uniform in [-1, 1): %s, %s, %s, "
      "fastconv %s\n\n",
      name(options.layout), fastconv::name(options.algorithm), fastconv::name(options.isa),
      version());
  std::printf(
      "| C    | kernel | n = C*R*S | RMS   | max   | bound  |\n"
      "|------|--------|-----------|-------|-------|--------|\n");
  for (const std::int64_t kernel : {1, 3}) {
    for (std::int64_t c = 16; c <= 2048; c *= 2) {
      testing::Problem problem;
      problem.mb = 1;
      problem.conv.in_channels = c;
      problem.conv.out_channels = 32;
      problem.conv.kernel_size = kernel;
      problem.oh = problem.ow = 8;
      problem.ih = problem.iw = 7 + kernel;
      progress.show(testing::to_string(problem));
      Error error;
      const Status status = measure_error(problem, options, error);
      progress.clear();
      if (!status.ok()) {
        std::printf("%s\n", status.message());
        return false;
      }
      // One rounding for each step of one chain: gamma(n) = n * u / (1 - n * u), u = 2^-24.
      const auto n = static_cast<double>(problem.taps_per_output());
      const double bound = n / (1.0 - n * 0x1p-24);
      std::printf("| %-4lld | %lldx%lld    | %-9lld | %-5.3f | %-5.3f | %-6.0f |\n",
                  static_cast<long long>(c), static_cast<long long>(kernel),
                  static_cast<long long>(kernel), static_cast<long long>(c * kernel * kernel),
                  error.rms, error.largest, bound);
      good = good && error.largest <= bound;
    }
  }
  return good;
}

}  // namespace fastconv::perf
