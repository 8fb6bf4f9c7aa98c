// SPDX-License-Identifier: Apache-2.0
#include "isa.hpp"

#include <cstdlib>

#include "names.hpp"

namespace fastconv {
namespace {

static_assert(sizeof(void*) == 8, "fastconv is for 64-bit CPUs");

constexpr Named<Isa> kNames[] = {
    {Isa::automatic, "auto"}, {Isa::generic, "generic"}, {Isa::sse4, "sse4"},
    {Isa::avx2, "avx2"},      {Isa::avx512, "avx512"},   {Isa::neon, "neon"},
};

// This architecture's levels, best first.
#if defined(__aarch64__)
constexpr Isa kLevels[] = {Isa::neon, Isa::generic};
#else
constexpr Isa kLevels[] = {Isa::avx512, Isa::avx2, Isa::sse4, Isa::generic};
#endif

IsaSet detect() noexcept {
  IsaSet set = isa_bit(Isa::generic);
#if defined(__x86_64__)
  // The compiler's run-time checks XCR0 too, so a level that the operating system does not save is
  // not reported.
  __builtin_cpu_init();
  const bool sse4 = __builtin_cpu_supports("sse4.2");
  const bool avx2 = sse4 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  if (sse4) set |= isa_bit(Isa::sse4);
  if (avx2) set |= isa_bit(Isa::avx2);
  if (avx512) set |= isa_bit(Isa::avx512);
#elif defined(__aarch64__)
  set |= isa_bit(Isa::neon);  // part of the architecture's baseline
#endif
  return set;
}

}  // namespace

const char* name(Isa isa) noexcept { return find_name(kNames, isa); }

Status parse_isa(const char* text, Isa& isa) noexcept {
  return find_value(kNames, "isa", text, isa);
}

IsaSet detected_isas() noexcept {
  static const IsaSet set = detect();
  return set;
}

bool is_zen() noexcept {
#if defined(__x86_64__)
  static const bool zen = [] {
    __builtin_cpu_init();
    return __builtin_cpu_is("amdfam19h") || __builtin_cpu_is("znver2");
  }();
  return zen;
#else
  return false;
#endif
}

bool is_supported(Isa isa) noexcept {
  return isa == Isa::automatic || (detected_isas() & isa_bit(isa)) != 0;
}

Status select_isa(Isa requested, IsaSet available, const char* cap, Isa& resolved) noexcept {
  if (requested != Isa::automatic) {
    if (!has_name(kNames, requested)) {
      return fail(StatusCode::invalid_argument, "isa: %d is no level", static_cast<int>(requested));
    }
    if ((available & isa_bit(requested)) == 0) {
      bool known = false;
      for (const Isa level : kLevels) known = known || level == requested;
      return fail(StatusCode::unsupported,
                  known ? "isa: this CPU or its operating system lacks %s"
                        : "isa: %s is no level of this architecture",
                  name(requested));
    }
    resolved = requested;
    return {};
  }
  Isa highest = Isa::automatic;
  if (cap != nullptr && cap[0] != '\0') {
    FASTCONV_TRY(find_value(kNames, "FASTCONV_ISA", cap, highest));
  }
  bool below_cap = highest == Isa::automatic;
  for (const Isa level : kLevels) {
    below_cap = below_cap || level == highest;
    if (below_cap && (available & isa_bit(level)) != 0) {
      resolved = level;
      return {};
    }
  }
  return fail(StatusCode::invalid_argument, "FASTCONV_ISA: %s is no level of this architecture",
              name(highest));
}

Status resolve_isa(Isa requested, Isa& resolved) noexcept {
  return select_isa(requested, detected_isas(), std::getenv("FASTCONV_ISA"), resolved);
}

}  // namespace fastconv
