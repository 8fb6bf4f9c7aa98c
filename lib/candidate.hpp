// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "blocking.hpp"

namespace fastconv {

// Depth up to which stores take a good part of a tile's time.
constexpr std::int64_t kShallow = 128;
// Planes of memory that a CPU's prefetchers follow at a time.
constexpr int kStreamsFar = 16;

// One form of the pixels over one set of tiles, with its blocks and the cycles that they take: what
// choose_blocking compares.
class Candidate {
 public:
  Candidate(const Problem& problem, const Tiles& tiles, const CacheSizes& caches, Lanes lanes,
            PixelForm form) noexcept;

  // False if the form cannot serve the problem.
  bool build() noexcept;

  const Blocking& blocking() const noexcept { return b_; }

 private:
  // Of every form, in blocking.cpp.
  bool is_shallow() const noexcept;
  std::int64_t panel_bytes() const noexcept;  // of all weights, with the lanes that panels leave
  double step() const noexcept;  // cycles of the core for a step of depth of the tallest tile
  std::int64_t kc_limit() const noexcept;
  // Pixels of which the sums between k-blocks fit a quarter of L2; any number if there are none.
  std::int64_t sums_limit() const noexcept;
  void block_packed(std::int64_t unit) noexcept;
  void add_stores() noexcept;
  void add_far_weights() noexcept;

  // Of pixels along the lanes, in panel_blocking.cpp.
  void columns() noexcept;
  bool panels_in_place() noexcept;
  void block_panels(double least_step) noexcept;

  // Of windows that are broadcast, in window_blocking.cpp.
  void rows() noexcept;
  bool patch() noexcept;
  bool windows_in_place() noexcept;
  bool gains_by_tall_tiles() const noexcept;
  std::int64_t stretches() const noexcept;
  bool block_rows(std::int64_t pitch) noexcept;
  void add_border() noexcept;

  const Problem& p_;
  int weight_nr_;  // lanes of a panel of weights
  const CacheSizes& caches_;
  std::int64_t pixels_;
  std::int64_t channels_;
  std::int64_t depth_;
  bool straddles_;       // may tiles over a panel straddle output rows?
  double cycle_;         // of the core
  double passes_ = 0.0;  // over the weights, of a border's products
  Blocking b_;
};

}  // namespace fastconv
