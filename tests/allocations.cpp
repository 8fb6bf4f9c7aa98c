// SPDX-License-Identifier: Apache-2.0
#include "allocations.hpp"

#include <cerrno>
#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define FASTCONV_SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FASTCONV_SANITIZED
#endif

#if defined(__GLIBC__) && !defined(FASTCONV_SANITIZED)

namespace {
thread_local std::int64_t count = 0;
}

// The program's definitions win over the C library's, for operator new as well.
extern "C" {
void* __libc_malloc(std::size_t bytes);                           // NOLINT
void* __libc_calloc(std::size_t elements, std::size_t bytes);     // NOLINT
void* __libc_realloc(void* memory, std::size_t bytes);            // NOLINT
void* __libc_memalign(std::size_t alignment, std::size_t bytes);  // NOLINT

void* malloc(std::size_t bytes) {
  ++count;
  return __libc_malloc(bytes);
}

void* calloc(std::size_t elements, std::size_t bytes) {
  ++count;
  return __libc_calloc(elements, bytes);
}

void* realloc(void* memory, std::size_t bytes) {
  ++count;
  return __libc_realloc(memory, bytes);
}

void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  ++count;
  return __libc_memalign(alignment, bytes);
}

int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) {
  ++count;
  *memory = __libc_memalign(alignment, bytes);
  return *memory == nullptr ? ENOMEM : 0;
}
}

namespace fastconv::testing {
bool counts_allocations() noexcept { return true; }
std::int64_t allocations() noexcept { return count; }
}  // namespace fastconv::testing

#else

namespace fastconv::testing {
bool counts_allocations() noexcept { return false; }
std::int64_t allocations() noexcept { return 0; }
}  // namespace fastconv::testing

#endif
