// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <fastconv/descriptor.hpp>
#include <fastconv/isa.hpp>
#include <fastconv/status.hpp>
#include <fastconv/view.hpp>

namespace fastconv {

enum class Algorithm : std::int32_t {
  automatic = 0,   // the fastest that the options allow
  naive,           // the seven loops
  im2col,          // im2col by loops, then a plain matrix product
  strided_im2col,  // im2col gathered from the 6-D window view, then the same matrix product
  strided,         // sum over the 7-D broadcast view, read through its strides
  gemm,            // implicit GEMM: im2col packed block by block, register-tiled micro-kernels
};

// "auto", "naive", "im2col", "strided_im2col", "strided", "gemm".
const char* name(Algorithm algorithm) noexcept;
Status parse_algorithm(const char* text, Algorithm& algorithm) noexcept;

struct LayerOptions {
  Algorithm algorithm = Algorithm::automatic;
  Isa isa = Isa::automatic;  // an exact level that this CPU lacks is refused
};

// Text of fixed capacity, without heap memory.
struct Explanation {
  char text[1024];
};

// How one layer runs one problem: a small value without heap memory, made by Layer::plan, copied
// freely, reused for every call with the same shapes and strides.
class Plan {
 public:
  Plan() noexcept : state_{} {}  // belongs to no layer; Layer::run refuses it

  // Scratch memory that Layer::run needs with this plan.
  std::int64_t workspace_bytes() const noexcept;

  // One line each: the problem, the algorithm and why, blocks, workspace, what was refused and why.
  Explanation explain() const noexcept;

 private:
  friend class Layer;
  static constexpr std::size_t kStateBytes = 512;
  alignas(8) unsigned char state_[kStateBytes];
};

// What belongs to one call rather than to the layer.
struct RunOptions {
  // Scratch memory, any alignment; not shared with a call that runs at the same time.
  void* workspace = nullptr;
  std::int64_t workspace_bytes = 0;
};

// A convolution with its weights, packed once and immutable: any batch, height and width, from any
// number of threads at once.
class Layer {
 public:
  Layer() noexcept = default;  // empty: every call but create on it is refused
  ~Layer();
  Layer(Layer&& other) noexcept;
  Layer& operator=(Layer&& other) noexcept;
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  // Copies what it needs: weights of shape (K, C/groups, R, S) and any strides, and bias of K
  // elements or null; both may be freed afterwards. `layer` is replaced on success only.
  static Status create(const Conv2d& descriptor, const ConstTensorView& weights, const float* bias,
                       const LayerOptions& options, Layer& layer) noexcept;

  // The plan for x of shape (N, C, H, W) and y of shape (N, K, OH, OW) in the given strides; the
  // views' data is not looked at and may be null. Refuses shapes that do not fit the layer and each
  // other, and strides of y under which two elements share memory.
  Status plan(const ConstTensorView& x, const TensorView& y, Plan& plan) const noexcept;

  // Computes y. Shapes and strides of x and y are those of the plan. Refuses null data, views that
  // leave their stated extent, y sharing an element with x, and too small a workspace. Neither
  // allocates nor throws; y is untouched unless the result is ok. N = 0 is a no-op.
  Status run(const Plan& plan, const ConstTensorView& x, const TensorView& y,
             const RunOptions& options = {}) const noexcept;

  // plan and run with a workspace of its own, allocated for this call.
  Status run(const ConstTensorView& x, const TensorView& y) const noexcept;

 private:
  struct Packed;
  Packed* packed_ = nullptr;
};

// One call: creates a layer, runs it, forgets it. Channels and kernel size are those of x and of
// weights (K, C/groups, R, S); the rest is as in torch.nn.functional.conv2d.
Status conv2d(const ConstTensorView& x, const ConstTensorView& weights, const float* bias,
              const TensorView& y, Pair stride = 1, Padding padding = 0, Pair dilation = 1,
              std::int64_t groups = 1, PaddingMode padding_mode = PaddingMode::zeros,
              const LayerOptions& options = {}) noexcept;

}  // namespace fastconv
