// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace fastconv {

constexpr std::int64_t kPageBytes = 4096;

// Data caches of one core, in bytes.
struct CacheSizes {
  std::int64_t l1 = 32 << 10;
  std::int64_t l2 = 512 << 10;

  // Of L1: lines a page apart share a set.
  std::int64_t ways() const noexcept {
    const std::int64_t pages = l1 / kPageBytes;
    return pages < 8 ? 8 : pages > 12 ? 12 : pages;
  }
};

// This machine's as the C library tells them; the defaults above for what it, or a virtual machine,
// hides.
CacheSizes detected_caches() noexcept;

}  // namespace fastconv
