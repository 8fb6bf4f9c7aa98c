// SPDX-License-Identifier: Apache-2.0
#pragma once

// The bridge to vectors: the only includer of xsimd (8.1 to 14), and the kernels' intrinsics.
// A kernel is a template on an architecture below and reads as arithmetic:
//   using V = Vector<Arch>;  V::width, load, store, load_first, store_first, broadcast, fma …
//
// Everything here has internal linkage and xsimd's namespace is renamed per translation unit (see
// kernels/CMakeLists.txt), because inline functions with external linkage would be merged by the
// linker across files that are compiled for different instruction sets. FASTCONV_LEVEL (avx2 and
// so on) names the level in each function's symbol, which is what tests/audit checks.

#include <cstdint>

#if !defined(FASTCONV_PORTABLE_VECTORS)
#include <xsimd/xsimd.hpp>
#endif

#include "portable.hpp"
#include "shuffles.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

#if !defined(FASTCONV_PORTABLE_VECTORS)

template <class Arch>
struct Vector {
  using Native = xsimd::batch<float, Arch>;
  static constexpr int width = static_cast<int>(Native::size);
  static constexpr bool free_masks = width == 16;  // in registers of their own, as part of a load
#if defined(__AVX512F__) || defined(__ARM_NEON)
  static constexpr int registers = 32;
#else
  static constexpr int registers = 16;
#endif
  // Does a kernel finish a part of a vector by itself? Before AVX2 that is not worth the text.
#if defined(__FMA__) || defined(__ARM_NEON)
  static constexpr bool fuses = true;
  static constexpr bool finishes_partial = true;
#else
  static constexpr bool fuses = false;
  static constexpr bool finishes_partial = false;
#endif
  using Raw = typename Native::register_type;  // the compiler's own type
  Native value;

  static FASTCONV_INLINE Vector zero() noexcept { return {Native(0.0F)}; }
  static FASTCONV_INLINE Vector broadcast(float x) noexcept { return {Native(x)}; }
  static FASTCONV_INLINE Vector load(const float* p) noexcept {
    return {Native::load_unaligned(p)};
  }
  FASTCONV_INLINE void store(float* p) const noexcept { value.store_unaligned(p); }
  // Where a load is used more than once GCC makes it an operand of every use, and loads as often.
  static FASTCONV_INLINE Vector load_once(const float* p) noexcept { return load(p).held(); }
  static FASTCONV_INLINE Vector broadcast_once(const float* p) noexcept {
    return broadcast(*p).held();
  }
  FASTCONV_INLINE Vector held() const noexcept {
    Raw raw = value;
#if defined(__AVX512F__)
    asm("" : "+v"(raw));
#elif defined(__SSE2__)
    asm("" : "+x"(raw));
#endif
    return {Native(raw)};
  }

  // The lower half. A core that splits vectors takes two for one, others load three in the time of
  // two: few lanes are summed in halves, and as a rule finished so, for such cores close a port to
  // halves while a vector is under way.
  static constexpr bool has_halves = width > 8;
#if defined(__AVX512F__)
  struct Half {
    static constexpr int width = Vector::width / 2;
    static constexpr bool finishes_partial = true;
    static constexpr bool has_fma_lane = false;
    static constexpr bool has_fma_broadcast = false;
    static constexpr bool has_fma_in_place = false;
    __m256 value;

    static FASTCONV_INLINE Half zero() noexcept { return {_mm256_setzero_ps()}; }
    static FASTCONV_INLINE Half broadcast(float x) noexcept { return {_mm256_set1_ps(x)}; }
    static FASTCONV_INLINE Half load(const float* p) noexcept { return {_mm256_loadu_ps(p)}; }
    static FASTCONV_INLINE Half load_first(const float* p, int count) noexcept {
      return {_mm256_maskz_loadu_ps(static_cast<__mmask8>(first_mask(count)), p)};
    }
    FASTCONV_INLINE void store(float* p) const noexcept { _mm256_storeu_ps(p, value); }
    FASTCONV_INLINE void store_first(float* p, int count) const noexcept {
      _mm256_mask_storeu_ps(p, static_cast<__mmask8>(first_mask(count)), value);
    }
    friend FASTCONV_INLINE Half operator+(Half a, Half b) noexcept {
      return {_mm256_add_ps(a.value, b.value)};
    }
    static FASTCONV_INLINE Half fma(Half a, Half b, Half c) noexcept {
      return {_mm256_fmadd_ps(a.value, b.value, c.value)};
    }
    static FASTCONV_INLINE Half clamp(Half x, Half low, Half high) noexcept {
      return {_mm256_min_ps(high.value, _mm256_max_ps(low.value, x.value))};
    }
  };
  static FASTCONV_INLINE Vector widen(Half x) noexcept {
    return {Native(_mm512_zextps256_ps512(x.value))};
  }
#endif
  static FASTCONV_INLINE Vector widen(Vector x) noexcept { return x; }

