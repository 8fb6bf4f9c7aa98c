// SPDX-License-Identifier: Apache-2.0
#include "progress.hpp"

#include <unistd.h>

#include <cstdio>

namespace fastconv::perf {

Progress::Progress(bool quiet) noexcept
    : quiet_(quiet),
      terminal_(isatty(STDERR_FILENO) != 0),
      last_(std::chrono::steady_clock::now()) {}

void Progress::show(const std::string& text) {
  if (quiet_) return;
  const auto now = std::chrono::steady_clock::now();
  if (terminal_) {
    if (dirty_ && now - last_ < std::chrono::milliseconds(100)) return;
    std::fprintf(stderr, "\r\033[K%.100s", text.c_str());
    std::fflush(stderr);
    dirty_ = true;
  } else {
    if (now - last_ < std::chrono::seconds(2)) return;
    std::fprintf(stderr, "%s\n", text.c_str());
  }
  last_ = now;
}

void Progress::clear() {
  if (dirty_) std::fputs("\r\033[K", stderr);
  dirty_ = false;
  last_ = std::chrono::steady_clock::now();
}

}  // namespace fastconv::perf
