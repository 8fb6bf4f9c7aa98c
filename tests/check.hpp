// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fastconv/layer.hpp>
#include <memory>
#include <string>
#include <vector>

#include "post_ops.hpp"
#include "problem.hpp"
#include "tensors.hpp"

namespace fastconv {
class ThreadPool;
}

namespace fastconv::testing {

// A status as a failure message shows it; doctest prints a char pointer as an address.
std::string text(const Status& status);

// Integers small enough that every sum is exact, floats in [-1, 1), or such floats with weights
// that are all denormals.
enum class Fill { integers, floats, denormals };

const char* name(Fill fill) noexcept;  // as spelled above
bool parse_fill(const char* text, Fill& fill) noexcept;

// The operands of a problem, each from a seed of its own.
enum class Operand { x, weights, bias, y };
void fill_operand(const TensorView& view, Operand operand, Fill fill, std::uint64_t seed,
                  std::int64_t taps_per_output) noexcept;

// What the library's own tables of names hold, so that what is added there is tested unasked.
std::vector<Algorithm> all_algorithms();  // `automatic` first
// Those that serve every problem, and sum as the definition does: neither depthwise nor winograd.
std::vector<Algorithm> general_algorithms();
std::vector<Isa> all_isas();  // `automatic` left out
// The levels to test: those that this CPU has, or the one that the environment variable
// FASTCONV_TEST_ISA names.
std::vector<Isa> tested_isas();
// A sweep over shapes takes one of so many steps: as the environment variable FASTCONV_TEST_EVERY
// says, where other runs sweep the same source whole, else 1.
int sweep_step();
// Does it take its next one? Drawn, always the same: every so many would take the same layouts,
// strides and ends of memory again and again, as the steps go through them in turn.
bool takes_next();
// Whether running `algorithm` at `isa` differs from running it at another level: the baselines are
// the same code at all of them.
bool depends_on_isa(Algorithm algorithm) noexcept;

// `conv` on `mb` images of ih x iw, with the output that follows.
Problem problem_of(const Conv2d& conv, std::int64_t mb, std::int64_t ih, std::int64_t iw);

Conv2d conv_of(std::int64_t in, std::int64_t out, Pair kernel = 3, const Padding& padding = 1,
               std::int64_t groups = 1);

// A layer with the plan and the workspace for one x and y, on the threads of `pool`, which has to
// outlive it, or on the calling one.
struct PlannedLayer {
  Status create(const Conv2d& conv, const ConstTensorView& weights, const float* bias,
                const LayerOptions& options, const ConstTensorView& x, const TensorView& y,
                Guard guard, ThreadPool* pool = nullptr);
  Status run(const ConstTensorView& x, const TensorView& y) const noexcept {
    return layer.run(plan, x, y, run_options);
  }

  Layer layer;
  Plan plan;
  GuardedBuffer workspace{0, Guard::before};
  RunOptions run_options;
  double creation_seconds = 0.0;  // of the layer alone
};

// How a check runs the library.
struct Run {
  Algorithm algorithm = Algorithm::automatic;
  Isa isa = Isa::automatic;
  Guard guard = Guard::after;  // the end at which tensors and workspace touch forbidden memory
  int threads = 1;             // of a ThreadPool
  bool flush_denormals = false;
};

struct Verdict {
  bool refused = false;  // the algorithm does not do this problem
  std::string failure;   // what is wrong and the command that shows it; empty if nothing is
};

// One problem with its operands and oneDNN's answer, made once and held against any number of runs.
class Check {
 public:
  // x and y lie in `layout` (y densely if it is one that cannot be written).
  Check(const Problem& problem, Layout layout, Fill fill, std::uint64_t seed, bool bias = true,
        const PostOps& post_ops = {});

  // Runs the library with every tensor between guard pages and the destination full of NaN (unless
  // the post-ops read it), then compares: exactly for integers, within error_bounds for floats.
  // Source, gaps between rows and the memory around the destination have to be as they were.
  Verdict run(const Run& run) const;

  // The command that does the same from a shell.
  std::string command(const Run& run) const;

 private:
  // What runs read, at an end of its pages: made once, as every run is seen not to write to it.
  struct Sources {
    Tensor x, weights, bias;
  };
  const Sources& sources(Guard guard) const;
  std::string difference(const ConstTensorView& y, Algorithm algorithm, bool flush_denormals) const;

  Problem problem_;
  Layout layout_;
  Fill fill_;
  std::uint64_t seed_;
  bool has_bias_;
  PostOps post_ops_;
  Tensor x_;
  Tensor weights_;
  Tensor bias_;
  Tensor before_;  // what y holds, if it is read
  Tensor expected_;
  mutable std::unique_ptr<const Sources> sources_[2];  // by guard, once needed
  Problem unpadded_;
  Tensor padded_;
  std::vector<double> magnitudes_;
  mutable std::vector<double> winograd_bounds_[7];  // by m, once needed
  std::string oracle_failure_;
};

}  // namespace fastconv::testing
