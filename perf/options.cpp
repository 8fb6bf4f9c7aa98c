// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <cstdlib>
#include <functional>
#include <string_view>

namespace fastconv::perf {

const char* const kHelp =
    R"(usage: fastconv_perf [OPTION]... [PROBLEM]...

Times convolutions, and checks them. A PROBLEM is a descriptor of oneDNN's benchdnn, such as
  mb1ic64ih56oc64oh56kh3ph1n"name"     (g1, mb2, stride 1, no dilation unless given)

  --batch=FILE         problems from a file of such descriptors; may be given more than once
  --mb=N               batch size instead of the problems' own
  --padding-mode=NAME  zeros (default), reflect, replicate or circular
  --layout=NAME        of x and y: nchw (default) or nhwc; and for fastconv alone the strided and
                       flipped ones of the tests, such as crop or every_second
  --no-bias            a layer without bias
  --fill=NAME          floats in [-1, 1) (default), integers of which every sum is exact, or
                       denormals: floats with weights that are all denormals
  --seed=N             of the fill (default 1)

  --algo=NAME          auto (default), or an algorithm by name
  --isa=NAME           auto (default), or an instruction set by name. oneDNN keeps its own choice;
                       the environment variable ONEDNN_MAX_CPU_ISA=AVX2 and the like caps it
  --threads=N          on N threads of a ThreadPool (default 1), oneDNN too; with N > 1 beside one
                       thread, and the FMA peak of N threads beside that of one
  --attr-post-ops=WORDS  fused behind the convolution, oneDNN's too, as benchdnn has it: sum before
                       or behind one of relu[:A], clip:A:B, hardsigmoid, hardswish, logistic,
                       swish:1, tanh, gelu_erf, gelu_tanh, joined by +
  --strict             no algorithm that does not sum as the definition does
  --flush-denormals    take denormals as zero

  --regret             every algorithm that takes the problem beside auto, in turn: how much slower
                       auto is than the best
  --features           strides, paddings, epilogues and views beside a plain layer of the same FLOP,
                       instead of problems
  --accuracy           the error against double for growing C*R*S, of every algorithm, instead of
                       problems
  --overhead           what a call takes beyond its arithmetic on tiny images, instead of problems
  --peer=onednn        time oneDNN too, turn and turn about: plain layout in and out, weights
                       reordered beforehand
  --isas               every instruction set of this CPU side by side, in NCHW and in NHWC, instead
  --creation           time what is done once for a layer, beside oneDNN, instead of running it
  --check              first compare the result with oneDNN's: equal for integers, within the bound
                       of rounding for floats; what fails is not timed and the exit code is 1
  --seconds=S          of timing for each problem (default 0.5); 0 only checks
  --csv=FILE           the figures as CSV, too
  --verbose            what the plan explains, and how long the layer took to create
  --quiet              no progress on stderr
  --help               this

GFLOP = 2*N*K*OH*OW*(C/g)*R*S, padding counted, whatever the algorithm really multiplies. %peak is of
the FMA peak that register-only bursts between the runs reached; Winograd's may be above 100. %bound is
of what the FMA peak and copying as many bytes as x, weights and y have allow, whichever takes longer.
The ratio is oneDNN's time over fastconv's: above 1, fastconv is faster.
)";

namespace {

std::string error_of(const Status& status) { return status.ok() ? "" : status.message(); }

std::string read_number(const std::string& text, std::int64_t most, std::int64_t& number) {
  const char* const end = text.c_str() + text.size();
  char* stop = nullptr;
  const long long value = std::strtoll(text.c_str(), &stop, 10);
  if (text.empty() || stop != end || value < 0 || value > most) {
    return "\"" + text + "\" is no whole number from 0 to " + std::to_string(most);
  }
  number = value;
  return "";
}

std::string read_seconds(const std::string& text, double& seconds) {
  char* stop = nullptr;
  const double value = std::strtod(text.c_str(), &stop);
  if (text.empty() || *stop != '\0' || !(value >= 0.0 && value <= 1e6)) {
    return "\"" + text + "\" is no number of seconds";
  }
  seconds = value;
  return "";
}

class CommandLine {
 public:
  explicit CommandLine(Options& options) : options_(options) {}

  std::string read(int count, const char* const* arguments) {
    for (int i = 1; i < count; ++i) {
      const std::string argument = arguments[i];
      const std::string wrong =
          argument.compare(0, 2, "--") == 0 ? read_option(argument) : read_problem(argument);
      if (!wrong.empty()) return std::string(argument).append(": ").append(wrong);
    }
    const bool own_problems = options_.features || options_.accuracy || options_.overhead;
    if (options_.problems.empty() && !options_.help && !own_problems) {
      return "no problem given; see --help";
    }
    if (own_problems && !options_.problems.empty()) {
      return "--features, --accuracy and --overhead have problems of their own";
    }
    for (testing::Problem& problem : options_.problems) {
      if (mb_ >= 0) problem.mb = mb_;
      problem.conv.padding_mode = mode_;
    }
    const int tables = static_cast<int>(options_.features) + static_cast<int>(options_.accuracy) +
                       static_cast<int>(options_.overhead) + static_cast<int>(options_.levels) +
                       static_cast<int>(options_.creation) + static_cast<int>(options_.regret);
    if (tables > 1) return "one table at a time";
    if (tables > 0) {
      const bool plain = options_.threads == 1 && options_.post_ops.none() && !options_.onednn &&
                         !options_.check && options_.csv.empty();
      if (!plain) {
        return "--threads, --attr-post-ops, --peer, --check and --csv do not go with a table of "
               "another kind";
      }
      if (options_.seconds <= 0.0) return "such a table takes more than 0 --seconds";
    }
    if (options_.onednn && mode_ != PaddingMode::zeros) {
      return std::string("--peer=onednn: pads with zeros only, not by ") + fastconv::name(mode_);
    }
    if (options_.onednn && options_.layout != testing::Layout::nchw &&
        options_.layout != testing::Layout::nhwc) {
      return std::string("--peer=onednn: takes nchw and nhwc here, not ") + name(options_.layout);
    }
    return "";
  }

