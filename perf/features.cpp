// SPDX-License-Identifier: Apache-2.0
#include "features.hpp"

#include <fastconv/version.h>
#include <cstdio>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "measure.hpp"
#include "progress.hpp"
#include "runs.hpp"

namespace fastconv::perf {
namespace {

using testing::Layout;

// C*R*S = 576.
constexpr const char* kPlain = "mb1ic64ih56oc64oh56kh3ph1";

struct Feature {
  const char* title;
  const char* problem = kPlain;
  const char* post_ops = "";
  std::optional<Layout> nchw = Layout::nchw;
  std::optional<Layout> nhwc = Layout::nhwc;
  PaddingMode mode = PaddingMode::zeros;
};

std::vector<Feature> features() {
  std::vector<Feature> result{
      {"stride 2 along H", "mb1ic64ih112iw56oc64oh56ow56kh3kw3sh2sw1ph1pw1"},
      {"dilation 2", "mb1ic64ih56oc64oh56kh3ph2dh1"},
      {"padding behind alone", "mb1ic64ih56oc64oh56kh3ph0"},
      {"reflect padding", kPlain, "", Layout::nchw, Layout::nhwc, PaddingMode::reflect},
      {"circular padding", kPlain, "", Layout::nchw, Layout::nhwc, PaddingMode::circular},
  };
  for (const char* words :
       {"relu", "clip:0:6", "relu:0.01", "hardsigmoid", "hardswish", "logistic", "swish:1", "tanh",
        "gelu_erf", "gelu_tanh", "sum", "sum+relu", "relu+sum"}) {
    result.push_back({words, kPlain, words});
  }
  const Feature views[] = {
      {"rows and columns of a larger image", kPlain, "", Layout::crop, Layout::nhwc_crop},
      {"channels of a larger tensor", kPlain, "", Layout::channel_slice, Layout::nhwc_slice},
      {"rows longer than the image", kPlain, "", Layout::padded_rows, std::nullopt},
      {"rows, columns and channels backwards", kPlain, "", Layout::flipped, std::nullopt},
      {"images, rows and columns backwards", kPlain, "", std::nullopt, Layout::nhwc_flipped},
      {"every second row and column", kPlain, "", Layout::every_second, std::nullopt},
      {"one image's channel seen as many", kPlain, "", Layout::broadcast, std::nullopt},
  };
  result.insert(result.end(), std::begin(views), std::end(views));
  return result;
}

// Time over the plain layer's, or a reason.
std::string compare(const Feature& feature, Layout plain_layout, Layout layout,
                    const Options& options, double& ratio) {
  testing::Problem plain, problem;
  testing::PostOps post_ops;
  testing::ParseError error;
  if (!testing::parse_problem(kPlain, plain, error) ||
      !testing::parse_problem(feature.problem, problem, error) ||
      (feature.post_ops[0] != '\0' &&
       !testing::parse_post_ops(feature.post_ops, post_ops, error))) {
    return error.reason;
  }
  problem.conv.padding_mode = feature.mode;
  const Operands plain_operands(plain, plain_layout, options.fill, options.seed, options.bias);
  const Operands operands(problem, layout, options.fill, options.seed, options.bias);
  FastconvRun plain_run(plain_operands), run(operands);
  LayerOptions strict = layer_options(options);
  strict.strict = true;  // Winograd takes the plain layer, but not every other
  Status status = plain_run.create(strict);
  if (status.ok()) status = run.create(strict, post_ops);
  if (!status.ok()) return status.message();
  MeasureOptions measure_options;
  measure_options.seconds = options.seconds;
  measure_options.isa = options.isa;
  const Measurement measured =
      measure({candidate("plain", plain_run, status), candidate(feature.title, run, status)},
              measure_options);
  ratio = measured.timings[1].min / measured.timings[0].min;
  return status.ok() ? "" : status.message();
}

}  // namespace

bool print_features(const Options& options) {
  Progress progress(options.quiet);
  bool good = true;
  std::printf("Time over that of the plain layer %s, both strict, %s, fastconv %s\n\n", kPlain,
              cpu_name().c_str(), version());
  std::printf("| %-38s | NCHW | NHWC |\n|%.40s|------|------|\n", "feature",
              "----------------------------------------");
  for (const Feature& feature : features()) {
    std::string cells;
    std::string failures;
    for (const bool nhwc : {false, true}) {
      const std::optional<Layout> layout = nhwc ? feature.nhwc : feature.nchw;
      char cell[16] = "      |";
      if (layout) {
        progress.show(feature.title);
        double ratio = 0.0;
        const std::string failure =
            compare(feature, nhwc ? Layout::nhwc : Layout::nchw, *layout, options, ratio);
        if (failure.empty()) std::snprintf(cell, sizeof cell, " %4.2f |", ratio);
        if (!failure.empty()) failures += "    " + failure + "\n";
      }
      cells += cell;
    }
    progress.clear();
    std::printf("| %-38s |%s\n%s", feature.title, cells.c_str(), failures.c_str());
    std::fflush(stdout);
    good = good && failures.empty();
  }
  return good;
}

}  // namespace fastconv::perf
