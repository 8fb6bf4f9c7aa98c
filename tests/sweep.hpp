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
  // Baselines are slow: large problems may leave them out.
  explicit Sweep(bool with_baselines = true) noexcept : with_baselines_(with_baselines) {}
  Sweep(const Sweep&) = delete;
  Sweep& operator=(const Sweep&) = delete;

  void run(const Problem& problem, Layout layout, Fill fill, std::uint64_t seed, bool bias = true,
           Guard guard = Guard::after, const PostOps& post_ops = {});
  // Integers in NCHW and NHWC; bias and guard vary with the seed.
  void run_both_ways(const Problem& problem, std::uint64_t seed, bool sum = false);

  // A suite in which an algorithm did nothing at all tests nothing of it.
  ~Sweep();

 private:
  // Whether the sweep runs an algorithm at a level.
  bool covers(Algorithm algorithm, Isa isa) const noexcept;

  bool with_baselines_;
  std::map<Algorithm, int> runs_;
};

// The sizes of register tiles and their multiples, with their neighbours, once each.
std::vector<std::int64_t> tile_sizes();

}  // namespace fastconv::testing
