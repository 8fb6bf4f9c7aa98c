// SPDX-License-Identifier: Apache-2.0
#pragma once

// The threads of OpenMP for RunOptions::parallel_for. Empty unless the program that includes it is
// compiled with OpenMP (-fopenmp); the library does not need it.

#if defined(_OPENMP)

#include <omp.h>

#include <cstdint>
#include <fastconv/layer.hpp>

namespace fastconv {

// Runs tasks on a team of at most the plan's slots. A call from inside a parallel region gets a
// team of one unless nested parallelism is on.
inline ParallelFor openmp_parallel_for() noexcept {
  ParallelFor result;
  result.run = [](void*, std::int64_t tasks, int slots, ParallelFor::Body body, void* data) {
#pragma omp parallel for num_threads(slots) schedule(dynamic, 1)
    for (std::int64_t task = 0; task < tasks; ++task) body(data, task, omp_get_thread_num());
  };
  return result;
}

}  // namespace fastconv

#endif