  // The first `count` lanes (0 <= count <= width) and nothing behind them in memory; zeros follow.
  static FASTCONV_INLINE Vector load_first(const float* p, int count) noexcept {
#if defined(__AVX512F__)
    return {Native(_mm512_maskz_loadu_ps(first_mask(count), p))};
#elif defined(__AVX2__)
    return {Native(_mm256_maskload_ps(p, first_mask(count)))};
#else
    return load_lane_bits<Vector>(p, lane_bits(0, count));
#endif
  }
  FASTCONV_INLINE void store_first(float* p, int count) const noexcept {
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, first_mask(count), value);
#else
    // In pieces of 8, 4, 2 and 1: a masked store of AVX2's takes Zen 4 twelve cycles.
    if (count == width) return store(p);
#if defined(__ARM_NEON)
    float32x2_t rest = vget_low_f32(value);
    if ((count & 2) != 0) {
      vst1_f32(p, rest);
      rest = vget_high_f32(value);
      p += 2;
    }
    if ((count & 1) != 0) vst1_lane_f32(p, rest, 0);
#else
#if defined(__AVX2__)
    __m128 rest = _mm256_castps256_ps128(value);
    if ((count & 4) != 0) {
      _mm_storeu_ps(p, rest);
      rest = _mm256_extractf128_ps(value, 1);
      p += 4;
    }
#else
    __m128 rest = value;
#endif
    if ((count & 2) != 0) {
      _mm_storel_pi(reinterpret_cast<__m64*>(p), rest);
      rest = _mm_movehl_ps(rest, rest);
      p += 2;
    }
    if ((count & 1) != 0) _mm_store_ss(p, rest);
#endif
#endif
  }

  // Lanes [begin, end) of a vector whose lane 0 lies at p. Only these are read; p itself and the
  // rest may lie outside the tensor. The other lanes are zeros, or those of `others`.
#if defined(__AVX512F__)
  static constexpr bool has_masks = true;
  using Mask = __mmask16;
  static FASTCONV_INLINE Mask mask(int begin, int end) noexcept {
    return static_cast<Mask>((1U << end) - (1U << begin));
  }
  static FASTCONV_INLINE Vector load_lanes(const float* p, Mask mask) noexcept {
    return {Native(_mm512_maskz_loadu_ps(mask, p))};
  }
  static FASTCONV_INLINE Vector load_lanes(const float* p, Mask mask, Vector others) noexcept {
    return {Native(_mm512_mask_loadu_ps(others.value, mask, p))};
  }
#elif defined(__AVX2__)
  static constexpr bool has_masks = true;
  using Mask = __m256i;
  static FASTCONV_INLINE Mask mask(int begin, int end) noexcept {
    return _mm256_andnot_si256(first_mask(begin), first_mask(end));
  }
  static FASTCONV_INLINE Vector load_lanes(const float* p, Mask mask) noexcept {
    return {Native(_mm256_maskload_ps(p, mask))};
  }
  static FASTCONV_INLINE Vector load_lanes(const float* p, Mask mask, Vector others) noexcept {
    return {Native(
        _mm256_blendv_ps(others.value, _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask)))};
  }
#else
  static constexpr bool has_masks = false;
  using Mask = LaneBits;
  static FASTCONV_INLINE Mask mask(int begin, int end) noexcept { return lane_bits(begin, end); }
  static FASTCONV_INLINE Vector load_lanes(const float* p, Mask mask) noexcept {
    // Most are whole. 144 channels 3x3 at 56x56, depthwise, NCHW: 1335 -> 467 us (Xeon, SSE4).
    const bool is_whole = mask == lane_bits(0, width);
    if (__builtin_expect(static_cast<long>(is_whole), 1) != 0) return load(p);
    return load_lane_bits<Vector>(p, mask);
  }
#endif

  // p[0], p[2], p[4], …; reads 2 * width - 1 elements.
  static FASTCONV_INLINE Vector load_even(const float* p) noexcept {
    const Native low = Native::load_unaligned(p);
#if defined(__AVX512F__)
    // The second half starts one element early, so that nothing behind the last even one is read.
    const Lanes even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31);
    return permute({low}, load(p + width - 1), even);
#elif defined(__AVX2__)
    const __m256 high = _mm256_loadu_ps(p + width - 1);
    const __m256 mixed = _mm256_shuffle_ps(low, high, _MM_SHUFFLE(3, 1, 2, 0));
    return {Native(
        _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed), _MM_SHUFFLE(3, 1, 2, 0))))};
#elif defined(__SSE2__)
    return {Native(_mm_shuffle_ps(low, _mm_loadu_ps(p + width - 1), _MM_SHUFFLE(3, 1, 2, 0)))};
