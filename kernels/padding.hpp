// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fastconv/descriptor.hpp>

namespace fastconv {
namespace {  // a copy per translation unit: kernels are compiled for different instruction sets

// The image row (or column) that the padded coordinate `i` reads, or -1 for a padding zero. `i` may
// lie up to the padding outside [0, size); output_size has checked that the mode can fill that.
inline std::int64_t source_index(std::int64_t i, std::int64_t size, PaddingMode mode) noexcept {
  if (i >= 0 && i < size) return i;
  switch (mode) {
    case PaddingMode::zeros:
      return -1;
    case PaddingMode::reflect:
      return i < 0 ? -i : 2 * (size - 1) - i;
    case PaddingMode::replicate:
      return i < 0 ? 0 : size - 1;
    case PaddingMode::circular:
      return i < 0 ? i + size : i - size;
  }
  return -1;
}

}  // namespace
}  // namespace fastconv