 private:
  std::string read_problem(const std::string& text) {
    testing::Problem problem;
    testing::ParseError error;
    if (!testing::parse_problem(text, problem, error)) {
      return "column " + std::to_string(error.column) + ": " + error.reason;
    }
    options_.problems.push_back(problem);
    return "";
  }

  std::string read_option(const std::string& argument) {
    const std::size_t equals = argument.find('=');
    const std::string key = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
    const bool has_value = equals != std::string::npos;
    const std::string value = has_value ? argument.substr(equals + 1) : "";

    const struct {
      const char* key;
      bool* set;
      bool to;
    } switches[] = {{"check", &options_.check, true},
                    {"isas", &options_.levels, true},
                    {"creation", &options_.creation, true},
                    {"no-bias", &options_.bias, false},
                    {"features", &options_.features, true},
                    {"accuracy", &options_.accuracy, true},
                    {"regret", &options_.regret, true},
                    {"overhead", &options_.overhead, true},
                    {"strict", &options_.strict, true},
                    {"flush-denormals", &options_.flush_denormals, true},
                    {"verbose", &options_.verbose, true},
                    {"quiet", &options_.quiet, true},
                    {"help", &options_.help, true}};
    for (const auto& entry : switches) {
      if (key != entry.key) continue;
      if (has_value) return "takes no value";
      *entry.set = entry.to;
      return "";
    }
    const struct {
      const char* key;
      std::function<std::string()> read;
    } values[] = {
        {"batch", [&] { return read_batch(value); }},
        {"mb", [&] { return read_number(value, 1 << 20, mb_); }},
        {"padding-mode", [&] { return error_of(parse_padding_mode(value.c_str(), mode_)); }},
        {"layout",
         [&]() -> std::string {
           return testing::parse_layout(value.c_str(), options_.layout) ? "" : "no such layout";
         }},
        {"fill",
         [&]() -> std::string {
           return testing::parse_fill(value.c_str(), options_.fill) ? "" : "no such fill";
         }},
        {"seed", [&] { return read_seed(value); }},
        {"algo", [&] { return error_of(parse_algorithm(value.c_str(), options_.algorithm)); }},
        {"isa", [&] { return read_isa(value); }},
        {"threads", [&] { return read_threads(value); }},
        {"attr-post-ops", [&] { return read_post_ops(value); }},
        {"peer",
         [&]() -> std::string {
           options_.onednn = true;
           return value == "onednn" ? "" : "the only peer is onednn";
         }},
        {"seconds", [&] { return read_seconds(value, options_.seconds); }},
        {"csv",
         [&]() -> std::string {
           options_.csv = value;
           return value.empty() ? "no file named" : "";
         }},
    };
    for (const auto& entry : values) {
      if (key == entry.key) return has_value ? entry.read() : "needs a value: --" + key + "=…";
    }
    return "no such option; see --help";
  }

  std::string read_batch(const std::string& path) {
    testing::Batch batch;
    std::string error;
    if (!testing::read_batch(path, batch, error)) return error;
    if (batch.problems.empty()) batch.notes.push_back(path + ": holds no problem");
    options_.problems.insert(options_.problems.end(), batch.problems.begin(), batch.problems.end());
    options_.notes.insert(options_.notes.end(), batch.notes.begin(), batch.notes.end());
    return "";
  }

  std::string read_seed(const std::string& value) {
    std::int64_t seed = 0;
    std::string wrong = read_number(value, INT64_MAX, seed);
    options_.seed = static_cast<std::uint64_t>(seed);
    return wrong;
  }

  std::string read_isa(const std::string& value) {
    const Status status = parse_isa(value.c_str(), options_.isa);
    Isa resolved{};
    return error_of(status.ok() ? resolve_isa(options_.isa, resolved) : status);
  }

  std::string read_threads(const std::string& value) {
    std::int64_t threads = 0;
    std::string wrong = read_number(value, 4096, threads);
    if (wrong.empty() && threads < 1) wrong = "at least one is needed";
    options_.threads = static_cast<int>(threads);
    return wrong;
  }

  std::string read_post_ops(const std::string& value) {
    testing::ParseError error;
    if (testing::parse_post_ops(value, options_.post_ops, error)) return "";
    return "column " + std::to_string(error.column) + ": " + error.reason;
  }

  Options& options_;
  std::int64_t mb_ = -1;
  PaddingMode mode_ = PaddingMode::zeros;
};

}  // namespace

LayerOptions layer_options(const Options& options) noexcept {
  LayerOptions result;
  result.algorithm = options.algorithm;
  result.isa = options.isa;
  result.strict = options.strict;
  result.flush_denormals = options.flush_denormals;
  return result;
}

std::string parse_options(int count, const char* const* arguments, Options& options) {
  return CommandLine(options).read(count, arguments);
}

}  // namespace fastconv::perf
