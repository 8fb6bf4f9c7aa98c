// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fastconv/layer.hpp>
#include <string>
#include <string_view>

#include "problem.hpp"

namespace fastconv::testing {

// What is fused behind a convolution, as benchdnn's --attr-post-ops names it (knobs_attr.md there).
struct PostOps {
  Epilogue epilogue{};  // residual_last: sum stands last
  bool sum = false;     // the residual is what y held before: y += convolution

  bool none() const noexcept { return !sum && epilogue.activation == Activation::none; }
  // Whether integers stay exact.
  bool exact() const noexcept;
};

// Reads words joined by +: at most one of these, and sum before or behind it.
//   relu[:ALPHA]  clip:LOW:HIGH  hardsigmoid[:1/6:1/2]  hardswish[:1/6:1/2]  logistic  swish:1
//   tanh  gelu_erf  gelu_tanh
// Constants of the two with 1/6 are decimals, as there. False with `error` filled and `post_ops`
// untouched otherwise.
bool parse_post_ops(std::string_view text, PostOps& post_ops, ParseError& error);

// What parse_post_ops reads back as the same; empty for none.
std::string to_string(const PostOps& post_ops);

}  // namespace fastconv::testing
