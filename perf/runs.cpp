// SPDX-License-Identifier: Apache-2.0
#include "runs.hpp"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <utility>

#include "peak.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace fastconv::perf {
namespace {

using testing::Fill;
using testing::Guard;
using testing::Layout;
using testing::Operand;
using testing::Tensor;

Tensor filled(Layout layout, const Dims<4>& shape, Operand operand, Fill fill, std::uint64_t seed,
              std::int64_t depth) {
  Tensor tensor(layout, shape, Guard::readable);
  testing::fill_operand(tensor.view(), operand, fill, seed, depth);
  return tensor;
}

// A broadcast source has a plain destination.
Tensor destination(const Operands& operands) {
  const Layout dense = operands.layout == Layout::nhwc_broadcast ? Layout::nhwc : Layout::nchw;
  Tensor y(testing::can_be_written(operands.layout) ? operands.layout : dense,
           operands.output_shape(), Guard::readable);
  testing::fill_with(y.view(), 0.0F);  // in memory before it is timed
  return y;
}

}  // namespace

Operands::Operands(const testing::Problem& problem_, Layout layout_, Fill fill, std::uint64_t seed,
                   bool with_bias)
    : problem(problem_),
      layout(layout_),
      has_bias(with_bias),
      x(filled(layout, {problem.mb, problem.conv.in_channels, problem.ih, problem.iw}, Operand::x,
               fill, seed, problem.taps_per_output())),
      weights(filled(Layout::nchw,
                     {problem.conv.out_channels, problem.conv.in_channels / problem.conv.groups,
                      problem.conv.kernel_size.h, problem.conv.kernel_size.w},
                     Operand::weights, fill, seed, problem.taps_per_output())),
      bias(filled(Layout::nchw, {1, problem.conv.out_channels, 1, 1}, Operand::bias, fill, seed,
                  problem.taps_per_output())) {}

Dims<4> Operands::output_shape() const noexcept {
  return {problem.mb, problem.conv.out_channels, problem.oh, problem.ow};
}

std::int64_t Operands::bytes() const noexcept {
  return (problem.x_elements() + problem.weight_elements() + problem.y_elements()) *
         static_cast<std::int64_t>(sizeof(float));
}

FastconvRun::FastconvRun(const Operands& operands)
    : operands_(operands), y_(destination(operands)) {}

Status FastconvRun::create(LayerOptions options, const testing::PostOps& post_ops,
                           ThreadPool* pool) {
  options.epilogue = post_ops.epilogue;
  const Status status =
      planned_.create(operands_.problem.conv, operands_.weights.view(), operands_.bias_data(),
                      options, operands_.x.view(), y_.view(), Guard::readable, pool);
  if (post_ops.sum) planned_.run_options.residual = y_.view();
  return status;
}

Status FastconvRun::run() noexcept { return planned_.run(operands_.x.view(), y_.view()); }

OneDnnRun::OneDnnRun(const Operands& operands) : operands_(operands), y_(destination(operands)) {}

std::string OneDnnRun::create(int threads, const testing::PostOps& post_ops) {
  return convolution_.create(operands_.problem, operands_.layout, operands_.weights.view().data,
                             operands_.bias_data(), threads, post_ops);
}

std::string OneDnnRun::run() noexcept {
  return convolution_.run(operands_.x.view().data, y_.view().data);
}

CopyRun::CopyRun(std::int64_t bytes)
    : source_(bytes / 2, Guard::readable), destination_(bytes / 2, Guard::readable) {
  std::fill_n(source_.floats(), bytes / 8, 1.0F);
  std::fill_n(destination_.floats(), bytes / 8, 0.0F);
}

void CopyRun::run(Isa isa) noexcept {
  copy_floats(isa, source_.floats(), destination_.floats(),
              destination_.bytes() / static_cast<std::int64_t>(sizeof(float)));
}

Candidate candidate(std::string name, FastconvRun& run, Status& status) {
  return {std::move(name), [&run, &status] {
            const Status result = run.run();
            if (!result.ok()) status = result;
          }};
}

namespace {

// QEMU's emulation as it shows itself to a program: on x86 always, on AArch64 with the default CPU.
bool is_emulated() {
#if defined(__x86_64__)
  unsigned a = 0, name[3] = {};
  __cpuid(0x40000000, a, name[0], name[1], name[2]);
  return std::memcmp(name, "TCGTCGTCGTCG", sizeof name) == 0;
#elif defined(__aarch64__) && defined(__linux__)
  if ((getauxval(AT_HWCAP) & HWCAP_CPUID) == 0) return false;
  std::uint64_t id = 0;
  asm("mrs %0, midr_el1" : "=r"(id));
  return id >> 24 == 0;  // no implementer
#else
  return false;
#endif
}

}  // namespace

std::string cpu_name() {
  if (is_emulated()) return "an emulated CPU: timings mean nothing";
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.compare(0, 10, "model name") == 0 && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "unknown CPU";
}

}  // namespace fastconv::perf
