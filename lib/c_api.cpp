// SPDX-License-Identifier: Apache-2.0
#include <fastconv/fastconv.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fastconv/fastconv.hpp>
#include <new>
#include <type_traits>
#include <utility>

#include "error.hpp"
#include "memory.hpp"

// What a handle points to.
struct fastconv_layer {
  fastconv::Layer layer;
  fastconv::Allocator allocator;
};

namespace fastconv {
namespace {

static_assert(sizeof(fastconv_status::message) == Status::kMessageCapacity);
static_assert(sizeof(fastconv_explanation) == sizeof(Explanation));
static_assert(sizeof(Plan) <= sizeof(fastconv_plan) && alignof(Plan) <= alignof(fastconv_plan) &&
              std::is_trivially_copyable_v<Plan>);
static_assert(std::is_same_v<ParallelFor::Body, fastconv_body>);

#define SAME(c_name, cpp_name) static_assert((c_name) == static_cast<int>(cpp_name), #c_name)
SAME(FASTCONV_OK, StatusCode::ok);
SAME(FASTCONV_INVALID_ARGUMENT, StatusCode::invalid_argument);
SAME(FASTCONV_SHAPE_MISMATCH, StatusCode::shape_mismatch);
SAME(FASTCONV_OVERFLOW, StatusCode::overflow);
SAME(FASTCONV_OUT_OF_BOUNDS, StatusCode::out_of_bounds);
SAME(FASTCONV_OVERLAP, StatusCode::overlap);
SAME(FASTCONV_UNSUPPORTED, StatusCode::unsupported);
SAME(FASTCONV_WORKSPACE_TOO_SMALL, StatusCode::workspace_too_small);
SAME(FASTCONV_OUT_OF_MEMORY, StatusCode::out_of_memory);
SAME(FASTCONV_ALGORITHM_AUTO, Algorithm::automatic);
SAME(FASTCONV_ALGORITHM_NAIVE, Algorithm::naive);
SAME(FASTCONV_ALGORITHM_IM2COL, Algorithm::im2col);
SAME(FASTCONV_ALGORITHM_STRIDED_IM2COL, Algorithm::strided_im2col);
SAME(FASTCONV_ALGORITHM_STRIDED, Algorithm::strided);
SAME(FASTCONV_ALGORITHM_GEMM, Algorithm::gemm);
SAME(FASTCONV_ALGORITHM_DIRECT, Algorithm::direct);
SAME(FASTCONV_ALGORITHM_DEPTHWISE, Algorithm::depthwise);
SAME(FASTCONV_ALGORITHM_WINOGRAD_F2, Algorithm::winograd_f2);
SAME(FASTCONV_ALGORITHM_WINOGRAD_F4, Algorithm::winograd_f4);
SAME(FASTCONV_ALGORITHM_WINOGRAD_F6, Algorithm::winograd_f6);
SAME(FASTCONV_ISA_AUTO, Isa::automatic);
SAME(FASTCONV_ISA_GENERIC, Isa::generic);
SAME(FASTCONV_ISA_SSE4, Isa::sse4);
SAME(FASTCONV_ISA_AVX2, Isa::avx2);
SAME(FASTCONV_ISA_AVX512, Isa::avx512);
SAME(FASTCONV_ISA_NEON, Isa::neon);
SAME(FASTCONV_PADDING_ZEROS, PaddingMode::zeros);
SAME(FASTCONV_PADDING_REFLECT, PaddingMode::reflect);
SAME(FASTCONV_PADDING_REPLICATE, PaddingMode::replicate);
SAME(FASTCONV_PADDING_CIRCULAR, PaddingMode::circular);
SAME(FASTCONV_ACTIVATION_NONE, Activation::none);
SAME(FASTCONV_ACTIVATION_RELU, Activation::relu);
SAME(FASTCONV_ACTIVATION_CLAMP, Activation::clamp);
SAME(FASTCONV_ACTIVATION_LEAKY_RELU, Activation::leaky_relu);
SAME(FASTCONV_ACTIVATION_HARDSIGMOID, Activation::hardsigmoid);
SAME(FASTCONV_ACTIVATION_HARDSWISH, Activation::hardswish);
SAME(FASTCONV_ACTIVATION_SIGMOID, Activation::sigmoid);
SAME(FASTCONV_ACTIVATION_SILU, Activation::silu);
SAME(FASTCONV_ACTIVATION_TANH, Activation::tanh);
SAME(FASTCONV_ACTIVATION_GELU_ERF, Activation::gelu_erf);
SAME(FASTCONV_ACTIVATION_GELU_TANH, Activation::gelu_tanh);
#undef SAME

std::int32_t report(const Status& result, fastconv_status* status) noexcept {
  const auto code = static_cast<std::int32_t>(result.code());
  if (status != nullptr) {
    status->code = code;
    status->message[0] = '\0';
    if (!result.ok()) {
      std::snprintf(status->message, sizeof status->message, "%s", result.message());
    }
  }
  return code;
}

Status check_pointer(const char* argument, const void* pointer) noexcept {
  if (pointer != nullptr) return {};
  return fail(StatusCode::invalid_argument, "%s: is null", argument);
}

// Enums and their names, in both directions.
template <class Enum>
std::int32_t parse(Status (*parser)(const char*, Enum&) noexcept, const char* text,
                   std::int32_t* value, fastconv_status* status) noexcept {
  Enum read{};
  Status result = check_pointer("destination", value);
  if (result.ok()) result = parser(text, read);
  if (result.ok()) *value = static_cast<std::int32_t>(read);
  return report(result, status);
}

template <std::size_t Rank>
Dims<Rank> dims(const std::int64_t (&values)[Rank]) noexcept {
  Dims<Rank> result{};
  std::copy(values, values + Rank, result.begin());
  return result;
}

// From C.
template <class T, std::size_t Rank, class CView>
View<T, Rank> view_of(const CView& v) noexcept {
  return {v.data, dims(v.shape), dims(v.strides), v.extent_begin,
          v.extent_begin != nullptr ? v.extent_size : -1};
}
TensorView view(const fastconv_view& v) noexcept { return view_of<float, 4>(v); }
ConstTensorView view(const fastconv_const_view& v) noexcept { return view_of<const float, 4>(v); }

// To C.
template <class CView, class T, std::size_t Rank>
CView c_view(const View<T, Rank>& v) noexcept {
  CView result{};
  result.data = v.data;
  std::copy(v.shape.begin(), v.shape.end(), result.shape);
  std::copy(v.strides.begin(), v.strides.end(), result.strides);
  result.extent_begin = v.extent_begin;
  result.extent_size = v.extent_begin != nullptr ? v.extent_size : 0;
  return result;
}

Padding padding_of(const fastconv_padding& p) noexcept {
  return {p.top, p.bottom, p.left, p.right};
}

Conv2d descriptor_of(const fastconv_descriptor& d) noexcept {
  Conv2d result;
  result.in_channels = d.in_channels;
  result.out_channels = d.out_channels;
  result.kernel_size = {d.kernel_h, d.kernel_w};
  result.stride = {d.stride_h, d.stride_w};
  result.padding = padding_of(d.padding);
  result.dilation = {d.dilation_h, d.dilation_w};
  result.groups = d.groups;
  result.padding_mode = static_cast<PaddingMode>(d.padding_mode);
  return result;
}

LayerOptions options_of(const fastconv_layer_options* o) noexcept {
  LayerOptions result;
  if (o == nullptr) return result;
  result.algorithm = static_cast<Algorithm>(o->algorithm);
  result.isa = static_cast<Isa>(o->isa);
  result.epilogue = {static_cast<Activation>(o->epilogue.activation), o->epilogue.alpha,
                     o->epilogue.beta, o->epilogue.residual_last};
  result.strict = o->strict;
  result.flush_denormals = o->flush_denormals;
  result.allocator = {o->allocator.allocate, o->allocator.deallocate, o->allocator.context};
  return result;
}

Plan plan_of(const fastconv_plan* plan) noexcept {
  Plan result;
  constexpr fastconv_plan none{};
  if (plan != nullptr && std::memcmp(plan, &none, sizeof none) != 0) {
    std::memcpy(static_cast<void*>(&result), plan, sizeof result);
  }
  return result;
}

Status create(const fastconv_descriptor* descriptor, const fastconv_const_view* weights,
              const float* bias, const fastconv_layer_options* options,
              fastconv_layer** layer) noexcept {
  FASTCONV_TRY(check_pointer("descriptor", descriptor));
  FASTCONV_TRY(check_pointer("weights", weights));
  FASTCONV_TRY(check_pointer("layer", layer));
  const LayerOptions all = options_of(options);
  Layer made;
  FASTCONV_TRY(Layer::create(descriptor_of(*descriptor), view(*weights), bias, all, made));
  void* memory = nullptr;
  FASTCONV_TRY(allocate(all.allocator, "layer", sizeof(fastconv_layer), memory));
  *layer = new (memory) fastconv_layer{std::move(made), all.allocator};
  return {};
}

Status plan(const fastconv_layer* layer, const fastconv_const_view* x, const fastconv_view* y,
            int threads, fastconv_plan* out) noexcept {
  FASTCONV_TRY(check_pointer("layer", layer));
  FASTCONV_TRY(check_pointer("x", x));
  FASTCONV_TRY(check_pointer("y", y));
  FASTCONV_TRY(check_pointer("plan", out));
  Plan made;
  FASTCONV_TRY(layer->layer.plan(view(*x), view(*y), made, threads));
  std::memset(out, 0, sizeof *out);
  std::memcpy(out, &made, sizeof made);
  return {};
}

Status run(const fastconv_layer* layer, const fastconv_plan* plan, const fastconv_const_view* x,
           const fastconv_view* y, const fastconv_run_options* options) noexcept {
  FASTCONV_TRY(check_pointer("layer", layer));
  FASTCONV_TRY(check_pointer("plan", plan));
  FASTCONV_TRY(check_pointer("x", x));
  FASTCONV_TRY(check_pointer("y", y));
  RunOptions all;
  if (options != nullptr) {
    all.workspace = options->workspace;
    all.workspace_bytes = options->workspace_bytes;
    all.parallel_for = {options->parallel_for.run, options->parallel_for.context};
    all.residual = view(options->residual);
  }
  return layer->layer.run(plan_of(plan), view(*x), view(*y), all);
}

Status run_once(const fastconv_layer* layer, const fastconv_const_view* x,
                const fastconv_view* y) noexcept {
  FASTCONV_TRY(check_pointer("layer", layer));
  FASTCONV_TRY(check_pointer("x", x));
  FASTCONV_TRY(check_pointer("y", y));
  return layer->layer.run(view(*x), view(*y));
}

Status convolve(const fastconv_descriptor* descriptor, const fastconv_const_view* x,
                const fastconv_const_view* weights, const float* bias, const fastconv_view* y,
                const fastconv_layer_options* options) noexcept {
  FASTCONV_TRY(check_pointer("descriptor", descriptor));
  FASTCONV_TRY(check_pointer("x", x));
  FASTCONV_TRY(check_pointer("weights", weights));
  FASTCONV_TRY(check_pointer("y", y));
  Layer layer;
  FASTCONV_TRY(
      Layer::create(descriptor_of(*descriptor), view(*weights), bias, options_of(options), layer));
  return layer.run(view(*x), view(*y));
}

using MatrixFunction = Status (*)(const ConstTensorView&, const Window&,
                                  const View<float, 3>&) noexcept;
Status fill_matrix(MatrixFunction function, const fastconv_const_view* x,
                   const fastconv_descriptor* descriptor,
                   const fastconv_matrix_view* matrix) noexcept {
  FASTCONV_TRY(check_pointer("x", x));
  FASTCONV_TRY(check_pointer("descriptor", descriptor));
  FASTCONV_TRY(check_pointer("matrix", matrix));
  return function(view(*x), descriptor_of(*descriptor).window(), view_of<float, 3>(*matrix));
}

}  // namespace
}  // namespace fastconv

