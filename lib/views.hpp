// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fastconv/status.hpp>
#include <fastconv/view.hpp>

namespace fastconv {

// What every function asks of the views that it is given. `argument` is the name for the message.

// Sizes not negative; element count and offsets within 2^60 elements, so that any difference of two
// addresses fits 64 bits.
Status check_shape(const char* argument, const std::int64_t* shape, const std::int64_t* strides,
                   int rank) noexcept;

// Data not null, aligned to a float, and inside the stated extent. A view without elements passes.
Status check_memory(const char* argument, const float* data, const std::int64_t* shape,
                    const std::int64_t* strides, int rank, const float* extent_begin,
                    std::int64_t extent_size) noexcept;

// No two elements of a destination at one address.
Status check_no_self_overlap(const char* argument, const std::int64_t* shape,
                             const std::int64_t* strides, int rank) noexcept;

// No element of the destination is an element of the source.
Status check_disjoint(const char* source_name, const ConstTensorView& source,
                      const char* destination_name, const ConstTensorView& destination) noexcept;

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
