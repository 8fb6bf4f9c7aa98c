// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace fastconv {

// Mostly by one, where a division is felt.
constexpr std::int64_t divide(std::int64_t a, std::int64_t b) noexcept {
  return b == 1 ? a : a / b;
}
constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) noexcept { return (a + b - 1) / b; }
constexpr std::int64_t round_up(std::int64_t a, std::int64_t b) noexcept {
  return ceil_div(a, b) * b;
}

// Cuts `size` into equal blocks of at most `limit`, each a multiple of `unit` but the last.
constexpr std::int64_t even_block(std::int64_t size, std::int64_t limit,
                                  std::int64_t unit) noexcept {
  const std::int64_t most = limit > unit ? limit / unit * unit : unit;
  const std::int64_t block = round_up(ceil_div(size, ceil_div(size, most)), unit);
  return block < round_up(size, unit) ? block : round_up(size, unit);
}

// False if the product exceeds 64 bits.
inline bool multiply(std::int64_t a, std::int64_t b, std::int64_t& product) noexcept {
  return !__builtin_mul_overflow(a, b, &product);
}

constexpr auto kFloat = static_cast<std::int64_t>(sizeof(float));

constexpr double real(std::int64_t value) noexcept { return static_cast<double>(value); }

}  // namespace fastconv
