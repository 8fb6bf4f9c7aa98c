// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <fastconv/descriptor.hpp>
#include <fastconv/view.hpp>

namespace fastconv::testing {

// Which end of a buffer touches an inaccessible page. The other end has one too, up to a page away.
// Where time counts guards may be read, and still not be written: lanes that a load masks off in an
// inaccessible page take 400 cycles (Xeon).
enum class Guard { before, after, readable };

// qemu reads every lane of a masked AVX load, also those that a CPU would not. Under it what guards
// may be read, and still not be written.
bool are_guards_readable() noexcept;

// Memory of its own pages between two inaccessible ones: an access outside faults.
class GuardedBuffer {
 public:
  GuardedBuffer(std::int64_t bytes, Guard guard);
  ~GuardedBuffer();
  GuardedBuffer(GuardedBuffer&& other) noexcept;
  GuardedBuffer& operator=(GuardedBuffer&& other) noexcept;

  void* data() const noexcept { return data_; }
  float* floats() const noexcept { return static_cast<float*>(data_); }
  std::int64_t bytes() const noexcept { return bytes_; }

 private:
  void* mapping_ = nullptr;
  std::size_t mapped_bytes_ = 0;
  void* data_ = nullptr;
  std::int64_t bytes_ = 0;
};

// How a tensor of four axes lies in memory. All but the first two leave gaps, or run backwards.
enum class Layout {
  nchw,
  nhwc,
  padded_rows,  // nchw, each row longer than it needs to be
  crop,         // rows and columns of a larger nchw image
  nhwc_crop,
  channel_slice,  // channels of a wider nchw tensor
  nhwc_slice,     // channels of a wider nhwc tensor
  every_second,   // every second column and row of an nchw image
  flipped,        // nchw with C, H and W running backwards
  nhwc_flipped,   // nhwc with N, H and C running backwards
  chwn,
  broadcast,      // one channel seen as many: stride 0, for sources only
  nhwc_broadcast  // one image seen as many
};

// The spelling above; null behind the last one.
const char* name(Layout layout) noexcept;
bool parse_layout(const char* text, Layout& layout) noexcept;

// True if no two elements share memory.
bool can_be_written(Layout layout) noexcept;

// The strides of `shape` in that layout.
Dims<4> strides_of(Layout layout, const Dims<4>& shape) noexcept;

// A tensor in guarded memory that begins with the view's lowest element and ends with its highest,
// so that what lies outside the view on either side cannot be touched. Every element starts as NaN.
class Tensor {
 public:
  Tensor(const Dims<4>& shape, const Dims<4>& strides, Guard guard = Guard::after);
  Tensor(Layout layout, const Dims<4>& shape, Guard guard = Guard::after)
      : Tensor(shape, strides_of(layout, shape), guard) {}

  const TensorView& view() const noexcept { return view_; }
  // With its extent stated.
  TensorView bounded() const noexcept {
    return view_.within(buffer_.floats(),
                        buffer_.bytes() / static_cast<std::int64_t>(sizeof(float)));
  }
  // The memory that the view does not reach is as the constructor left it.
  bool gaps_are_untouched() const;
  // The memory is that of a tensor of the same strides, gaps included.
  bool is_copy_of(const Tensor& other) const;
  // The memory is as the constructor left it.
  bool is_untouched() const;

 private:
  GuardedBuffer buffer_;
  TensorView view_;
};

// A number that depends on the seed and the index alone, the same on every machine.
std::uint64_t random_bits(std::uint64_t seed, std::uint64_t index) noexcept;

// The largest magnitude, 8 at most, for which every sum of `depth` products of integers and a bias
// is exact in float, whatever the order: all partial sums stay below 2^24.
std::int64_t integer_limit(std::int64_t depth) noexcept;

// Fills by logical position, so that a tensor has the same elements in every layout.
void fill_integers(const TensorView& view, std::uint64_t seed, std::int64_t limit = 8) noexcept;
void fill_floats(const TensorView& view, std::uint64_t seed) noexcept;  // uniform in [-1, 1)
void fill_with(const TensorView& view, float value) noexcept;

// The elements of `source` into `destination` of the same shape.
void copy(const ConstTensorView& source, const TensorView& destination) noexcept;

// A dense nchw copy with the padding spelled out.
Tensor padded_copy(const ConstTensorView& x, const Padding& padding, PaddingMode mode);

inline std::int64_t offset_of(const Dims<4>& strides, const Dims<4>& i) noexcept {
  return i[0] * strides[0] + i[1] * strides[1] + i[2] * strides[2] + i[3] * strides[3];
}

inline float& at(const TensorView& view, const Dims<4>& index) noexcept {
  return view.data[offset_of(view.strides, index)];
}

inline float at(const ConstTensorView& view, const Dims<4>& index) noexcept {
  return view.data[offset_of(view.strides, index)];
}

// Calls function(index) for each element, the last axis fastest.
template <class Function>
void for_each_index(Dims<4> shape, Function function) {
  Dims<4> i{};
  for (i[0] = 0; i[0] < shape[0]; ++i[0])
    for (i[1] = 0; i[1] < shape[1]; ++i[1])
      for (i[2] = 0; i[2] < shape[2]; ++i[2])
        for (i[3] = 0; i[3] < shape[3]; ++i[3]) function(i);
}

}  // namespace fastconv::testing
