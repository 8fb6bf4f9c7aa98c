// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fastconv/status.hpp>

namespace fastconv {

// A failed Status with a printf-formatted message.
__attribute__((format(printf, 2, 3))) Status fail(StatusCode code, const char* format,
                                                  ...) noexcept;

// For printf's %lld.
constexpr long long ll(std::int64_t value) noexcept { return static_cast<long long>(value); }

}  // namespace fastconv

// Hands a failed Status on to the caller.
#define FASTCONV_TRY(expression)                                                  \
  do {                                                                            \
    if (::fastconv::Status status_ = (expression); !status_.ok()) return status_; \
  } while (false)
