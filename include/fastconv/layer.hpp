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
  automatic = 0,   // the fastest from gemm to winograd_f4, below, that the options allow
  naive,           // the seven loops
  im2col,          // im2col by loops, then a plain matrix product
  strided_im2col,  // im2col gathered from the 6-D window view, then the same matrix product
  strided,         // sum over the 7-D broadcast view, read through its strides
  gemm,            // implicit GEMM: im2col packed block by block, register-tiled micro-kernels
  direct,          // taps read at their own offsets, nothing packed by tap: few channels
  // Groups of one channel, or of a few that divide half a vector of the ISA, or with AVX-512 of any
  // number up to that, side by side in its lanes or, where columns are adjacent, along their rows;
  // or such as fill vectors, whose channels are adjacent, under dense 3x3 filters of stride 1, or 2
  // with AVX-512. Anything else is refused as unsupported, and so is what is neither and not padded
  // with zeros: what wide vectors take, narrow ones may not.
  depthwise,
  // Winograd's minimal filtering for 3x3 kernels of stride 1, or one that divides the dilation
  // where padding is zeros, in tiles of 2x2, 4x4 or 6x6 outputs: 2.25, 4 and 5.06 times fewer
  // multiplications, and from 16 channels on about 0.7, 2 and 8 times the rounding error of `gemm`
  // (of one channel 2, 6 and 26 times). f2 takes 5x5, too, in tiles of 2x2, and 1x5 and 5x1, in
  // tiles of 2; f4 takes 1x3 and 3x1 in tiles of 4: 2.78, 1.67 and 2 times fewer, about 1.5 times
  // the error.
  // Refused with `strict`, and as unsupported for other kernels and for dilations from 2^30 on, and
  // by `plan` where a stride above 1 is larger than the image.
  // `automatic` takes f4, or f2, where it wins. (Lavin and Gray, Fast Algorithms for Convolutional
  // Neural Networks, CVPR 2016.)
  winograd_f2,
  winograd_f4,
  winograd_f6,
};

// "auto", "naive", "im2col", "strided_im2col", "strided", "gemm",
// "direct", "depthwise", "winograd_f2", "winograd_f4", "winograd_f6".
const char* name(Algorithm algorithm) noexcept;
Status parse_algorithm(const char* text, Algorithm& algorithm) noexcept;

// Applied to every output element; the constants of the parameterised ones are Epilogue's.
//
// Error of y against the exact function of the float x that it is applied to: none, relu and clamp
// are exact, leaky_relu is rounded once, all others are within 3 * 2^-24 * max(|x|, |y|) + 2^-149.
// For sigmoid and tanh that is 3 units in the last place of y or less wherever y is not denormal
// and |x| is at most 80. NaN stays NaN. Infinities give the formula's value: NaN for hardswish,
// silu and both gelus of -infinity, which multiply it by 0.
enum class Activation : std::int32_t {
  none = 0,
  relu,         // max(x, 0)
  clamp,        // min(max(x, alpha), beta); ReLU6 is clamp with 0 and 6
  leaky_relu,   // x < 0 ? alpha * x : x
  hardsigmoid,  // clamp(x / 6 + 1/2, 0, 1)
  hardswish,    // x * hardsigmoid(x)
  sigmoid,      // 1 / (1 + exp(-x))
  silu,         // x * sigmoid(x)
  tanh,
  gelu_erf,   // x / 2 * (1 + erf(x / sqrt(2)))
  gelu_tanh,  // x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))
};

// "none", "relu", "clamp", "leaky_relu", "hardsigmoid", "hardswish", "sigmoid", "silu", "tanh",
// "gelu_erf", "gelu_tanh".
const char* name(Activation activation) noexcept;
Status parse_activation(const char* text, Activation& activation) noexcept;

// What happens to a sum before its one store: y = activation(sum + bias + residual), or
// y = activation(sum + bias) + residual.
struct Epilogue {
  Activation activation = Activation::none;
  float alpha = 0.0F;  // of clamp, below beta or refused; leaky_relu's slope, of which 0 is a relu
                       // of all but -infinity
  float beta = 0.0F;   // of clamp; ReLU6 is clamp with 0 and 6: relu has no use for either
  bool residual_last = false;  // after the activation rather than before it
};

// Where memory comes from, instead of the C library: a layer's, and the workspace of a `run` that
// is given none. `allocate` returns memory aligned to `alignment` bytes (a power of two), or null,
// which becomes out_of_memory. Both outlive the layer, may be called by all threads that run it,
// and must not throw.
struct Allocator {
  void* (*allocate)(void* context, std::size_t bytes, std::size_t alignment) = nullptr;
  void (*deallocate)(void* context, void* memory, std::size_t bytes) = nullptr;
  void* context = nullptr;
};