#elif defined(__ARM_NEON)
    const float32x4_t high = vld1q_f32(p + width - 1);
    return {Native(
        vcombine_f32(vget_low_f32(vuzp1q_f32(low, low)), vget_low_f32(vuzp2q_f32(high, high))))};
#endif
  }

  // Lane i of quad[c] is p[i * stride + c]: four neighbours of each of `width` pixels. Each part of
  // four lanes takes every fourth pixel from the part's first on, which transposing the four within
  // the parts puts in order.
  static FASTCONV_INLINE void load_quads(const float* p, std::int64_t stride,
                                         Vector (&quad)[4]) noexcept {
    FASTCONV_UNROLL
    for (int i = 0; i < 4; ++i) quad[i] = load_parts(p + i * stride, 4 * stride);
    transpose_parts(quad);
  }
  // The inverse; pixels are stored in ascending order.
  static FASTCONV_INLINE void store_quads(const Vector (&quad)[4], float* p,
                                          std::int64_t stride) noexcept {
    Vector pixels[4] = {quad[0], quad[1], quad[2], quad[3]};
    transpose_parts(pixels);
    FASTCONV_UNROLL
    for (int i = 0; i < width; ++i) pixels[i % 4].store_part(i / 4, p + i * stride);
  }

  // Lane i of the result is lane lane[i] of x, or of two vectors side by side.
#if defined(__AVX512F__)
  using Lanes = __m512i;
  static FASTCONV_INLINE Lanes lanes(const int* lane) noexcept { return _mm512_loadu_si512(lane); }
  static FASTCONV_INLINE Vector permute(Vector x, Lanes lanes) noexcept {
    return {Native(_mm512_permutexvar_ps(lanes, x.value))};
  }
  static FASTCONV_INLINE Vector permute(Vector a, Vector b, Lanes lanes,
                                        Mask kept = 0xffff) noexcept {
    return {Native(_mm512_maskz_permutex2var_ps(kept, a.value, lanes, b.value))};
  }
#elif defined(__AVX2__)
  using Lanes = __m256i;
  static FASTCONV_INLINE Lanes lanes(const int* lane) noexcept {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lane));
  }
  static FASTCONV_INLINE Vector permute(Vector x, Lanes lanes) noexcept {
    return {Native(_mm256_permutevar8x32_ps(x.value, lanes))};
  }
  // Within each half: of the lanes only what they are modulo four counts.
  static FASTCONV_INLINE Vector permute_halves(Vector x, Lanes lanes) noexcept {
    return {Native(_mm256_permutevar_ps(x.value, lanes))};
  }
#elif defined(__SSE4_1__)
  using Lanes = __m128i;  // byte i comes from byte lanes[i]
  static FASTCONV_INLINE Lanes lanes(const int* lane) noexcept {
    unsigned bytes[width];
    for (int i = 0; i < width; ++i) {
      bytes[i] = 0x03020100U + 0x04040404U * static_cast<unsigned>(lane[i]);
    }
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
  }
  static FASTCONV_INLINE Vector permute(Vector x, Lanes lanes) noexcept {
    return {Native(_mm_castsi128_ps(_mm_shuffle_epi8(_mm_castps_si128(x.value), lanes)))};
  }
#elif defined(__ARM_NEON)
  using Lanes = uint8x16_t;  // byte i comes from byte lanes[i]
  static FASTCONV_INLINE Lanes lanes(const int* lane) noexcept {
    unsigned bytes[width];
    for (int i = 0; i < width; ++i) {
      bytes[i] = 0x03020100U + 0x04040404U * static_cast<unsigned>(lane[i]);
    }
    return vreinterpretq_u8_u32(vld1q_u32(bytes));
  }
  static FASTCONV_INLINE Vector permute(Vector x, Lanes lanes) noexcept {
    return {Native(vreinterpretq_f32_u8(vqtbl1q_u8(vreinterpretq_u8_f32(x.value), lanes)))};
  }
#endif

  // NaN passes: x86's max and min return their second operand then, NEON's and xsimd's may not.
  static FASTCONV_INLINE Vector clamp(Vector x, Vector low, Vector high) noexcept {
#if defined(__AVX512F__)
    return {Native(_mm512_min_ps(high.value, _mm512_max_ps(low.value, x.value)))};
#elif defined(__AVX2__)
    return {Native(_mm256_min_ps(high.value, _mm256_max_ps(low.value, x.value)))};
#elif defined(__SSE2__)
    return {Native(_mm_min_ps(high.value, _mm_max_ps(low.value, x.value)))};
#else
    x.value = xsimd::select(x.value < low.value, low.value, x.value);
    return {xsimd::select(x.value > high.value, high.value, x.value)};
#endif
  }
  // x < 0 ? slope * x : x
  static FASTCONV_INLINE Vector leaky(Vector x, Vector slope) noexcept {
    return {xsimd::select(x.value < zero().value, slope.value * x.value, x.value)};
  }
  static FASTCONV_INLINE Vector exp(Vector x) noexcept { return {xsimd::exp(x.value)}; }
  static FASTCONV_INLINE Vector tanh(Vector x) noexcept { return {xsimd::tanh(x.value)}; }
  static FASTCONV_INLINE Vector erf(Vector x) noexcept { return {xsimd::erf(x.value)}; }

  // fma(broadcast(a[lane]), b, c) without the broadcast: NEON multiplies by an element.