using namespace fastconv;  // NOLINT: this file is the way from one to the other

extern "C" {

const char* fastconv_code_name(int32_t code) { return name(static_cast<StatusCode>(code)); }
const char* fastconv_version(void) { return version(); }

const char* fastconv_algorithm_name(int32_t algorithm) {
  return name(static_cast<Algorithm>(algorithm));
}
const char* fastconv_isa_name(int32_t isa) { return name(static_cast<Isa>(isa)); }
const char* fastconv_padding_mode_name(int32_t mode) {
  return name(static_cast<PaddingMode>(mode));
}
const char* fastconv_activation_name(int32_t activation) {
  return name(static_cast<Activation>(activation));
}
int32_t fastconv_parse_algorithm(const char* text, int32_t* algorithm, fastconv_status* status) {
  return parse(parse_algorithm, text, algorithm, status);
}
int32_t fastconv_parse_isa(const char* text, int32_t* isa, fastconv_status* status) {
  return parse(parse_isa, text, isa, status);
}
int32_t fastconv_parse_padding_mode(const char* text, int32_t* mode, fastconv_status* status) {
  return parse(parse_padding_mode, text, mode, status);
}
int32_t fastconv_parse_activation(const char* text, int32_t* activation, fastconv_status* status) {
  return parse(parse_activation, text, activation, status);
}

bool fastconv_isa_is_supported(int32_t isa) { return is_supported(static_cast<Isa>(isa)); }
int32_t fastconv_resolve_isa(int32_t requested, int32_t* resolved, fastconv_status* status) {
  Isa isa{};
  Status result = check_pointer("resolved", resolved);
  if (result.ok()) result = resolve_isa(static_cast<Isa>(requested), isa);
  if (result.ok()) *resolved = static_cast<int32_t>(isa);
  return report(result, status);
}

fastconv_view fastconv_nchw(float* data, int64_t n, int64_t c, int64_t h, int64_t w) {
  return c_view<fastconv_view>(nchw(data, n, c, h, w));
}
fastconv_view fastconv_nhwc(float* data, int64_t n, int64_t c, int64_t h, int64_t w) {
  return c_view<fastconv_view>(nhwc(data, n, c, h, w));
}
fastconv_const_view fastconv_const_nchw(const float* data, int64_t n, int64_t c, int64_t h,
                                        int64_t w) {
  return c_view<fastconv_const_view>(nchw(data, n, c, h, w));
}
fastconv_const_view fastconv_const_nhwc(const float* data, int64_t n, int64_t c, int64_t h,
                                        int64_t w) {
  return c_view<fastconv_const_view>(nhwc(data, n, c, h, w));
}
fastconv_const_view fastconv_oihw(const float* data, int64_t k, int64_t c, int64_t r, int64_t s) {
  return c_view<fastconv_const_view>(oihw(data, k, c, r, s));
}
fastconv_const_view fastconv_ohwi(const float* data, int64_t k, int64_t c, int64_t r, int64_t s) {
  return c_view<fastconv_const_view>(ohwi(data, k, c, r, s));
}
fastconv_const_view fastconv_hwio(const float* data, int64_t k, int64_t c, int64_t r, int64_t s) {
  return c_view<fastconv_const_view>(hwio(data, k, c, r, s));
}
fastconv_const_view fastconv_read_only(fastconv_view v) {
  return c_view<fastconv_const_view>(view(v));
}
fastconv_view fastconv_slice(fastconv_view v, int axis, int64_t begin, int64_t count,
                             int64_t step) {
  return c_view<fastconv_view>(view(v).slice(static_cast<std::size_t>(axis), begin, count, step));
}
fastconv_const_view fastconv_const_slice(fastconv_const_view v, int axis, int64_t begin,
                                         int64_t count, int64_t step) {
  return c_view<fastconv_const_view>(
      view(v).slice(static_cast<std::size_t>(axis), begin, count, step));
}

fastconv_descriptor fastconv_descriptor_default(void) {
  fastconv_descriptor result{};
  result.stride_h = result.stride_w = result.dilation_h = result.dilation_w = result.groups = 1;
  return result;
}

int32_t fastconv_output_size(const fastconv_descriptor* descriptor, int64_t height, int64_t width,
                             int64_t* output_height, int64_t* output_width,
                             fastconv_status* status) {
  Status result = check_pointer("descriptor", descriptor);
  if (result.ok()) result = check_pointer("output_height", output_height);
  if (result.ok()) result = check_pointer("output_width", output_width);
  Pair output;
  if (result.ok()) {
    result = output_size(descriptor_of(*descriptor).window(), height, width, output);
  }
  if (result.ok()) {
    *output_height = output.h;
    *output_width = output.w;
  }
  return report(result, status);
}

int32_t fastconv_same_padding(const fastconv_descriptor* descriptor, int64_t height, int64_t width,
                              bool extra_before, fastconv_padding* padding,
                              fastconv_status* status) {
  Status result = check_pointer("descriptor", descriptor);
  if (result.ok()) result = check_pointer("padding", padding);
  Padding found;
  if (result.ok()) {
    const Window window = descriptor_of(*descriptor).window();
    result = same_padding(window.kernel_size, window.stride, window.dilation, height, width, found,
                          extra_before);
  }
  if (result.ok()) *padding = {found.top, found.bottom, found.left, found.right};
  return report(result, status);
}

int32_t fastconv_layer_create(const fastconv_descriptor* descriptor,
                              const fastconv_const_view* weights, const float* bias,
                              const fastconv_layer_options* options, fastconv_layer** layer,
                              fastconv_status* status) {
  return report(create(descriptor, weights, bias, options, layer), status);
}

void fastconv_layer_destroy(fastconv_layer* layer) {
  if (layer == nullptr) return;
  const Allocator allocator = layer->allocator;
  layer->~fastconv_layer();
  deallocate(allocator, layer, sizeof *layer);
}

int64_t fastconv_layer_bytes(const fastconv_layer* layer) {
  return layer != nullptr ? layer->layer.bytes() : 0;
}

int32_t fastconv_layer_plan(const fastconv_layer* layer, const fastconv_const_view* x,
                            const fastconv_view* y, int threads, fastconv_plan* out,
                            fastconv_status* status) {
  return report(plan(layer, x, y, threads, out), status);
}

int64_t fastconv_plan_workspace_bytes(const fastconv_plan* plan) {
  return plan_of(plan).workspace_bytes();
}
int32_t fastconv_plan_algorithm(const fastconv_plan* plan) {
  return static_cast<int32_t>(plan_of(plan).algorithm());
}
int fastconv_plan_slots(const fastconv_plan* plan) { return plan_of(plan).slots(); }
fastconv_explanation fastconv_plan_explain(const fastconv_plan* plan) {
  const Explanation explanation = plan_of(plan).explain();
  fastconv_explanation result;
  std::memcpy(result.text, explanation.text, sizeof result.text);
  return result;
}

int32_t fastconv_layer_run(const fastconv_layer* layer, const fastconv_plan* plan,
                           const fastconv_const_view* x, const fastconv_view* y,
                           const fastconv_run_options* options, fastconv_status* status) {
  return report(run(layer, plan, x, y, options), status);
}

int32_t fastconv_layer_run_once(const fastconv_layer* layer, const fastconv_const_view* x,
                                const fastconv_view* y, fastconv_status* status) {
  return report(run_once(layer, x, y), status);
}

int32_t fastconv_conv2d(const fastconv_descriptor* descriptor, const fastconv_const_view* x,
                        const fastconv_const_view* weights, const float* bias,
                        const fastconv_view* y, const fastconv_layer_options* options,
                        fastconv_status* status) {
  return report(convolve(descriptor, x, weights, bias, y, options), status);
}

int32_t fastconv_fold_batch_norm(const fastconv_view* weights, float* bias, const float* gamma,
                                 const float* beta, const float* mean, const float* variance,
                                 float epsilon, fastconv_status* status) {
  Status result = check_pointer("weights", weights);
  if (result.ok()) {
    result = fold_batch_norm(view(*weights), bias, gamma, beta, mean, variance, epsilon);
  }
  return report(result, status);
}

int32_t fastconv_im2col(const fastconv_const_view* x, const fastconv_descriptor* descriptor,
                        const fastconv_matrix_view* matrix, fastconv_status* status) {
  return report(fill_matrix(im2col, x, descriptor, matrix), status);
}
int32_t fastconv_strided_im2col(const fastconv_const_view* x, const fastconv_descriptor* descriptor,
                                const fastconv_matrix_view* matrix, fastconv_status* status) {
  return report(fill_matrix(strided_im2col, x, descriptor, matrix), status);
}
int32_t fastconv_window_view(const fastconv_const_view* x, const fastconv_descriptor* descriptor,
                             fastconv_windows_view* windows, fastconv_status* status) {
  Status result = check_pointer("x", x);
  if (result.ok()) result = check_pointer("descriptor", descriptor);
  if (result.ok()) result = check_pointer("windows", windows);
  View<const float, 6> found;
  if (result.ok()) result = window_view(view(*x), descriptor_of(*descriptor).window(), found);
  if (result.ok()) *windows = c_view<fastconv_windows_view>(found);
  return report(result, status);
}

}  // extern "C"
