// SPDX-License-Identifier: Apache-2.0
#include "peak.hpp"

#include <chrono>
#include <map>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

namespace fastconv::perf {
namespace {

struct Kernels {
  double flop_per_iteration;
  void (*multiply_add)(std::int64_t iterations);
  void (*copy)(const float* source, float* destination, std::int64_t elements);
};

// Values that the compiler cannot know, near 1 so that none ever becomes subnormal.
volatile float factor = 0.5F;
volatile float addend = 0.5F;
volatile float initial = 1.0F;  // read for each chain: known to be equal, they would be one
volatile float sink = 0.0F;

// The same two functions for each level. The target attribute needs functions of their own: vectors
// of a type that a function's caller lacks must not appear in templates shared by both.
//
// Chains: two units with a latency of four to seven need 8 to 14 independent ones, four units 16;
// one register each, and two for the operands. The empty asm keeps the compiler from making a call
// of memcpy, which picks other stores.
// NOLINTBEGIN(bugprone-macro-parentheses): some arguments are types
#define DEFINE_KERNELS(LEVEL, TARGET, VECTOR, LANES, CHAINS, SET, FMA, LOAD, STORE)          \
  TARGET void multiply_add_##LEVEL(std::int64_t iterations) {                                \
    const VECTOR a = SET(factor);                                                            \
    const VECTOR b = SET(addend);                                                            \
    VECTOR sum[CHAINS];                                                                      \
    UNROLL for (int i = 0; i < (CHAINS); ++i) sum[i] = SET(initial);                         \
    for (; iterations > 0; --iterations) {                                                   \
      UNROLL for (int i = 0; i < (CHAINS); ++i) sum[i] = FMA(sum[i], a, b);                  \
    }                                                                                        \
    float lanes[LANES];                                                                      \
    float total = 0.0F;                                                                      \
    for (int i = 0; i < (CHAINS); ++i) {                                                     \
      STORE(lanes, sum[i]);                                                                  \
      total += lanes[0];                                                                     \
    }                                                                                        \
    sink = total;                                                                            \
  }                                                                                          \
  TARGET void copy_##LEVEL(const float* source, float* destination, std::int64_t elements) { \
    std::int64_t i = 0;                                                                      \
    for (; i + 4 * (LANES) <= elements; i += 4 * (LANES)) {                                  \
      UNROLL for (int j = 0; j < 4 * (LANES); j += (LANES)) {                                \
        STORE(destination + i + j, LOAD(source + i + j));                                    \
      }                                                                                      \
      asm volatile("" ::: "memory");                                                         \
    }                                                                                        \
    for (; i < elements; ++i) destination[i] = source[i];                                    \
  }                                                                                          \
  constexpr Kernels k_##LEVEL{2.0 * (LANES) * (CHAINS), multiply_add_##LEVEL, copy_##LEVEL};
// NOLINTEND(bugprone-macro-parentheses)

#if defined(__x86_64__)
#define MULTIPLY_ADD_SSE(x, y, z) _mm_add_ps(_mm_mul_ps(x, y), z)
DEFINE_KERNELS(generic, , __m128, 4, 14, _mm_set1_ps, MULTIPLY_ADD_SSE, _mm_loadu_ps, _mm_storeu_ps)
DEFINE_KERNELS(avx2, __attribute__((target("avx2,fma"))), __m256, 8, 12, _mm256_set1_ps,
               _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_storeu_ps)
DEFINE_KERNELS(avx512, __attribute__((target("avx512f"))), __m512, 16, 24, _mm512_set1_ps,
               _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_storeu_ps)
#elif defined(__aarch64__)
#define MULTIPLY_ADD_NEON(x, y, z) vfmaq_f32(z, x, y)
DEFINE_KERNELS(generic, , float32x4_t, 4, 24, vdupq_n_f32, MULTIPLY_ADD_NEON, vld1q_f32, vst1q_f32)
#else
#define IDENTITY(x) (x)
#define MULTIPLY_ADD_SCALAR(x, y, z) ((x) * (y) + (z))
#define LOAD_SCALAR(x) (*(x))
#define STORE_SCALAR(x, y) (*(x) = (y))
DEFINE_KERNELS(generic, , float, 1, 12, IDENTITY, MULTIPLY_ADD_SCALAR, LOAD_SCALAR, STORE_SCALAR)
#endif

const Kernels& kernels(Isa isa) {
#if defined(__x86_64__)
  static const Isa best = [] {  // asking for it takes longer than a tiny copy
    Isa resolved = Isa::automatic;
    return resolve_isa(Isa::automatic, resolved).ok() ? resolved : Isa::generic;
  }();
  if (isa == Isa::automatic) isa = best;
  if (isa == Isa::avx512) return k_avx512;
  if (isa == Isa::avx2) return k_avx2;
#else
  static_cast<void>(isa);
#endif
  return k_generic;
}

double seconds_of(const Kernels& level, std::int64_t iterations) {
  const auto start = std::chrono::steady_clock::now();
  level.multiply_add(iterations);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Iterations that take a millisecond or a little more, found once for each level.
std::int64_t burst_iterations(Isa isa) {
  static std::map<const Kernels*, std::int64_t> found;
  const Kernels& level = kernels(isa);
  std::int64_t& iterations = found[&level];
  if (iterations == 0) {
    iterations = 1000;
    while (seconds_of(level, iterations) < 1e-3) iterations *= 2;
  }
  return iterations;
}

}  // namespace

double fma_burst_flop(Isa isa) {
  return kernels(isa).flop_per_iteration * static_cast<double>(burst_iterations(isa));
}

void run_fma_burst(Isa isa) { kernels(isa).multiply_add(burst_iterations(isa)); }

double fma_peak_gflops(Isa isa, double part) {
  const auto iterations =
      static_cast<std::int64_t>(part * static_cast<double>(burst_iterations(isa)));
  const Kernels& level = kernels(isa);
  return level.flop_per_iteration * static_cast<double>(iterations) /
         seconds_of(level, iterations) * 1e-9;
}

void copy_floats(Isa isa, const float* source, float* destination, std::int64_t elements) {
  kernels(isa).copy(source, destination, elements);
}

}  // namespace fastconv::perf