#if defined(__ARM_NEON)
  static constexpr bool has_fma_lane = true;
  static FASTCONV_INLINE Vector fma_lane(Vector a, int lane, Vector b, Vector c) noexcept {
    switch (
        lane) {  // a constant once the caller's loop is unrolled, which the instruction asks for
      case 0:
        return {Native(vfmaq_laneq_f32(c.value, b.value, a.value, 0))};
      case 1:
        return {Native(vfmaq_laneq_f32(c.value, b.value, a.value, 1))};
      case 2:
        return {Native(vfmaq_laneq_f32(c.value, b.value, a.value, 2))};
      default:
        return {Native(vfmaq_laneq_f32(c.value, b.value, a.value, 3))};
    }
  }
#else
  static constexpr bool has_fma_lane = false;
#endif

  // fma(broadcast(*a), b, c) in one operation, which GCC makes two of if others multiply by *a.
  // Sanitizers do not see what it reads.
#if defined(__AVX512F__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  static constexpr bool has_fma_broadcast = true;
  static FASTCONV_INLINE Vector fma_broadcast(const float* a, Vector b, Vector c) noexcept {
    const Raw factor = b.value;
    Raw sum = c.value;
    asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(factor), "m"(*a));
    return {Native(sum)};
  }
#else
  static constexpr bool has_fma_broadcast = false;
#endif

  // c = fma(a, b, c) in c's own register: of sums that fill 16 of them GCC would move some about.
#if defined(__FMA__) && !defined(__AVX512F__)
  static constexpr bool has_fma_in_place = true;
  static FASTCONV_INLINE void fma_in_place(Vector a, Vector b, Vector& c) noexcept {
    const Raw factor = a.value;
    const Raw other = b.value;
    Raw sum = c.value;
    asm("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(factor), "x"(other));
    c.value = Native(sum);
  }
#else
  static constexpr bool has_fma_in_place = false;
#endif

  // a * b + c: rounded once where the level has it (AVX2, AVX-512, NEON), twice below.
  static FASTCONV_INLINE Vector fma(Vector a, Vector b, Vector c) noexcept {
#if defined(__AVX512F__) && XSIMD_VERSION_MAJOR < 11
    // xsimd 8.1 multiplies and adds here, which clang does not fuse.
    return {Native(_mm512_fmadd_ps(a.value, b.value, c.value))};
#else
    return {xsimd::fma(a.value, b.value, c.value)};
#endif
  }

 private:
  // Four lanes from each of p, p + stride, …
  static FASTCONV_INLINE Vector load_parts(const float* p,
                                           [[maybe_unused]] std::int64_t stride) noexcept {
#if defined(__AVX512F__)
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(p));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(p + stride), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(p + 2 * stride), 2);
    return {Native(_mm512_insertf32x4(v, _mm_loadu_ps(p + 3 * stride), 3))};
#elif defined(__AVX2__)
    const __m256 v = _mm256_castps128_ps256(_mm_loadu_ps(p));
    return {Native(_mm256_insertf128_ps(v, _mm_loadu_ps(p + stride), 1))};
#else
    return load(p);
#endif
  }
  FASTCONV_INLINE void store_part([[maybe_unused]] int part, float* p) const noexcept {
#if defined(__AVX512F__)
    switch (part) {  // a constant once the caller's loop is unrolled
      case 0:
        return _mm_storeu_ps(p, _mm512_castps512_ps128(value));
      case 1:
        return _mm_storeu_ps(p, _mm512_extractf32x4_ps(value, 1));
      case 2:
        return _mm_storeu_ps(p, _mm512_extractf32x4_ps(value, 2));
      default:
        return _mm_storeu_ps(p, _mm512_extractf32x4_ps(value, 3));
    }
#elif defined(__AVX2__)
    _mm_storeu_ps(p, part == 0 ? _mm256_castps256_ps128(value) : _mm256_extractf128_ps(value, 1));
#else
    store(p);
#endif
  }
#if defined(__AVX512F__)
  static FASTCONV_INLINE __mmask16 first_mask(int count) noexcept {
    return static_cast<__mmask16>((1U << count) - 1U);
  }
#elif defined(__AVX2__)
  static FASTCONV_INLINE __m256i first_mask(int count) noexcept {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
#endif
};

#endif

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