struct LayerOptions {
  Algorithm algorithm = Algorithm::automatic;
  Isa isa = Isa::automatic;  // an exact level that this CPU lacks is refused
  Epilogue epilogue{};
  // Only algorithms that sum as the definition does: no Winograd, which makes NaN of more than the
  // definition does. An infinity or NaN of x may make a NaN of every output in a tile that reads
  // it, one of the weights of every output of its channel. Overflow may come early: with |x| from
  // 1e37 on (f6: 1e36), weights from 2e37 on, sums within a factor of 10 (100) of it.
  bool strict = false;
  // Treat denormal inputs and results as zero during run, and restore the caller's mode.
  bool flush_denormals = false;
  Allocator allocator{};
};

// Text of fixed capacity, without heap memory.
struct Explanation {
  char text[1024];
};

// How one layer runs one problem: a small value without heap memory, made by Layer::plan, copied
// freely, reused for every call with the same shapes and strides.
class Plan {
 public:
  Plan() noexcept;  // belongs to no layer; Layer::run refuses it

  // Scratch memory that Layer::run needs with this plan; for more threads it may be less.
  std::int64_t workspace_bytes() const noexcept;

  // What will compute it; never `automatic` if it comes from Layer::plan.
  Algorithm algorithm() const noexcept;

  // Tasks that run at the same time, at most: what parallel_for may pass as slot is below this. At
  // most the threads planned for; 1 where the work is too small to share.
  int slots() const noexcept;

  // One line each: the problem, the algorithm and why, blocks, workspace, what was refused and why.
  Explanation explain() const noexcept;

 private:
  friend class Layer;
  static constexpr std::size_t kStateBytes = 1280;
  alignas(8) unsigned char state_[kStateBytes];
};

// The caller's threads. `run` calls body(data, task, slot) exactly once for every task in
// [0, tasks), in any order, on any threads, one after the other if it likes, and returns when all
// have ended. Calls that overlap in time have different slots, each in [0, slots). No task waits
// for another. It must not throw; a slot or task out of range, and tasks left out or run twice, are
// noticed when others have run, the one refusal that may leave y written.
// fastconv/thread_pool.hpp and fastconv/openmp.hpp have ready ones.
struct ParallelFor {
  using Body = void (*)(void* data, std::int64_t task, int slot);
  void (*run)(void* context, std::int64_t tasks, int slots, Body body, void* data) = nullptr;
  void* context = nullptr;
};

// What belongs to one call rather than to the layer.
struct RunOptions {
  // Scratch memory, any alignment; not shared with a call that runs at the same time, which is not
  // checked. Of it, the plan's workspace_bytes() are used.
  void* workspace = nullptr;
  std::int64_t workspace_bytes = 0;
  ParallelFor parallel_for{};  // none: the calling thread alone, as for a plan made for one
  // Added to the result, unless it is left as it is: the shape of y, any strides, also zero. It may
  // be y itself, element for element (y += convolution), but share no other elements with y.
  ConstTensorView residual{};
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

  // The plan for x of shape (N, C, H, W) and y of shape (N, K, OH, OW) in the given strides, run by
  // up to `threads` threads; the views' data is not looked at and may be null. Refuses shapes that
  // do not fit the layer and each other, and strides of y under which two elements share memory.
  // The result of run has the same bits whatever the number of threads and the batch size.
  Status plan(const ConstTensorView& x, const TensorView& y, Plan& plan,
              int threads = 1) const noexcept;

  // Computes y. Shapes and strides of x and y are those of the plan. Refuses null data, views that
  // leave their stated extent, y sharing an element with x or, but for y += convolution, with the
  // residual, and a workspace that is too small or shares what is used of it with any element of
  // these (the gaps of a view are free). Neither allocates nor throws; y is untouched unless the
  // result is ok. N = 0 is a no-op.
  Status run(const Plan& plan, const ConstTensorView& x, const TensorView& y,
             const RunOptions& options = {}) const noexcept;

  // Memory that it holds: packed weights, and those that are transformed beforehand.
  std::int64_t bytes() const noexcept;

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

// Batch normalisation y = gamma * (x - mean) / sqrt(variance + epsilon) + beta behind a
// convolution, folded into its weights of shape (K, C/groups, R, S) and any strides and its bias of
// K elements (zeros if it has none), both changed in place. All but epsilon have K elements; gamma
// and beta may be null (1 and 0). Neither output shares memory with another argument, but an input
// that is as a whole the bias.
Status fold_batch_norm(const View<float, 4>& weights, float* bias, const float* gamma,
                       const float* beta, const float* mean, const float* variance,
                       float epsilon = 1e-5F) noexcept;

}  // namespace fastconv
