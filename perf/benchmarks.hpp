// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <benchmark/benchmark.h>

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

namespace fastconv::perf {

// The main of a program of Google Benchmark's: its options are read, then `run` registers what is
// to be timed and runs it.
inline int run_benchmarks(const char* program, int count, char** arguments, int (*run)()) {
  try {
    // Before the user's own, which may say otherwise.
    std::vector<char*> all(arguments, arguments + count);
    std::string interleave = "--benchmark_enable_random_interleaving=true";
    all.insert(all.begin() + 1, interleave.data());
    int all_count = static_cast<int>(all.size());
    all.push_back(nullptr);
    benchmark::Initialize(&all_count, all.data());
    if (benchmark::ReportUnrecognizedArguments(all_count, all.data())) return 2;
    const int code = run();
    benchmark::Shutdown();
    return code;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", program, error.what());
    return 1;
  }
}

}  // namespace fastconv::perf
