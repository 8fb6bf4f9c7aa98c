// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "check.hpp"

namespace fastconv::testing {

// Runs problems through every algorithm that the library names at every tested level, baselines at
// the lowest alone, and makes each result a doctest check.
class Sweep {
 public:
  void run(const Problem& problem, Layout layout, Fill fill, std::uint64_t seed, bool bias = true,
           Guard guard = Guard::after);

  // A suite in which an algorithm did nothing at all tests nothing of it.
  ~Sweep();

 private:
  std::map<Algorithm, int> runs_;
};

}  // namespace fastconv::testing
