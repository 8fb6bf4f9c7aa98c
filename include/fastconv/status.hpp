// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace fastconv {

enum class StatusCode : std::int32_t {
  ok = 0,
  invalid_argument,  // a value that no call accepts: null, negative, zero, unknown name
  shape_mismatch,    // two arguments that do not fit each other
  overflow,          // a size or an address that 64 bits cannot hold
  out_of_bounds,     // a view that reaches outside its stated extent
  overlap,           // an output that meets itself or an input, a workspace that meets any
  unsupported,       // legal, but not available: an ISA that this CPU lacks, an algorithm's limit
  workspace_too_small,  // the message says how many bytes are needed
  out_of_memory,
};

// Lower-case name of the code, as spelled above.
const char* name(StatusCode code) noexcept;

// Result of a call: ok, or a code and one sentence that names the argument and the numbers.
// Owns no heap memory. A call that does not return ok has not touched its outputs.
class [[nodiscard]] Status {
 public:
  static constexpr int kMessageCapacity = 240;

  Status() noexcept { message_[0] = '\0'; }
  // Copies `message`, cut to kMessageCapacity - 1 characters.
  Status(StatusCode code, const char* message) noexcept;
  Status(const Status& other) noexcept;
  Status& operator=(const Status& other) noexcept;

  bool ok() const noexcept { return code_ == StatusCode::ok; }
  StatusCode code() const noexcept { return code_; }
  const char* message() const noexcept { return message_; }

 private:
  StatusCode code_ = StatusCode::ok;
  char message_[kMessageCapacity];
};

}  // namespace fastconv
