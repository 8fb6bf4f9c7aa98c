// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fastconv/layer.hpp>

#include "integers.hpp"

namespace fastconv {

// Slots of scratch memory and a layer's arrays are aligned to this many bytes.
constexpr std::int64_t kAlignment = 64;

constexpr std::int64_t align_up(std::int64_t bytes) noexcept { return round_up(bytes, kAlignment); }

// The allocator's or the C library's. `purpose` is the name for the message.
Status allocate(const Allocator& allocator, const char* purpose, std::int64_t bytes,
                void*& memory) noexcept;
void deallocate(const Allocator& allocator, void* memory, std::int64_t bytes) noexcept;

}  // namespace fastconv
