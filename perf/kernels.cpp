// SPDX-License-Identifier: Apache-2.0

// fastconv_kernels: the micro-kernels of every level that this CPU has, on panels that lie in L1,
// and the packing routines.

#include "../kernels/table.hpp"

#include <benchmark/benchmark.h>

#include <fastconv/version.h>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "../kernels/weights.hpp"
#include "../lib/blocking.hpp"
#include "../lib/geometry.hpp"
#include "benchmarks.hpp"
#include "check.hpp"
#include "kernel_tables.hpp"
#include "peak.hpp"
#include "progress.hpp"
#include "runs.hpp"

namespace fastconv::perf {
namespace {

constexpr int kRepetitions = 5;  // in random order; the tables show their median
constexpr int kTurns = 16;       // of a burst of peak and one of what is measured; the best counts
constexpr double kBurst = 50e-6;

using Clock = std::chrono::steady_clock;

double seconds_of(const std::function<void()>& call, int calls) {
  const auto start = Clock::now();
  for (int i = 0; i < calls; ++i) call();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Calls that fill a burst.
int calls_per_burst(const std::function<void()>& call) {
  call();
  int calls = 1;
  while (calls < (1 << 20) && seconds_of(call, calls) < kBurst) calls *= 2;
  return calls;
}

// Floats aligned to a cache line, in memory and in [-1, 1).
class Floats {
 public:
  explicit Floats(std::int64_t count)
      : data_(static_cast<float*>(::operator new (static_cast<std::size_t>(count) * sizeof(float),
                                                  std::align_val_t{64}))) {
    for (std::int64_t i = 0; i < count; ++i) {
      data_[i] = static_cast<float>(i * 7919 % 1021) / 510.5F - 1.0F;
    }
  }
  ~Floats() { ::operator delete (data_, std::align_val_t{64}); }
  Floats(const Floats&) = delete;
  Floats& operator=(const Floats&) = delete;

  float* data() const noexcept { return data_; }

 private:
  float* data_;
};

Problem problem_of(std::int64_t c, std::int64_t k, std::int64_t size, std::int64_t kernel,
                   std::int64_t stride, bool nhwc_layout) {
  Conv2d conv;
  conv.in_channels = c;
  conv.out_channels = k;
  conv.kernel_size = kernel;
  conv.stride = stride;
  conv.padding = kernel / 2;
  const testing::Problem sizes = testing::problem_of(conv, 1, size, size);
  float* const none = nullptr;
  Problem problem;
  const Status status = nhwc_layout ? make_problem(conv, nhwc(none, 1, c, size, size),
                                                   nhwc(none, 1, k, sizes.oh, sizes.ow), problem)
                                    : make_problem(conv, nchw(none, 1, c, size, size),
                                                   nchw(none, 1, k, sizes.oh, sizes.ow), problem);
  if (!status.ok()) std::fprintf(stderr, "fastconv_kernels: %s\n", status.message());
  return problem;
}

void register_benchmark(const std::string& name, Progress& progress,
                        const std::function<void(benchmark::State&)>& run) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [name, run, &progress](benchmark::State& state) {
                                 progress.show(name);
                                 run(state);
                               })
      ->Iterations(kTurns)
      ->Repetitions(kRepetitions)
      ->UseManualTime();
}

// One tile in the middle of a deep product: sums loaded and stored, as for most k-blocks.
void run_tile(benchmark::State& state, const KernelTable& table, int form, int rows, int vectors,
              int kc) {
  const std::int64_t nr = form == 0 ? table.pixel_nr() : table.nr();
  const std::int64_t pitch = (kc + 31) / 32 * 32 + 16;  // as the blocking pads rows
  const Floats b(kc * nr), a(form == 0 ? kc * table.nr() : rows * pitch), sums(rows * nr);
  const Segment segment{0, kc, 0};
  TileArguments tile;
  tile.depth = kc;
  tile.a = a.data();
  tile.a_row_stride = pitch;
  tile.segments = &segment;
  tile.segment_count = 1;
  tile.lanes = vectors * table.width;
  tile.b = b.data();
  tile.b_stride = nr;
  tile.sums = sums.data();
  tile.first = false;
  tile.last = false;
  const MicroKernel kernel = table.micro_gemm[form][rows - 1][vectors - 1];
  const auto burst = [&](int calls) {
    const auto start = Clock::now();
    for (int i = 0; i < calls; ++i) kernel(tile);
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  const int calls = calls_per_burst([&] { kernel(tile); });
  const double flop = 2.0 * rows * vectors * table.width * kc * calls;
  double best = 0.0;
  double peak = 0.0;
  for (auto _ : state) {
    peak = std::max(peak, fma_peak_gflops(table.isa, kBurst / 1e-3));
    const double seconds = burst(calls);
    best = std::max(best, flop / seconds * 1e-9);
    state.SetIterationTime(seconds);
  }
  state.counters["GFLOP/s"] = best;
  state.counters["peak"] = peak;
  state.counters["percent"] = 100.0 * best / peak;
}

KernelLevel register_tiles(const KernelTable& table, Progress& progress) {
  KernelLevel level;
  level.isa = table.isa;
  level.vectors[0] = table.pixel_vectors;
  level.vectors[1] = table.vectors;
  for (int form = 0; form < 2; ++form) {
    level.max_rows[form] = table.max_rows[form][level.vectors[form] - 1];
  }
  level.width = table.width;
  level.kcs = {64, 96, 128, 160, 192, 224, 256};
  for (const bool is_nhwc : {false, true}) {
    const Problem problem = problem_of(256, 256, 28, 3, 1, is_nhwc);
    const Blocking blocking = choose_blocking(problem, Tiles(table), detected_caches(), true);
    level.chosen[is_nhwc ? 1 : 0] = static_cast<int>(blocking.kc);
    level.kcs.push_back(static_cast<int>(blocking.kc));
  }
  std::sort(level.kcs.begin(), level.kcs.end());
  level.kcs.erase(std::unique(level.kcs.begin(), level.kcs.end()), level.kcs.end());
  for (int form = 0; form < 2; ++form) {
    for (int vectors = 1; vectors <= level.vectors[form]; ++vectors) {
      for (int rows = 1; rows <= table.max_rows[form][vectors - 1]; ++rows) {
        for (const int kc : level.kcs) {
          register_benchmark(tile_name(level, form, rows, vectors, kc), progress,
                             [&table, form, rows, vectors, kc](benchmark::State& state) {
                               run_tile(state, table, form, rows, vectors, kc);
                             });
        }
      }
    }
  }
  return level;
}

// GB/s of `bytes` that a call writes.
void run_copy(benchmark::State& state, double bytes, const std::function<void()>& call) {
  const int calls = calls_per_burst(call);
  double best = 0.0;
  for (auto _ : state) {
    const double seconds = seconds_of(call, calls);
    best = std::max(best, bytes * calls / seconds * 1e-9);
    state.SetIterationTime(seconds);
  }
  state.counters["GB/s"] = best;
}

enum class Routine { columns, rows, patch };

struct Packing {
  const char* name;
  Routine routine;
  std::int64_t size, kernel, stride;
};

constexpr Packing kPacking[] = {
    {"pack_columns 1x1, 64x56x56", Routine::columns, 56, 1, 1},
    {"pack_columns 3x3, 64x56x56", Routine::columns, 56, 3, 1},
    {"pack_columns 3x3, 64x14x14", Routine::columns, 14, 3, 1},
    {"pack_columns 3x3 stride 2, 64x56x56", Routine::columns, 56, 3, 2},
    {"pack_rows 3x3, 64x56x56", Routine::rows, 56, 3, 1},
    {"pack_rows 3x3 stride 2, 64x56x56", Routine::rows, 56, 3, 2},
    {"pack_patch 3x3, 64x56x56, 4 rows", Routine::patch, 56, 3, 1},
    {"pack_patch 3x3 stride 2, 64x56x56, 4 rows", Routine::patch, 56, 3, 2},
};

// The first k-block of a whole image of 64 channels, block by block into the same memory, as the
// engine does.
void run_packing(benchmark::State& state, const KernelTable& table, const Packing& packing) {
  constexpr std::int64_t kChannels = 64;
  const bool columns = packing.routine == Routine::columns;
  const bool patch = packing.routine == Routine::patch;
  const Problem p =
      problem_of(kChannels, 64, packing.size, packing.kernel, packing.stride, !columns);
  const std::int64_t kc = std::min<std::int64_t>(192, kChannels * p.taps());
  const std::int64_t block = patch ? 4 * p.ow : table.pixel_nr();
  const std::int64_t patch_columns = (p.ow - 1) * packing.stride + packing.kernel;
  const std::int64_t pitch = patch ? kChannels : (kc + 31) / 32 * 32 + 16;
  const auto patch_floats = [&](std::int64_t rows) {
    return ((rows - 1) * packing.stride + packing.kernel) * patch_columns * pitch;
  };
  const Floats x(kChannels * p.h * p.w);
  const Floats out((patch ? patch_floats(4) : block * std::max(kc, pitch)) + 16);
  PackArguments arguments;
  arguments.problem = &p;
  arguments.x = x.data();
  arguments.depth_end = kc;
  arguments.pitch = pitch;
  arguments.out = out.data();
  RegionArguments region;
  region.problem = &p;
  region.x = x.data();
  region.channels = kChannels;
  region.columns = patch_columns;
  region.pitch = pitch;
  region.out = out.data();
  const std::int64_t pixels = p.oh * p.ow;
  std::int64_t floats = 0;
  for (std::int64_t first = 0; first < pixels; first += block) {
    const std::int64_t count = std::min(block, pixels - first);
    floats += patch ? patch_floats(count / p.ow) : (columns ? block : count) * kc;
  }
  run_copy(state, static_cast<double>(floats) * sizeof(float), [&] {
    for (std::int64_t first = 0; first < pixels; first += block) {
      arguments.first = first;
      arguments.count = std::min(block, pixels - first);
      if (patch) {
        region.first_row = first / p.ow;
        region.rows = (arguments.count / p.ow - 1) * packing.stride + packing.kernel;
        table.pack_patch(region);
      } else {
        (columns ? table.pack_columns : table.pack_rows)(arguments);
      }
    }
  });
}

struct WeightPacking {
  const char* name;
  std::int64_t channels, kernel;
  TensorView (*view)(float*, std::int64_t, std::int64_t, std::int64_t, std::int64_t);
};

constexpr WeightPacking kWeights[] = {
    {"weights OIHW 256x256x1x1", 256, 1, oihw<float>},
    {"weights OIHW 256x256x3x3", 256, 3, oihw<float>},
    {"weights OIHW 512x512x3x3", 512, 3, oihw<float>},
    {"weights OHWI 256x256x3x3", 256, 3, ohwi<float>},
    {"weights HWIO 256x256x3x3", 256, 3, hwio<float>},
};

void run_weights(benchmark::State& state, const KernelTable& table, const WeightPacking& packing) {
  const std::int64_t c = packing.channels;
  const std::int64_t elements = c * c * packing.kernel * packing.kernel;
  const Floats source(elements), panels(elements);
  const ConstTensorView view = packing.view(source.data(), c, c, packing.kernel, packing.kernel);
  run_copy(state, static_cast<double>(elements) * sizeof(float),
           [&] { pack_panels(view, 1, table.nr(), panels.data()); });
}

int run() {
  const CacheSizes caches = detected_caches();
  std::printf("fastconv %s micro-kernels and packing, L1 %lld KiB, L2 %lld KiB, one core of %s\n",
              version(), static_cast<long long>(caches.l1 >> 10),
              static_cast<long long>(caches.l2 >> 10), cpu_name().c_str());
  std::fflush(stdout);

  Progress progress(false);
  std::vector<KernelLevel> levels;
  std::vector<std::string> packing_rows, columns;
  for (const Packing& packing : kPacking) packing_rows.emplace_back(packing.name);
  for (const WeightPacking& packing : kWeights) packing_rows.emplace_back(packing.name);
  for (const Isa isa : testing::all_isas()) {
    const KernelTable* const table = is_supported(isa) ? kernel_table(isa) : nullptr;
    if (table == nullptr) continue;
    levels.push_back(register_tiles(*table, progress));
    columns.emplace_back(name(isa));
    for (const Packing& packing : kPacking) {
      register_benchmark(
          std::string(packing.name) + "/" + name(isa), progress,
          [table, &packing](benchmark::State& state) { run_packing(state, *table, packing); });
    }
    for (const WeightPacking& packing : kWeights) {
      register_benchmark(
          std::string(packing.name) + "/" + name(isa), progress,
          [table, &packing](benchmark::State& state) { run_weights(state, *table, packing); });
    }
  }
  KernelReporter reporter(std::move(levels), std::move(packing_rows), std::move(columns), progress);
  benchmark::RunSpecifiedBenchmarks(&reporter);
  return 0;
}

}  // namespace
}  // namespace fastconv::perf

int main(int count, char** arguments) {
  return fastconv::perf::run_benchmarks("fastconv_kernels", count, arguments, fastconv::perf::run);
}
