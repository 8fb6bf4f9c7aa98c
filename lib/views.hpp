// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <fastconv/status.hpp>
#include <fastconv/view.hpp>

namespace fastconv {

// What every function asks of the views that it is given. `argument` is the name for the message.

// Sizes not negative; element count and offsets within 2^60 elements, so that any difference of two
// addresses fits 64 bits.
Status check_shape(const char* argument, const std::int64_t* shape, const std::int64_t* strides,
                   int rank) noexcept;

// Data not null, aligned to a float, and inside the stated extent, of a view that check_shape has
// passed. One without elements passes.
Status check_memory(const char* argument, const float* data, const std::int64_t* shape,
                    const std::int64_t* strides, int rank, const float* extent_begin,
                    std::int64_t extent_size) noexcept;

// No two elements of a destination at one address.
Status check_no_self_overlap(const char* argument, const std::int64_t* shape,
                             const std::int64_t* strides, int rank) noexcept;

// Where the elements of a view that check_shape has passed lie, or a stretch of bytes. Inline, as a
// run of a tiny image takes 100 ns.
struct Footprint {
  Footprint(const char* name, const ConstTensorView& v) noexcept : argument(name), view(&v) {
    std::int64_t lowest = 0, highest = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      if (v.shape[i] == 0) return;
      const std::int64_t offset = (v.shape[i] - 1) * v.strides[i];
      lowest += std::min<std::int64_t>(offset, 0);
      highest += std::max<std::int64_t>(offset, 0);
    }
    begin = address_of(v.data) + lowest * kFloatBytes;
    end = address_of(v.data) + (highest + 1) * kFloatBytes;
  }
  Footprint(const char* name, const void* memory, std::int64_t bytes) noexcept
      : argument(name), begin(bytes > 0 ? address_of(memory) : 0), end(begin + bytes) {}

  static std::int64_t address_of(const void* pointer) noexcept {
    return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(pointer));
  }

  static constexpr auto kFloatBytes = static_cast<std::int64_t>(sizeof(float));

  const char* argument;
  const ConstTensorView* view = nullptr;
  std::int64_t begin = 0, end = 0;  // addresses; what is empty has none
};

// The rest of check_disjoint, for ranges of addresses that meet.
Status check_interleaved(const Footprint& source, const Footprint& destination) noexcept;

// No element of the destination is an element of the source.
inline Status check_disjoint(const Footprint& source, const Footprint& destination) noexcept {
  if (source.end <= destination.begin || destination.end <= source.begin) return {};
  return check_interleaved(source, destination);
}

template <std::size_t Rank>
Status check_shape(const char* argument, const Dims<Rank>& shape,
                   const Dims<Rank>& strides) noexcept {
  return check_shape(argument, shape.data(), strides.data(), static_cast<int>(Rank));
}

template <class T, std::size_t Rank>
Status check_memory(const char* argument, const View<T, Rank>& v) noexcept {
  return check_memory(argument, v.data, v.shape.data(), v.strides.data(), static_cast<int>(Rank),
                      v.extent_begin, v.extent_size);
}

template <class T, std::size_t Rank>
Status check_no_self_overlap(const char* argument, const View<T, Rank>& v) noexcept {
  return check_no_self_overlap(argument, v.shape.data(), v.strides.data(), static_cast<int>(Rank));
}

}  // namespace fastconv
