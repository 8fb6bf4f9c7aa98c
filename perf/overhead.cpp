// SPDX-License-Identifier: Apache-2.0
#include "overhead.hpp"

#include <fastconv/version.h>
#include <cstdio>

#include "measure.hpp"
#include "runs.hpp"

namespace fastconv::perf {
namespace {

constexpr const char* kTiny[] = {"mb1ic1ih1oc1oh1kh1ph0",   "mb1ic1ih8oc1oh6kh3ph0",
                                 "mb1ic1ih8oc1oh8kh3ph1",   "mb1ic3ih8oc3oh8kh3ph1",
                                 "mb1ic16ih4oc16oh4kh1ph0", "mb1_g16ic16ih4oc16oh4kh3ph1"};

}  // namespace

bool print_overhead(const Options& options) {
  std::printf("Nanoseconds of one run with plan and workspace ready, %s, fastconv %s\n",
              cpu_name().c_str(), version());
  std::printf("FLOP: at the FMA peak. Copy: as many bytes as x, weights and y have.\n\n");
  std::printf("%-28s %-6s %8s %8s %8s %10s\n", "problem", "layout", "run", "FLOP", "copy",
              "overhead");
  for (const char* const text : kTiny) {
    testing::Problem problem;
    testing::ParseError error;
    if (!testing::parse_problem(text, problem, error)) return false;
    for (const testing::Layout layout : {testing::Layout::nchw, testing::Layout::nhwc}) {
      const Operands operands(problem, layout, options.fill, options.seed, options.bias);
      FastconvRun run(operands);
      CopyRun copy(operands.bytes());
      Status status = run.create(layer_options(options));
      if (status.ok()) status = run.run();
      if (!status.ok()) {
        std::printf("%s\n", status.message());
        return false;
      }
      MeasureOptions measuring;
      measuring.seconds = options.seconds;
      measuring.isa = options.isa;
      const Measurement measured = measure(
          {candidate("run", run, status), {"copy", [&] { copy.run(options.isa); }}}, measuring);
      const double flop = problem.flop() / measured.peak_gflops;
      const double took = measured.timings[0].min * 1e9;
      std::printf("%-28s %-6s %8.1f %8.1f %8.1f %10.1f\n", text, name(layout), took, flop,
                  measured.timings[1].min * 1e9, took - flop);
    }
  }
  return true;
}

}  // namespace fastconv::perf
