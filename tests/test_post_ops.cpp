// SPDX-License-Identifier: Apache-2.0
// Post-ops in benchdnn's words, and oneDNN's own against the library's epilogues.
#include <doctest/doctest.h>

#include <string>

#include "onednn.hpp"
#include "sweep.hpp"

namespace fastconv::testing {
namespace {

constexpr const char* kWords[] = {
    "relu",         "relu:0.25",     "relu:-1.5",    "clip:-2:6",    "hardsigmoid",
    "hardswish",    "logistic",      "swish:1",      "tanh",         "gelu_erf",
    "gelu_tanh",    "sum",           "sum+relu",     "relu+sum",     "sum+tanh",
    "clip:0:6+sum", "sum+clip:-1:1", "sum+relu:0.5", "gelu_erf+sum", "swish:1+sum",
};

PostOps read(const std::string& words) {
  PostOps result;
  ParseError error;
  REQUIRE_MESSAGE(parse_post_ops(words, result, error), words, ": ", error.reason);
  return result;
}

}  // namespace

TEST_SUITE("post_ops") {
  TEST_CASE("words and what they mean") {
    CHECK(read("relu").epilogue.activation == Activation::relu);
    CHECK(read("relu:0.125").epilogue.activation == Activation::leaky_relu);
    CHECK(read("relu:0.125").epilogue.alpha == 0.125F);
    CHECK(read("clip:-1:2").epilogue.alpha == -1.0F);
    CHECK(read("clip:-1:2").epilogue.beta == 2.0F);
    CHECK(read("swish:1").epilogue.activation == Activation::silu);
    CHECK(read("logistic").epilogue.activation == Activation::sigmoid);
    CHECK(read("hardswish:0.166667:0.5").epilogue.activation == Activation::hardswish);
    CHECK(read("sum").sum);
    CHECK_FALSE(read("sum+tanh").epilogue.residual_last);
    CHECK(read("tanh+sum").epilogue.residual_last);
    for (const char* words : kWords) CHECK(to_string(read(words)) == words);
    CHECK(to_string(PostOps()).empty());
    const PostOps third = read("relu:0.333333343");
    CHECK(read(to_string(third)).epilogue.alpha == third.epilogue.alpha);
  }

  TEST_CASE("words that are refused") {
    const struct {
      const char* text;
      int column;
      const char* reason;
    } cases[] = {
        {"", 1, "no post-op"},        {"elu", 1, "elu"},           {"relu+", 6, "second"},
        {"relu:x", 1, "\"x\""},       {"relu:", 1, "no number"},   {"relu:1:2", 1, "2 constants"},
        {"clip:1", 1, "1 constants"}, {"swish", 1, "0 constants"}, {"swish:2", 1, "only with 1"},
        {"hardswish:1:1", 1, "1/6"},  {"relu+tanh", 6, "second"},  {"sum+relu+sum", 10, "second"},
        {"sum:2", 1, "no post-op"},
    };
    for (const auto& c : cases) {
      CAPTURE(std::string(c.text));
      PostOps untouched;
      untouched.sum = true;
      ParseError error;
      CHECK_FALSE(parse_post_ops(c.text, untouched, error));
      CHECK(untouched.sum);
      CHECK(error.column == c.column);
      CHECK(error.reason.find(c.reason) != std::string::npos);
    }
  }

  TEST_CASE("oneDNN's post-ops") {
    Sweep sweep;
    std::uint64_t seed = 0;
    for (const char* words : kWords) {
      CAPTURE(std::string(words));
      for (const Layout layout : {Layout::nchw, Layout::nhwc, Layout::crop}) {
        for (const Fill fill : {Fill::integers, Fill::floats}) {
          Conv2d conv;
          conv.groups = seed % 4 == 3 ? 2 : 1;
          conv.in_channels = 6;
          conv.out_channels = 34;
          conv.kernel_size = {3, 2};
          conv.padding = {1, 1, 0, 1};
          conv.stride = {1, seed % 2 == 0 ? 1 : 2};
          sweep.run(problem_of(conv, 2, 7, 9), layout, fill, seed, seed % 5 != 0, Guard::after,
                    read(words));
          ++seed;
        }
      }
    }
  }

  TEST_CASE("weights of denormals") {
    Sweep sweep;
    Conv2d conv;
    conv.in_channels = 8;
    conv.out_channels = 20;
    conv.kernel_size = 3;
    for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
      for (const bool bias : {false, true}) {
        sweep.run(problem_of(conv, 1, 9, 10), layout, Fill::denormals, 3, bias);
      }
    }
  }

  TEST_CASE("a failure's command carries what it takes to repeat it") {
    Conv2d conv;
    conv.in_channels = conv.out_channels = conv.kernel_size.h = conv.kernel_size.w = 1;
    const Check check(problem_of(conv, 1, 2, 2), Layout::nchw, Fill::denormals, 4, false,
                      read("sum+relu:0.5"));
    Run run;
    run.threads = 3;
    run.flush_denormals = true;
    const std::string command = check.command(run);
    for (const char* part : {"--attr-post-ops=sum+relu:0.5", "--threads=3", "--flush-denormals",
                             "--fill=denormals", "--no-bias"}) {
      CHECK(command.find(part) != std::string::npos);
    }
    const Verdict verdict = check.run(run);
    CHECK_MESSAGE(verdict.failure.empty(), verdict.failure);
  }
}

}  // namespace fastconv::testing
