// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "simd.hpp"

namespace fastconv::FASTCONV_LEVEL {
namespace {

// The interpolation points: 0, infinity, and +-p for these values of p. Of four, the roots of 1/2
// and 2 make half the error of 1 and 2.
template <int Pairs>
struct WinogradPoints;
template <>
struct WinogradPoints<1> {
  static constexpr double point[] = {1.0};
  static constexpr double square[] = {1.0};
};
template <>
struct WinogradPoints<2> {
  static constexpr double point[] = {0.70710678118654752440, 1.41421356237309504880};
  static constexpr double square[] = {0.5, 2.0};
};
template <>
struct WinogradPoints<3> {
  static constexpr double point[] = {0.5, 1.0, 2.0};
  static constexpr double square[] = {0.25, 1.0, 4.0};
};

// The one-dimensional transforms of F(M, R), which computes M outputs of a filter of R taps from
// M + R - 1 inputs with as many products: y = A^T [(G g) * (B^T d)]. By the Cook-Toom construction
// (Blahut, Fast Algorithms for Signal Processing, section 5.2), transposed:
// with f(x) = x (x^2 - p_1^2) ... (x^2 - p_N^2), the row of B^T for a point p has the coefficients
// of f(x) / (x - p), that for infinity those of f; the row of G is the filter's polynomial at p
// over f'(p); A^T has the powers of p. Even and odd powers come apart, so p and -p share their
// halves.
//
// Arithmetic has fma(constant, b, c) and multiply(constant, b).
template <int M, int R, class Arithmetic>
class Winograd {
 public:
  static constexpr int kPoints = M + R - 1;

  // d becomes B^T d.
  template <class V>
  static FASTCONV_INLINE void input(V (&d)[kPoints]) noexcept {
    static constexpr Tables t;
    V result[kPoints];
    result[0] = d[kLast - 1];
    result[kLast] = d[kLast];
    FASTCONV_UNROLL
    for (int k = kPairs - 1; k >= 0; --k) {
      result[0] = Arithmetic::fma(t.all[k], d[2 * k], result[0]);
      result[kLast] = Arithmetic::fma(t.all[k], d[2 * k + 1], result[kLast]);
    }
    FASTCONV_UNROLL
    for (int i = 0; i < kPairs; ++i) {
      V even = d[kLast - 1], odd = d[kLast - 2];
      FASTCONV_UNROLL
      for (int k = kPairs - 2; k >= 0; --k) {
        even = Arithmetic::fma(t.rest[i][k], d[2 * k + 2], even);
        odd = Arithmetic::fma(t.rest[i][k], d[2 * k + 1], odd);
      }
      result[2 * i + 1] = Arithmetic::fma(Points::point[i], odd, even);
      result[2 * i + 2] = Arithmetic::fma(-Points::point[i], odd, even);
    }
    FASTCONV_UNROLL
    for (int i = 0; i < kPoints; ++i) d[i] = result[i];
  }

  // G g.
  template <class V>
  static FASTCONV_INLINE void weights(const V (&g)[R], V (&result)[kPoints]) noexcept {
    static constexpr Tables t;
    result[0] = Arithmetic::multiply(1.0 / t.all[0], g[0]);
    result[kLast] = g[R - 1];
    FASTCONV_UNROLL
    for (int i = 0; i < kPairs; ++i) {
      V even = g[R - 1], odd = g[R - 2];
      FASTCONV_UNROLL
      for (int k = R - 3; k >= 0; k -= 2) {
        even = Arithmetic::fma(Points::square[i], even, g[k]);
        if (k > 0) odd = Arithmetic::fma(Points::square[i], odd, g[k - 1]);
      }
      even = Arithmetic::multiply(1.0 / t.slope[i], even);
      result[2 * i + 1] = Arithmetic::fma(Points::point[i] / t.slope[i], odd, even);
      result[2 * i + 2] = Arithmetic::fma(-Points::point[i] / t.slope[i], odd, even);
    }
  }

  // The first M of m become A^T m.
  template <class V>
  static FASTCONV_INLINE void output(V (&m)[kPoints]) noexcept {
    static constexpr Tables t;
    V sum[kPairs], difference[kPairs];
    FASTCONV_UNROLL
    for (int j = 0; j < kPairs; ++j) {
      sum[j] = m[2 * j + 1] + m[2 * j + 2];
      difference[j] = m[2 * j + 1] - m[2 * j + 2];
    }
    V result[M];
    FASTCONV_UNROLL
    for (int i = 0; i < M; ++i) {
      V value = i == M - 1 ? m[kLast] : m[0];
      FASTCONV_UNROLL
      for (int j = 0; j < kPairs; ++j) {
        const V& half = i % 2 == 0 ? sum[j] : difference[j];
        if (i == 0) {
          value = value + half;
        } else if (i < M - 1 && j == 0) {
          value = Arithmetic::multiply(t.power[i][j], half);
        } else {
          value = Arithmetic::fma(t.power[i][j], half, value);
        }
      }
      result[i] = value;
    }
    FASTCONV_UNROLL
    for (int i = 0; i < M; ++i) m[i] = result[i];
  }

 private:
  static_assert(R % 2 == 1 && M % 2 == 0, "points come in pairs");
  static constexpr int kLast = kPoints - 1;
  static constexpr int kPairs = kPoints / 2 - 1;
  using Points = WinogradPoints<kPairs>;

  struct Tables {
    double all[kPairs + 1]{};       // f(x) / x, by powers of x^2
    double rest[kPairs][kPairs]{};  // f(x) / (x (x^2 - p_i^2))
    double slope[kPairs]{};         // f'(p_i) = f'(-p_i)
    double power[M][kPairs]{};      // of p_j

    constexpr Tables() noexcept {
      multiply_out(-1, all);
      for (int i = 0; i < kPairs; ++i) {
        multiply_out(i, rest[i]);
        slope[i] = 2 * Points::square[i];
        for (int j = 0; j < kPairs; ++j) {
          if (j != i) slope[i] *= Points::square[i] - Points::square[j];
        }
      }
      for (int j = 0; j < kPairs; ++j) {
        for (int i = 0; i < M; ++i) {
          power[i][j] = i == 0   ? 1.0
                        : i == 1 ? Points::point[j]
                                 : power[i - 2][j] * Points::square[j];
        }
      }
    }

    // The product of (z - p_j^2), j other than `without`.
    static constexpr void multiply_out(int without, double* coefficient) noexcept {
      coefficient[0] = 1.0;
      int degree = 0;
      for (int j = 0; j < kPairs; ++j) {
        if (j == without) continue;
        ++degree;
        coefficient[degree] = coefficient[degree - 1];
        for (int k = degree - 1; k > 0; --k) {
          coefficient[k] = coefficient[k - 1] - Points::square[j] * coefficient[k];
        }
        coefficient[0] *= -Points::square[j];
      }
    }
  };
};

}  // namespace
}  // namespace fastconv::FASTCONV_LEVEL
