// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace fastconv::testing {

// Whether this build counts: sanitizers keep malloc to themselves, and other C libraries than glibc
// have no second name to call it by.
bool counts_allocations() noexcept;

// Calls so far of malloc, calloc, realloc, aligned_alloc and posix_memalign, which operator new
// ends in, by this thread.
std::int64_t allocations() noexcept;

}  // namespace fastconv::testing
