// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fastconv/layer.hpp>
#include <new>

#include "axes.hpp"
#include "blocking.hpp"
#include "depthwise.hpp"
#include "direct.hpp"
#include "winograd.hpp"

namespace fastconv {

// What a Plan holds.
struct PlanState {
  // Of the weights it was made for, or 0. Not their address, which the next layer may get.
  std::uint64_t layer_id = 0;
  Problem asked;
  Axes axes{0, 1, 2, 3};      // of x and y as an engine sees them
  Problem problem;            // with these axes
  std::int64_t x_offset = 0;  // floats to the first pixel of it
  Algorithm algorithm = Algorithm::automatic;
  bool chosen = false;  // by the library rather than by name
  Isa isa = Isa::generic;
  Tile tile;      // of the ISA's micro-kernel, with channels along the vectors
  Blocking gemm;  // if that is or might have been the algorithm; likewise the next three
  DirectBlocking direct;
  DepthwiseBlocking depthwise;
  WinogradBlocking winograd;
  std::int64_t slot_bytes = 0;  // of scratch memory
  std::int64_t blocks = 0;      // that an engine cuts the problem into
  std::int64_t tasks = 1;       // runs of them
  int slots = 1;
  Epilogue epilogue;
  bool has_bias = false;
  bool strict = false;
  bool flush_denormals = false;
};

inline const PlanState& state_of(const unsigned char* bytes) noexcept {
  return *std::launder(reinterpret_cast<const PlanState*>(bytes));
}

// What an algorithm of the engine does once it has been chosen: it cuts a problem into blocks that
// any thread may compute, each task a run of them, with scratch memory of its slot.
struct Engine {
  void (*split)(int threads, PlanState& state);  // until there are blocks for all threads
  std::int64_t (*blocks)(const PlanState& state);
  std::int64_t (*slot_bytes)(const PlanState& state);
  void (*run)(const Operands& operands, const PlanState& state, std::int64_t begin,
              std::int64_t end, void* workspace);
};

// Null for the baselines.
const Engine* find_engine(Algorithm algorithm) noexcept;

// Does a layer that is asked for it hold panels rather than the baselines' dense weights?
inline bool uses_panels(Algorithm algorithm) noexcept {
  return algorithm == Algorithm::automatic || find_engine(algorithm) != nullptr;
}

// Scratch memory of all slots, with room to align it.
std::int64_t workspace_bytes(const PlanState& state) noexcept;

Explanation explain(const PlanState& state) noexcept;

}  // namespace fastconv
