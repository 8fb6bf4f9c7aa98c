// SPDX-License-Identifier: Apache-2.0
#include "denormals.hpp"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace fastconv {
namespace {

#if defined(__x86_64__)
constexpr std::uint64_t kFlush = 0x8040;  // MXCSR: flush results, take inputs as zero
std::uint64_t read_mode() noexcept { return _mm_getcsr(); }
void write_mode(std::uint64_t mode) noexcept { _mm_setcsr(static_cast<unsigned>(mode)); }
#elif defined(__aarch64__)
constexpr std::uint64_t kFlush = std::uint64_t{1} << 24;  // FPCR.FZ: inputs and results
std::uint64_t read_mode() noexcept {
  std::uint64_t mode = 0;
  asm volatile("mrs %0, fpcr" : "=r"(mode) : : "memory");
  return mode;
}
void write_mode(std::uint64_t mode) noexcept {
  asm volatile("msr fpcr, %0" : : "r"(mode) : "memory");
}
#else
constexpr std::uint64_t kFlush = 0;
std::uint64_t read_mode() noexcept { return 0; }
void write_mode(std::uint64_t) noexcept {}
#endif

}  // namespace

DenormalMode::DenormalMode(bool flush) noexcept : flush_(flush) {
  if (!flush_) return;
  saved_ = read_mode();
  write_mode(saved_ | kFlush);
}

DenormalMode::~DenormalMode() {
  if (flush_) write_mode(saved_);
}

}  // namespace fastconv
