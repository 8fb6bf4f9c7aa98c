// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fastconv/status.hpp>

namespace fastconv {

// Instruction-set levels that kernels exist for. On one architecture a later level includes the
// earlier ones.
enum class Isa : std::int32_t {
  automatic = 0,  // the best level of this CPU, capped by the environment variable FASTCONV_ISA
  generic,        // the platform's baseline
  sse4,           // SSE4.2
  avx2,           // AVX2 and FMA
  avx512,         // AVX-512 F, CD, DQ, BW and VL
  neon,           // AArch64 Advanced SIMD
};

// "auto", "generic", "sse4", "avx2", "avx512", "neon".
const char* name(Isa isa) noexcept;

// Reads a name as spelled above into `isa`. An unknown name is invalid_argument.
Status parse_isa(const char* text, Isa& isa) noexcept;

// True if the CPU and the operating system can run this level. `automatic` is always true.
bool is_supported(Isa isa) noexcept;

// The level that `requested` stands for on this machine. An exact level is returned as it is, or
// refused as unsupported. `automatic` gives the best supported level that is not above
// FASTCONV_ISA, which is read from the environment at every call; a value of it that is no name of
// this platform is invalid_argument.
Status resolve_isa(Isa requested, Isa& resolved) noexcept;

}  // namespace fastconv
