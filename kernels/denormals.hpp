// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace fastconv {

// While it lives, the calling thread treats denormals as zero (if `flush`); its own mode returns
// afterwards. Nothing on processors where there is no such mode.
class DenormalMode {
 public:
  explicit DenormalMode(bool flush) noexcept;
  ~DenormalMode();
  DenormalMode(const DenormalMode&) = delete;
  DenormalMode& operator=(const DenormalMode&) = delete;

 private:
  bool flush_;
  std::uint64_t saved_ = 0;
};

}  // namespace fastconv
