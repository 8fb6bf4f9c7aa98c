// SPDX-License-Identifier: Apache-2.0
#include <fastconv/version.h>
#include <cstdarg>
#include <cstdio>
#include <fastconv/status.hpp>

#include "error.hpp"

namespace fastconv {

const char* version() noexcept { return FASTCONV_VERSION_STRING; }

const char* name(StatusCode code) noexcept {
  switch (code) {
    case StatusCode::ok:
      return "ok";
    case StatusCode::invalid_argument:
      return "invalid_argument";
    case StatusCode::shape_mismatch:
      return "shape_mismatch";
    case StatusCode::overflow:
      return "overflow";
    case StatusCode::out_of_bounds:
      return "out_of_bounds";
    case StatusCode::overlap:
      return "overlap";
    case StatusCode::unsupported:
      return "unsupported";
    case StatusCode::workspace_too_small:
      return "workspace_too_small";
    case StatusCode::out_of_memory:
      return "out_of_memory";
  }
  return "unknown";
}

Status::Status(StatusCode code, const char* message) noexcept : code_(code) {
  std::snprintf(message_, sizeof message_, "%s", message);
}

// Not inlined: every caller hands one on, and most are ok, without a message.
Status::Status(const Status& other) noexcept { *this = other; }

Status& Status::operator=(const Status& other) noexcept {
  if (this == &other) return *this;
  code_ = other.code_;
  message_[0] = '\0';
  if (!other.ok()) std::snprintf(message_, sizeof message_, "%s", other.message_);
  return *this;
}

Status fail(StatusCode code, const char* format, ...) noexcept {
  char message[Status::kMessageCapacity];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return {code, message};
}

}  // namespace fastconv
