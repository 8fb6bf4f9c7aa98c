// SPDX-License-Identifier: Apache-2.0
#include "post_ops.hpp"

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace fastconv::testing {
namespace {

struct Word {
  Activation activation;
  const char* text;
  int fewest;  // constants
  int most;
};
constexpr std::array<Word, 10> kWords{{
    {Activation::leaky_relu, "relu", 1, 1},
    {Activation::relu, "relu", 0, 0},
    {Activation::clamp, "clip", 2, 2},
    {Activation::hardsigmoid, "hardsigmoid", 0, 2},
    {Activation::hardswish, "hardswish", 0, 2},
    {Activation::sigmoid, "logistic", 0, 0},
    {Activation::silu, "swish", 1, 1},
    {Activation::tanh, "tanh", 0, 0},
    {Activation::gelu_erf, "gelu_erf", 0, 0},
    {Activation::gelu_tanh, "gelu_tanh", 0, 0},
}};

std::vector<std::string> split(std::string_view text, char at) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t end = text.find(at);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// Enough digits to be read back as the same float.
std::string number(float value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", static_cast<double>(value));
  return text;
}

// Reads one word but sum; the reason if it is none.
std::string read_word(const std::string& text, Epilogue& epilogue) {
  const std::vector<std::string> parts = split(text, ':');
  std::vector<float> constants;
  for (std::size_t i = 1; i < parts.size(); ++i) {
    char* end = nullptr;
    constants.push_back(std::strtof(parts[i].c_str(), &end));
    if (parts[i].empty() || *end != '\0') return "\"" + parts[i] + "\" is no number";
  }
  const int count = static_cast<int>(constants.size());
  const auto near = [](float a, double b) { return std::fabs(static_cast<double>(a) - b) < 1e-4; };
  bool known = false;
  for (const Word& word : kWords) {
    if (parts[0] != word.text) continue;
    known = true;
    if (count < word.fewest || count > word.most) continue;
    const bool hard =
        word.activation == Activation::hardsigmoid || word.activation == Activation::hardswish;
    if (hard && count > 0 &&
        !(count == 2 && near(constants[0], 1.0 / 6) && near(constants[1], 0.5)))
      return parts[0] + ": only with 1/6 and 1/2";
    if (word.activation == Activation::silu && constants[0] != 1.0F) return "swish: only with 1";
    epilogue.activation = word.activation;
    if (!hard && word.activation != Activation::silu) {
      if (count > 0) epilogue.alpha = constants[0];
      if (count > 1) epilogue.beta = constants[1];
    }
    return "";
  }
  if (known) return parts[0] + ": not with " + std::to_string(count) + " constants";
  return "\"" + parts[0] + "\" is no post-op known here";
}

}  // namespace

bool PostOps::exact() const noexcept {
  return epilogue.activation == Activation::none || epilogue.activation == Activation::relu ||
         epilogue.activation == Activation::clamp;
}

bool parse_post_ops(std::string_view text, PostOps& post_ops, ParseError& error) {
  PostOps result;
  error = {};
  std::size_t column = 1;
  for (const std::string& word : split(text, '+')) {
    const bool activated = result.epilogue.activation != Activation::none;
    if (word == "sum") {
      if (result.sum) error.reason = "a second sum";
      result.sum = true;
      result.epilogue.residual_last = activated;
    } else if (activated) {
      error.reason = "a second activation, " + word;
    } else {
      error.reason = read_word(word, result.epilogue);
    }
    if (!error.reason.empty()) {
      error.column = static_cast<int>(column);
      return false;
    }
    column += word.size() + 1;
  }
  post_ops = result;
  return true;
}

std::string to_string(const PostOps& post_ops) {
  const Epilogue& epilogue = post_ops.epilogue;
  std::string activation;
  for (const Word& word : kWords) {
    if (word.activation != epilogue.activation) continue;
    activation = word.text;
    if (word.activation == Activation::silu) {
      activation += ":1";
    } else {
      if (word.fewest > 0) activation += ":" + number(epilogue.alpha);
      if (word.fewest > 1) activation += ":" + number(epilogue.beta);
    }
  }
  if (!post_ops.sum || activation.empty()) return post_ops.sum ? "sum" : activation;
  return epilogue.residual_last ? activation + "+sum" : "sum+" + activation;
}

}  // namespace fastconv::testing
