// SPDX-License-Identifier: Apache-2.0
#include "tensors.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

namespace fastconv::testing {
namespace {

// A quiet NaN that no arithmetic produces, so that it also tells what nobody has written.
constexpr std::uint32_t kFiller = 0x7FC5A5A5U;

constexpr const char* kLayouts[] = {
    "nchw",         "nhwc",    "padded_rows",  "crop", "nhwc_crop", "channel_slice",  "nhwc_slice",
    "every_second", "flipped", "nhwc_flipped", "chwn", "broadcast", "nhwc_broadcast",
};

std::uint32_t bits_of(float value) noexcept {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

struct Span {
  std::int64_t lowest = 0;
  std::int64_t highest = -1;

  std::int64_t elements() const noexcept { return highest - lowest + 1; }
};

Span span_of(const Dims<4>& shape, const Dims<4>& strides) noexcept {
  Span span;
  for (const std::int64_t size : shape) {
    if (size == 0) return span;
  }
  span.highest = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    const std::int64_t offset = (shape[i] - 1) * strides[i];
    (offset < 0 ? span.lowest : span.highest) += offset;
  }
  return span;
}

Dims<4> dense_strides(const Dims<4>& s) noexcept {
  return {s[1] * s[2] * s[3], s[2] * s[3], s[3], 1};
}

Dims<4> dense_nhwc_strides(const Dims<4>& s) noexcept {
  return {s[1] * s[2] * s[3], 1, s[3] * s[1], s[1]};
}

// Where the padding takes its values from; outside [0, size) for zeros.
std::int64_t mirrored(std::int64_t i, std::int64_t size, PaddingMode mode) noexcept {
  switch (mode) {
    case PaddingMode::zeros:
      break;
    case PaddingMode::reflect:
      return size - 1 - std::abs(size - 1 - std::abs(i));
    case PaddingMode::replicate:
      return std::clamp<std::int64_t>(i, 0, size - 1);
    case PaddingMode::circular:
      return (i % size + size) % size;
  }
  return i;
}

}  // namespace

bool are_guards_readable() noexcept {
  static const bool readable = std::getenv("FASTCONV_TEST_READABLE_GUARDS") != nullptr;
  return readable;
}

GuardedBuffer::GuardedBuffer(std::int64_t bytes, Guard guard) : bytes_(bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const auto size = static_cast<std::size_t>(bytes);
  const std::size_t usable = (size + page - 1) / page * page;
  mapped_bytes_ = usable + 2 * page;
  const bool readable = guard == Guard::readable || are_guards_readable();
  const int writable = PROT_READ | PROT_WRITE;
  mapping_ = mmap(nullptr, mapped_bytes_, readable ? writable : PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* const begin = static_cast<char*>(mapping_) + page;
  bool made = mapping_ != MAP_FAILED;
  if (made && readable) {
    std::memset(mapping_, 0xFF, page);
    std::memset(begin + usable, 0xFF, page);
    made =
        mprotect(mapping_, page, PROT_READ) == 0 && mprotect(begin + usable, page, PROT_READ) == 0;
  } else if (made && usable > 0) {
    made = mprotect(begin, usable, writable) == 0;
  }
  if (!made) {
    std::perror("guarded buffer");
    std::abort();
  }
  data_ = begin + (guard == Guard::after ? usable - size : 0);
}

GuardedBuffer::~GuardedBuffer() {
  if (mapping_ != nullptr) munmap(mapping_, mapped_bytes_);
}

GuardedBuffer::GuardedBuffer(GuardedBuffer&& other) noexcept { *this = std::move(other); }

GuardedBuffer& GuardedBuffer::operator=(GuardedBuffer&& other) noexcept {
  std::swap(mapping_, other.mapping_);
  std::swap(mapped_bytes_, other.mapped_bytes_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

const char* name(Layout layout) noexcept {
  const auto index = static_cast<std::size_t>(layout);
  return index < std::size(kLayouts) ? kLayouts[index] : nullptr;
}

bool parse_layout(const char* text, Layout& layout) noexcept {
  for (std::size_t i = 0; i < std::size(kLayouts); ++i) {
    if (std::strcmp(kLayouts[i], text) == 0) {
      layout = static_cast<Layout>(i);
      return true;
    }
  }
  return false;
}

bool can_be_written(Layout layout) noexcept {
  return layout != Layout::broadcast && layout != Layout::nhwc_broadcast;
}

Dims<4> strides_of(Layout layout, const Dims<4>& shape) noexcept {
  const auto [n, c, h, w] = shape;
  switch (layout) {
    case Layout::nchw:
      break;
    case Layout::nhwc:
      return dense_nhwc_strides(shape);
    case Layout::padded_rows:
      return dense_strides({n, c, h, w + 3});
    case Layout::crop:
      return dense_strides({n, c, h + 2, w + 5});
    case Layout::nhwc_crop:
      return dense_nhwc_strides({n, c, h + 3, w + 2});
    case Layout::channel_slice:
      return dense_strides({n, c + 2, h, w});
    case Layout::nhwc_slice:
      return dense_nhwc_strides({n, c + 3, h, w});
    case Layout::every_second: {
      const Dims<4> s = dense_strides({n, c, 2 * h, 2 * w});
      return {s[0], s[1], 2 * s[2], 2};
    }
    case Layout::flipped: {
      const Dims<4> s = dense_strides(shape);
      return {s[0], -s[1], -s[2], -s[3]};
    }
    case Layout::nhwc_flipped: {
      const Dims<4> s = dense_nhwc_strides(shape);
      return {-s[0], -s[1], -s[2], s[3]};
    }
    case Layout::chwn:
      return {1, h * w * n, w * n, n};
    case Layout::broadcast:
      return {h * w, 0, w, 1};
    case Layout::nhwc_broadcast:
      return {0, 1, w * c, c};
  }
  return dense_strides(shape);
}

Tensor::Tensor(const Dims<4>& shape, const Dims<4>& strides, Guard guard)
    : buffer_(span_of(shape, strides).elements() * static_cast<std::int64_t>(sizeof(float)),
              guard) {
  const Span span = span_of(shape, strides);
  view_ = {buffer_.floats() - span.lowest, shape, strides, nullptr, -1};
  float filler = 0.0F;
  std::memcpy(&filler, &kFiller, sizeof filler);
  std::fill_n(buffer_.floats(), span.elements(), filler);
}

bool Tensor::gaps_are_untouched() const {
  const Dims<4>& strides = view_.strides;
  if (strides == dense_strides(view_.shape) || strides == dense_nhwc_strides(view_.shape)) {
    return true;  // there are none
  }
  const Span span = span_of(view_.shape, strides);
  std::vector<char> reached(static_cast<std::size_t>(span.elements()));
  for_each_index(view_.shape, [&](const Dims<4>& i) {
    reached[static_cast<std::size_t>(offset_of(strides, i) - span.lowest)] = 1;
  });
  for (std::size_t i = 0; i < reached.size(); ++i) {
    if (reached[i] == 0 && bits_of(buffer_.floats()[i]) != kFiller) return false;
  }
  return true;
}

bool Tensor::is_copy_of(const Tensor& other) const {
  const std::int64_t bytes = buffer_.bytes();
  return view_.strides == other.view_.strides && bytes == other.buffer_.bytes() &&
         (bytes == 0 ||
          std::memcmp(buffer_.data(), other.buffer_.data(), static_cast<std::size_t>(bytes)) == 0);
}

bool Tensor::is_untouched() const {
  for (std::int64_t i = 0; i < span_of(view_.shape, view_.strides).elements(); ++i) {
    if (bits_of(buffer_.floats()[i]) != kFiller) return false;
  }
  return true;
}

std::uint64_t random_bits(std::uint64_t seed, std::uint64_t index) noexcept {
  // A multiply-and-shift mixer over a counter, so that element i needs none before it.
  std::uint64_t z = seed * 0xD1342543DE82EF95U + (index + 1) * 0x9E3779B97F4A7C15U;
  z = (z ^ (z >> 32)) * 0xD6E8FEB86659FD93U;
  z = (z ^ (z >> 32)) * 0xD6E8FEB86659FD93U;
  return z ^ (z >> 32);
}

std::int64_t integer_limit(std::int64_t depth) noexcept {
  std::int64_t limit = 8;
  while (limit > 1 && depth * limit * limit + limit >= std::int64_t{1} << 24) --limit;
  return limit;
}

void fill_integers(const TensorView& view, std::uint64_t seed, std::int64_t limit) noexcept {
  std::uint64_t index = 0;
  const auto values = static_cast<std::uint64_t>(2 * limit + 1);
  for_each_index(view.shape, [&](const Dims<4>& i) {
    const auto value = static_cast<std::int64_t>((random_bits(seed, index++) >> 32) % values);
    at(view, i) = static_cast<float>(value - limit);
  });
}

void fill_floats(const TensorView& view, std::uint64_t seed) noexcept {
  std::uint64_t index = 0;
  for_each_index(view.shape, [&](const Dims<4>& i) {
    // 24 bits fill a float's significand, so the conversion is exact.
    const auto value = static_cast<std::int64_t>(random_bits(seed, index++) >> 40);
    at(view, i) = static_cast<float>(value - (1 << 23)) * 0x1p-23F;
  });
}

void fill_with(const TensorView& view, float value) noexcept {
  for_each_index(view.shape, [&](const Dims<4>& i) { at(view, i) = value; });
}

void copy(const ConstTensorView& source, const TensorView& destination) noexcept {
  for_each_index(source.shape, [&](const Dims<4>& i) { at(destination, i) = at(source, i); });
}

Tensor padded_copy(const ConstTensorView& x, const Padding& padding, PaddingMode mode) {
  const std::int64_t h = x.shape[2];
  const std::int64_t w = x.shape[3];
  Tensor result(Layout::nchw, {x.shape[0], x.shape[1], h + padding.top + padding.bottom,
                               w + padding.left + padding.right});
  for_each_index(result.view().shape, [&](const Dims<4>& i) {
    const std::int64_t row = mirrored(i[2] - padding.top, h, mode);
    const std::int64_t column = mirrored(i[3] - padding.left, w, mode);
    const bool inside = row >= 0 && row < h && column >= 0 && column < w;
    at(result.view(), i) = inside ? at(x, {i[0], i[1], row, column}) : 0.0F;
  });
  return result;
}

}  // namespace fastconv::testing
