// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

namespace fastconv::perf {

// Says on stderr what is going on: one line that replaces itself on a terminal, elsewhere a line
// whenever two seconds have passed without one.
class Progress {
 public:
  explicit Progress(bool quiet) noexcept;
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(const std::string& text);
  // Before anything else is printed.
  void clear();

 private:
  bool quiet_;
  bool terminal_;
  bool dirty_ = false;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace fastconv::perf
