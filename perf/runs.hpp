// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fastconv/layer.hpp>
#include <fastconv/thread_pool.hpp>
#include <string>

#include "check.hpp"
#include "measure.hpp"
#include "onednn.hpp"
#include "post_ops.hpp"
#include "problem.hpp"
#include "tensors.hpp"

// One problem ready to run: everything that is done once is done, so that what is left to be timed
// is the convolution. Functions that return a string give the reason of a failure, or nothing.

namespace fastconv::perf {

// What both sides read. Page-aligned, as large allocations are.
struct Operands {
  Operands(const testing::Problem& problem_, testing::Layout layout_, testing::Fill fill,
           std::uint64_t seed, bool with_bias);

  Dims<4> output_shape() const noexcept;
  std::int64_t bytes() const noexcept;  // of x, weights and y
  const float* bias_data() const noexcept { return has_bias ? bias.view().data : nullptr; }

  testing::Problem problem;
  testing::Layout layout;
  bool has_bias;
  testing::Tensor x;
  testing::Tensor weights;
  testing::Tensor bias;
};

// By this library, with the plan and the workspace kept.
class FastconvRun {
 public:
  explicit FastconvRun(const Operands& operands);

  // The post-ops are the layer's epilogue; with sum every run adds to what y holds. On the threads
  // of `pool`, which must outlive this, or on the calling one.
  Status create(LayerOptions options, const testing::PostOps& post_ops = {},
                ThreadPool* pool = nullptr);
  Status run() noexcept;

  Algorithm algorithm() const noexcept { return planned_.plan.algorithm(); }
  std::string explain() const { return planned_.plan.explain().text; }
  double creation_seconds() const noexcept { return planned_.creation_seconds; }
  const testing::Tensor& y() const noexcept { return y_; }

 private:
  const Operands& operands_;
  testing::Tensor y_;
  testing::PlannedLayer planned_;
};

// By oneDNN.
class OneDnnRun {
 public:
  explicit OneDnnRun(const Operands& operands);

  std::string create(int threads, const testing::PostOps& post_ops = {});
  std::string run() noexcept;

  const std::string& implementation() const noexcept { return convolution_.implementation(); }
  double creation_seconds() const noexcept { return convolution_.creation_seconds(); }
  const testing::Tensor& y() const noexcept { return y_; }

 private:
  const Operands& operands_;
  testing::Tensor y_;
  testing::OneDnn convolution_;
};

// Half of `bytes` read and the other half written with plain loads and stores, as many bytes as a
// convolution reads and writes at least.
class CopyRun {
 public:
  explicit CopyRun(std::int64_t bytes);
  void run(Isa isa) noexcept;

 private:
  testing::GuardedBuffer source_;
  testing::GuardedBuffer destination_;
};

// `run` to be timed. A failure shows in the first call and is kept in `status`.
Candidate candidate(std::string name, FastconvRun& run, Status& status);

// Name of this machine's processor, as the operating system tells it, or that it is an emulated
// one.
std::string cpu_name();

}  // namespace fastconv::perf
