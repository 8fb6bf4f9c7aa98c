// SPDX-License-Identifier: Apache-2.0
#include "accuracy.hpp"

#include <fastconv/version.h>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "compare.hpp"
#include "progress.hpp"
#include "runs.hpp"

namespace fastconv::perf {
namespace {

constexpr double kUnit = 0x1p-24;  // of roundoff
constexpr std::int64_t kChannels[] = {16, 32, 64, 128, 256, 512, 1024, 2048};

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

// One problem and its outputs in double.
struct Sample {
  Sample(std::int64_t channels, Pair kernel, bool rectified, const Options& options)
      : operands(problem_of(channels, kernel), options.layout, testing::Fill::floats, options.seed,
                 false) {
    if (rectified) {
      testing::for_each_index(operands.x.view().shape, [&](const Dims<4>& i) {
        float& value = testing::at(operands.x.view(), i);
        value = std::max(value, 0.0F);
      });
    }
    testing::for_each_index(operands.output_shape(), [&](const Dims<4>& i) {
      exact.push_back(exact_sum(operands, i));
      largest = std::max(largest, std::fabs(exact.back()));
    });
  }

  static testing::Problem problem_of(std::int64_t channels, Pair kernel) {
    Conv2d conv;
    conv.in_channels = channels;
    conv.out_channels = 32;
    conv.kernel_size = kernel;
    return testing::problem_of(conv, 1, 11 + kernel.h, 11 + kernel.w);
  }

  Operands operands;
  std::vector<double> exact;
  double largest = 0.0;
};

// In units of roundoff of `scale`, which has a value for each output.
Status measure_error(const Sample& sample, const LayerOptions& options,
                     const std::vector<double>& scale, Error& error) {
  FastconvRun run(sample.operands);
  Status status = run.create(options);
  if (status.ok()) status = run.run();
  if (!status.ok()) return status;
  std::size_t position = 0;
  double squares = 0.0;
  testing::for_each_index(sample.operands.output_shape(), [&](const Dims<4>& i) {
    const double y = testing::at(run.y().view(), i);
    const double off = std::fabs(y - sample.exact[position]) / (kUnit * scale[position]);
    ++position;
    squares += off * off;
    error.largest = std::max(error.largest, off);
  });
  error.rms = std::sqrt(squares / static_cast<double>(position));
  return {};
}

// What strict promises: one rounding for each step of one chain, gamma(n) = n * u / (1 - n * u).
bool print_bounds(const Options& options, Progress& progress) {
  LayerOptions strict = layer_options(options);
  strict.strict = true;
  std::printf(
      "strict: error of y in units of 2^-24 * sum |x||w|, x and w uniform in [-1, 1)\n\n"
      "| C    | kernel | n = C*R*S | RMS   | max   | bound  |\n"
      "|------|--------|-----------|-------|-------|--------|\n");
  bool good = true;
  for (const std::int64_t kernel : {1, 3}) {
    for (const std::int64_t c : kChannels) {
      progress.show("strict, C = " + std::to_string(c));
      const Sample sample(c, kernel, false, options);
      const Operands& operands = sample.operands;
      const std::vector<double> magnitudes = testing::magnitudes(
          operands.problem.conv, operands.x.view(), operands.weights.view(), nullptr);
      Error error;
      const Status status = measure_error(sample, strict, magnitudes, error);
      progress.clear();
      if (!status.ok()) {
        std::printf("%s\n", status.message());
        return false;
      }
      const auto n = static_cast<double>(operands.problem.taps_per_output());
      const double bound = n / (1.0 - n * kUnit);
      std::printf("| %-4lld | %lldx%lld    | %-9.0f | %-5.3f | %-5.3f | %-6.0f |\n",
                  static_cast<long long>(c), static_cast<long long>(kernel),
                  static_cast<long long>(kernel), n, error.rms, error.largest, bound);
      good = good && error.largest <= bound;
    }
  }
  return good;
}

// Every algorithm beside the others, for x uniform in [-1, 1) and for what ReLU leaves of it.
// Errors of Winograd grow with what is in its tile, not with each output's own products: hence the
// scale.
bool print_algorithms(Pair kernel, const Options& options, Progress& progress) {
  std::vector<Algorithm> algorithms;
  const Sample any(kChannels[0], kernel, false, options);
  for (const Algorithm algorithm : testing::all_algorithms()) {
    LayerOptions named = layer_options(options);
    named.algorithm = algorithm;
    const bool engine = testing::depends_on_isa(algorithm);
    if (engine && FastconvRun(any.operands).create(named).ok()) algorithms.push_back(algorithm);
  }
  std::printf(
      "\nBy algorithm: error of y in units of 2^-24 * the largest |y|, RMS and max, %lldx%lld\n\n"
      "| C    | x       ",
      static_cast<long long>(kernel.h), static_cast<long long>(kernel.w));
  for (const Algorithm algorithm : algorithms) std::printf(" | %-13s", name(algorithm));
  std::printf(" |\n|------|---------");
  for (std::size_t i = 0; i < algorithms.size(); ++i) std::printf("-|--------------");
  std::printf("-|\n");
  for (const bool rectified : {false, true}) {
    for (const std::int64_t c : kChannels) {
      progress.show("C = " + std::to_string(c));
      const Sample sample(c, kernel, rectified, options);
      const std::vector<double> scale(sample.exact.size(), sample.largest);
      std::string line;
      for (const Algorithm algorithm : algorithms) {
        LayerOptions named = layer_options(options);
        named.algorithm = algorithm;
        Error error;
        const Status status = measure_error(sample, named, scale, error);
        if (!status.ok()) {
          progress.clear();
          std::printf("%s: %s\n", name(algorithm), status.message());
          return false;
        }
        char cell[32];
        std::snprintf(cell, sizeof cell, " | %6.2f %6.2f", error.rms, error.largest);
        line += cell;
      }
      progress.clear();
      std::printf("| %-4lld | %-8s%s |\n", static_cast<long long>(c), rectified ? "relu" : "signed",
                  line.c_str());
      std::fflush(stdout);
    }
  }
  return true;
}

}  // namespace

bool print_accuracy(const Options& options) {
  Progress progress(options.quiet);
  std::printf("fastconv %s, %s, %s, against sums in double\n\n", version(), name(options.layout),
              fastconv::name(options.isa));
  bool good = print_bounds(options, progress);
  for (const Pair& kernel : {Pair{3, 3}, Pair{5, 5}, Pair{1, 3}, Pair{1, 5}}) {
    good = print_algorithms(kernel, options, progress) && good;
  }
  return good;
}

}  // namespace fastconv::perf
