// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fastconv/isa.hpp>

namespace fastconv {

// The levels that a CPU and its operating system offer: bit i stands for Isa(i).
using IsaSet = std::uint32_t;

constexpr IsaSet isa_bit(Isa isa) noexcept {
  const auto index = static_cast<std::uint32_t>(isa);
  return index < 32 ? IsaSet{1} << index : 0;
}

// What this machine offers; detected once.
IsaSet detected_isas() noexcept;

// Is it one of AMD's Zen 2 to Zen 4? A vector of 512 bits takes the last one as long as two of 256.
bool is_zen() noexcept;

// resolve_isa as a pure function: `cap` is the text of FASTCONV_ISA, or null.
Status select_isa(Isa requested, IsaSet available, const char* cap, Isa& resolved) noexcept;

}  // namespace fastconv
