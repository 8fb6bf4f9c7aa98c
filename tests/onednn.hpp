// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "post_ops.hpp"
#include "problem.hpp"
#include "tensors.hpp"

namespace fastconv::testing {

// A forward f32 convolution by oneDNN: the oracle of the tests and the peer of the perf runs. Plain
// tensors in and out, weights reordered beforehand into whatever oneDNN prefers, scratchpad owned
// here, `convolution_direct` asked for, so that no Winograd error enters a comparison.
// Functions that return a string give the reason of a failure, or nothing. None of them throws.
class OneDnn {
 public:
  OneDnn() noexcept;
  ~OneDnn();
  OneDnn(OneDnn&& other) noexcept;
  OneDnn& operator=(OneDnn&& other) noexcept;

  // `weights` are dense (K, C/groups, R, S), `bias` has K elements or is null; both are copied.
  // `layout` is nchw or nhwc. Runs on exactly `threads` threads, or fails if this build of oneDNN
  // cannot be told to.
  std::string create(const Problem& problem, Layout layout, const float* weights, const float* bias,
                     int threads = 1, const PostOps& post_ops = {}) noexcept;

  // x of shape (mb, C, ih, iw), y of shape (mb, K, oh, ow), dense in the layout given to create; y
  // is read before it is written if the post-ops have a sum.
  std::string run(const float* x, float* y) noexcept;

  // oneDNN's name for what it runs, such as "brgconv:avx512_core".
  const std::string& implementation() const noexcept;

  // Seconds that create took, weights reordered, oneDNN's primitive cache off.
  double creation_seconds() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Version of the oneDNN that is running, such as "2.6.3".
std::string onednn_version();

// create and run in one call.
std::string onednn_conv2d(const Problem& problem, Layout layout, const float* x,
                          const float* weights, const float* bias, float* y,
                          const PostOps& post_ops = {}) noexcept;

}  // namespace fastconv::testing
