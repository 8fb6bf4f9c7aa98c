// SPDX-License-Identifier: Apache-2.0
// Winograd's transforms in exact arithmetic.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <numeric>

#define FASTCONV_LEVEL testing
#define FASTCONV_PORTABLE_VECTORS
#include "../kernels/winograd_transforms.hpp"

namespace fastconv::testing {
namespace {

struct Rational {
  std::int64_t over = 0, under = 1;

  static Rational of(std::int64_t over, std::int64_t under) {
    const std::int64_t divisor = std::gcd(over, under);
    return {over / divisor, under / divisor};
  }
  friend Rational operator+(Rational a, Rational b) {
    return of(a.over * b.under + b.over * a.under, a.under * b.under);
  }
  friend Rational operator*(Rational a, Rational b) {
    return of(a.over * b.over, a.under * b.under);
  }
};

// one + root * sqrt(2).
struct Exact {
  Rational one, root;

  friend Exact operator+(const Exact& a, const Exact& b) {
    return {a.one + b.one, a.root + b.root};
  }
  friend Exact operator*(const Exact& a, const Exact& b) {
    return {a.one * b.one + Rational{2, 1} * a.root * b.root, a.one * b.root + a.root * b.one};
  }
  friend Exact operator-(const Exact& a, const Exact& b) { return a + Exact{{-1, 1}, {0, 1}} * b; }
  bool is(std::int64_t value) const {
    return one.over == value && one.under == 1 && root.over == 0;
  }
};

Exact integer(std::int64_t value) { return {{value, 1}, {0, 1}}; }

// What a constant of the transforms stands for: the only multiple of 1/1440 or sqrt(2)/1440 that
// near.
Exact exact(double constant) {
  const double rational = 1440.0 * constant, irrational = 1440.0 * constant / std::sqrt(2.0);
  const auto is_whole = [](double value) { return std::fabs(value - std::round(value)) < 1e-9; };
  REQUIRE(is_whole(rational) != (is_whole(irrational) && constant != 0.0));
  const bool whole = is_whole(rational);
  const Rational value = Rational::of(std::llround(whole ? rational : irrational), 1440);
  return whole ? Exact{value, {0, 1}} : Exact{{0, 1}, value};
}

struct ExactArithmetic {
  static Exact fma(double a, const Exact& b, const Exact& c) { return exact(a) * b + c; }
  static Exact multiply(double a, const Exact& b) { return exact(a) * b; }
};

// Both sides are linear in the inputs and in the filter, so units of both are all.
template <int M, int R>
void check_transforms() {
  using T = Winograd<M, R, ExactArithmetic>;
  constexpr int P = M + R - 1;
  for (int tap = 0; tap < R; ++tap) {
    Exact g[R], u[P];
    for (int i = 0; i < R; ++i) g[i] = integer(i == tap);
    T::weights(g, u);
    for (int at = 0; at < P; ++at) {
      Exact d[P];
      for (int i = 0; i < P; ++i) d[i] = integer(i == at);
      T::input(d);
      for (int i = 0; i < P; ++i) d[i] = u[i] * d[i];
      T::output(d);
      for (int i = 0; i < M; ++i) CHECK(d[i].is(i + tap == at ? 1 : 0));
    }
  }
}

}  // namespace

TEST_SUITE("winograd") {
  TEST_CASE("the transforms are those of the definition, exactly") {
    check_transforms<2, 3>();
    check_transforms<4, 3>();
    check_transforms<6, 3>();
    check_transforms<2, 5>();
  }
}

}  // namespace fastconv::testing
