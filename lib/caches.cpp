// SPDX-License-Identifier: Apache-2.0
#include "caches.hpp"

#include <unistd.h>

namespace fastconv {

CacheSizes detected_caches() noexcept {
  static const CacheSizes sizes = [] {
    CacheSizes found;
#if defined(_SC_LEVEL1_DCACHE_SIZE) && defined(_SC_LEVEL2_CACHE_SIZE)
    // Anything smaller than these is a hypervisor's fiction.
    if (const long l1 = sysconf(_SC_LEVEL1_DCACHE_SIZE); l1 >= (16 << 10)) found.l1 = l1;
    if (const long l2 = sysconf(_SC_LEVEL2_CACHE_SIZE); l2 >= (128 << 10)) found.l2 = l2;
#endif
    return found;
  }();
  return sizes;
}

}  // namespace fastconv
