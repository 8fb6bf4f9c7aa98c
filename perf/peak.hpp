// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fastconv/isa.hpp>

// What this core can do at best, to be measured in between what is judged by it: its clock is not
// the same a second later.

namespace fastconv::perf {

// GFLOP/s of one burst of about a millisecond of multiply-adds that touch nothing but registers, in
// vectors of `isa`, which this CPU has to support (`automatic`: the best). Levels without a fused
// multiply-add multiply and add. `part` shortens the burst.
double fma_peak_gflops(Isa isa, double part = 1.0);

// The burst itself, for those who take the time themselves: its number of operations.
double fma_burst_flop(Isa isa);
void run_fma_burst(Isa isa);

// Copies with plain loads and stores in vectors of `isa`, as a convolution reads and writes at
// least.
void copy_floats(Isa isa, const float* source, float* destination, std::int64_t elements);

}  // namespace fastconv::perf
