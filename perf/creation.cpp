// SPDX-License-Identifier: Apache-2.0
#include "creation.hpp"

#include <fastconv/version.h>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "../kernels/table.hpp"
#include "../kernels/weights.hpp"
#include "measure.hpp"
#include "progress.hpp"
#include "runs.hpp"

namespace fastconv::perf {
namespace {

using testing::Guard;
using testing::GuardedBuffer;

// What the library promises.
constexpr double kBytesPerSecond = 5e9;
constexpr double kOverhead = 10e-6;

// Memory that one layer at a time gets again and again.
class TouchedMemory {
 public:
  explicit TouchedMemory(std::int64_t bytes) : buffer_(bytes, Guard::readable) {
    std::fill_n(static_cast<char*>(buffer_.data()), buffer_.bytes(), '\0');
  }
  float* floats() const noexcept { return buffer_.floats(); }
  Allocator allocator() noexcept {
    Allocator result;
    result.allocate = [](void* context, std::size_t bytes, std::size_t) {
      const auto& buffer = static_cast<TouchedMemory*>(context)->buffer_;
      return bytes <= static_cast<std::size_t>(buffer.bytes()) ? buffer.data() : nullptr;
    };
    result.deallocate = [](void*, void*, std::size_t) {};
    result.context = this;
    return result;
  }

 private:
  GuardedBuffer buffer_;
};

// The C library's memory; adds up what it gave.
Allocator counting_allocator(std::int64_t& bytes) noexcept {
  Allocator result;
  result.allocate = [](void* context, std::size_t size, std::size_t alignment) {
    *static_cast<std::int64_t*>(context) += static_cast<std::int64_t>(size);
    return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  };
  result.deallocate = [](void*, void* memory, std::size_t) { std::free(memory); };
  result.context = &bytes;
  return result;
}

void touch_fresh_pages(std::int64_t bytes) {
  const GuardedBuffer buffer(bytes, Guard::readable);
  volatile char* const page = static_cast<char*>(buffer.data());
  for (std::int64_t i = 0; i < bytes; i += 4096) page[i] = 0;
}

struct Creation {
  double bytes = 0.0, panel_bytes = 0.0;
  double pack = 0.0, touched = 0.0, pages = 0.0, fresh = 0.0, onednn = 0.0;  // seconds

  double promised() const noexcept { return bytes / kBytesPerSecond + kOverhead; }
};

// The reason of a failure, or nothing.
std::string measure_creation(const Options& options, const testing::Problem& problem,
                             Progress& progress, Creation& creation) {
  const Operands operands(problem, options.layout, options.fill, options.seed, options.bias);
  Isa isa{};
  if (const Status status = resolve_isa(options.isa, isa); !status.ok()) return status.message();
  const int nr = kernel_table(isa)->nr();
  std::int64_t elements = 0;
  panel_elements(operands.weights.view().shape, problem.conv.groups, nr, elements);
  LayerOptions counting;
  counting.algorithm = options.algorithm;
  counting.isa = isa;
  std::int64_t bytes = 0;  // of all that the layer owns
  counting.allocator = counting_allocator(bytes);
  Layer counted;
  Status status =
      Layer::create(problem.conv, operands.weights.view(), operands.bias_data(), counting, counted);
  if (!status.ok()) return status.message();
  TouchedMemory memory(std::max(bytes, elements * static_cast<std::int64_t>(sizeof(float))));
  creation.bytes = static_cast<double>(bytes);
  creation.panel_bytes = static_cast<double>(elements) * sizeof(float);

  std::string failure;
  LayerOptions as_it_comes;
  as_it_comes.algorithm = options.algorithm;
  as_it_comes.isa = isa;
  LayerOptions into_touched = as_it_comes;
  into_touched.allocator = memory.allocator();
  const auto create = [&](const LayerOptions& layer_options) {
    Layer layer;
    const Status result = Layer::create(problem.conv, operands.weights.view(), operands.bias_data(),
                                        layer_options, layer);
    if (!result.ok()) status = result;
  };
  OneDnnRun onednn(operands);
  const std::vector<Candidate> candidates = {
      {"packing",
       [&] { pack_panels(operands.weights.view(), problem.conv.groups, nr, memory.floats()); }},
      {"creation in touched memory", [&] { create(into_touched); }},
      {"fresh pages", [&] { touch_fresh_pages(bytes); }},
      {"creation", [&] { create(as_it_comes); }},
      {"oneDNN", [&] {
         std::string result = onednn.create(options.threads);
         if (!result.empty()) failure = std::move(result);
       }}};
  MeasureOptions measure_options;
  measure_options.seconds = options.seconds;
  measure_options.isa = isa;
  measure_options.progress = [&](const std::string& text) { progress.show(text); };
  const auto timings = measure(candidates, measure_options).timings;
  creation.pack = timings[0].min;
  creation.touched = timings[1].min;
  creation.pages = timings[2].min;
  creation.fresh = timings[3].min;
  creation.onednn = timings[4].min;
  return status.ok() ? failure : status.message();
}

}  // namespace

bool print_creation(const Options& options) {
  Progress progress(options.quiet);
  Isa isa{};
  const Status resolved = resolve_isa(options.isa, isa);
  std::printf("fastconv %s: creating layers, isa %s, weights OIHW, microseconds\n", version(),
              resolved.ok() ? name(isa) : "unknown");
  std::printf("promised: %.0f GB/s of packed bytes into touched memory and %.0f us\n",
              kBytesPerSecond * 1e-9, kOverhead * 1e6);
  std::printf("%-20s %8s  %-15s %-18s %8s  %8s %9s %6s\n", "", "layer's", "packing panels",
              "layer in touched", "fresh", "layer as", "oneDNN", "");
  std::printf("%-20s %8s %8s %7s %9s %8s  %8s  %8s %9s %6s\n", "problem", "KiB", "us", "GB/s", "us",
              "promised", "pages", "it comes", testing::onednn_version().c_str(), "ratio");
  bool good = true;
  double log_ratio = 0.0;
  double log_share = 0.0;
  double worst_share = 0.0;
  int rows = 0;
  for (const testing::Problem& problem : options.problems) {
    Creation c;
    const std::string failure = measure_creation(options, problem, progress, c);
    progress.clear();
    const std::string title = problem.name.empty() ? testing::to_string(problem) : problem.name;
    std::printf("%-20s", title.c_str());
    if (!failure.empty()) {
      std::printf(" %s\n", failure.c_str());
      good = false;
      continue;
    }
    std::printf(" %8.0f %8.1f %7.1f %9.1f %8.1f  %8.1f  %8.1f %9.1f %6.1f\n", c.bytes / 1024,
                c.pack * 1e6, c.panel_bytes / c.pack * 1e-9, c.touched * 1e6, c.promised() * 1e6,
                c.pages * 1e6, c.fresh * 1e6, c.onednn * 1e6, c.onednn / c.touched);
    std::fflush(stdout);
    log_ratio += std::log(c.onednn / c.touched);
    log_share += std::log(c.touched / c.promised());
    worst_share = std::max(worst_share, c.touched / c.promised());
    ++rows;
  }
  if (rows > 0) {
    std::printf(
        "\ngeometric mean of %d: %.2f of the time promised, at worst %.2f; oneDNN takes %.1f "
        "times as long as a layer in touched memory, which its own is after the first time\n",
        rows, std::exp(log_share / rows), worst_share, std::exp(log_ratio / rows));
  }
  return good;
}

}  // namespace fastconv::perf
