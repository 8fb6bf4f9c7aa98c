// SPDX-License-Identifier: Apache-2.0
#include "onednn.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <utility>

namespace fastconv::testing {
namespace {

using dnnl::memory;
using Forward = dnnl::convolution_forward;

Forward::primitive_desc describe(const Problem& p, Layout layout, bool with_bias,
                                 const dnnl::engine& engine,
                                 const dnnl::primitive_attr& attributes) {
  const Conv2d& c = p.conv;
  constexpr auto f32 = memory::data_type::f32;
  const auto tag = layout == Layout::nhwc ? memory::format_tag::nhwc : memory::format_tag::nchw;
  const memory::desc x({p.mb, c.in_channels, p.ih, p.iw}, f32, tag);
  const memory::desc y({p.mb, c.out_channels, p.oh, p.ow}, f32, tag);
  const std::int64_t k = c.out_channels / c.groups;
  const std::int64_t c_per_group = c.in_channels / c.groups;
  const memory::dims filters =
      c.groups == 1 ? memory::dims{k, c_per_group, c.kernel_size.h, c.kernel_size.w}
                    : memory::dims{c.groups, k, c_per_group, c.kernel_size.h, c.kernel_size.w};
  const memory::desc weights(filters, f32, memory::format_tag::any);
  const memory::desc bias =
      with_bias ? memory::desc({c.out_channels}, f32, memory::format_tag::a) : memory::desc();
  const memory::dims strides{c.stride.h, c.stride.w};
  const memory::dims dilations{c.dilation.h - 1, c.dilation.w - 1};  // oneDNN counts from 0
  const memory::dims before{c.padding.top, c.padding.left};
  const memory::dims behind{c.padding.bottom, c.padding.right};
  constexpr auto kind = dnnl::prop_kind::forward_inference;
  constexpr auto direct = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
  return {engine, kind,    direct,    x,      weights, bias,
          y,      strides, dilations, before, behind,  attributes};
#else
  return {
      {kind, direct, x, weights, bias, y, strides, dilations, before, behind}, attributes, engine};
#endif
}

// What the post-ops are in oneDNN's algorithms; more than one where it has no single one.
dnnl::post_ops describe(const PostOps& p) {
  dnnl::post_ops result;
  const auto add = [&](dnnl::algorithm algorithm, float alpha = 0.0F, float beta = 0.0F) {
#if DNNL_VERSION_MAJOR >= 3
    result.append_eltwise(algorithm, alpha, beta);
#else
    result.append_eltwise(1.0F, algorithm, alpha, beta);
#endif
  };
  const Epilogue& e = p.epilogue;
  if (p.sum && !e.residual_last) result.append_sum();
  switch (e.activation) {
    case Activation::none:
      break;
    case Activation::relu:
      add(dnnl::algorithm::eltwise_relu);
      break;
    case Activation::clamp:
      add(dnnl::algorithm::eltwise_clip, e.alpha, e.beta);
      break;
    case Activation::leaky_relu:
      add(dnnl::algorithm::eltwise_relu, e.alpha);
      break;
    case Activation::hardsigmoid:
      add(dnnl::algorithm::eltwise_linear, 1.0F / 6.0F, 0.5F);
      add(dnnl::algorithm::eltwise_clip, 0.0F, 1.0F);
      break;
    case Activation::hardswish:
      add(dnnl::algorithm::eltwise_hardswish, 1.0F / 6.0F, 0.5F);
      break;
    case Activation::sigmoid:
      add(dnnl::algorithm::eltwise_logistic);
      break;
    case Activation::silu:
      add(dnnl::algorithm::eltwise_swish, 1.0F);
      break;
    case Activation::tanh:
      add(dnnl::algorithm::eltwise_tanh);
      break;
    case Activation::gelu_erf:
      add(dnnl::algorithm::eltwise_gelu_erf);
      break;
    case Activation::gelu_tanh:
      add(dnnl::algorithm::eltwise_gelu_tanh);
      break;
  }
  if (p.sum && e.residual_last) result.append_sum();
  return result;
}

// The plain layout that the caller's weights are in.
memory::desc dense_weights(const Problem& p) {
  const Conv2d& c = p.conv;
  const std::int64_t k = c.out_channels / c.groups;
  const std::int64_t c_per_group = c.in_channels / c.groups;
  if (c.groups == 1) {
    return {{k, c_per_group, c.kernel_size.h, c.kernel_size.w},
            memory::data_type::f32,
            memory::format_tag::oihw};
  }
  return {{c.groups, k, c_per_group, c.kernel_size.h, c.kernel_size.w},
          memory::data_type::f32,
          memory::format_tag::goihw};
}

// How many threads the next primitive of this thread uses. Found at run time, so that nothing here
// depends on which OpenMP library oneDNN was built with.
std::string set_threads(int threads) {
  if (threads < 1) return "oneDNN: " + std::to_string(threads) + " threads";
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
  using Setter = void (*)(int);
  static const auto setter = reinterpret_cast<Setter>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
  if (setter == nullptr) return "oneDNN: omp_set_num_threads is not to be found";
  setter(threads);
  return {};
#elif DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_SEQ
  return threads == 1 ? std::string() : "oneDNN: this build of it is sequential";
#else
  return "oneDNN: this build of it has no OpenMP, its number of threads cannot be set";
#endif
}

std::string failure(const char* what, const std::exception& error) {
  return std::string("oneDNN: ") + what + ": " + error.what();
}

}  // namespace

struct OneDnn::State {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  Forward primitive;
  std::unordered_map<int, memory> arguments;
  bool empty = false;  // a batch of 0
  int threads = 1;
  double creation_seconds = 0.0;
  std::string implementation;
};

OneDnn::OneDnn() noexcept = default;
OneDnn::~OneDnn() = default;
OneDnn::OneDnn(OneDnn&& other) noexcept = default;
OneDnn& OneDnn::operator=(OneDnn&& other) noexcept = default;

std::string OneDnn::create(const Problem& problem, Layout layout, const float* weights,
                           const float* bias, int threads, const PostOps& post_ops) noexcept {
  try {
    state_.reset();
    if (layout != Layout::nchw && layout != Layout::nhwc) {
      return "oneDNN: the layout is neither nchw nor nhwc";
    }
    if (problem.conv.padding_mode != PaddingMode::zeros) {
      return std::string("oneDNN: does not pad by ") + fastconv::name(problem.conv.padding_mode);
    }
    std::string refusal = set_threads(threads);
    if (!refusal.empty()) return refusal;
    // So that the second layer of one shape takes as long to create as the first.
    dnnl::set_primitive_cache_capacity(0);

    auto state = std::make_unique<State>();
    state->threads = threads;
    state->empty = problem.mb == 0;
    if (state->empty) {
      state->implementation = "none";
      state_ = std::move(state);
      return {};
    }
    const auto start = std::chrono::steady_clock::now();
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    attributes.set_post_ops(describe(post_ops));
    const auto descriptor = describe(problem, layout, bias != nullptr, state->engine, attributes);
    state->primitive = Forward(descriptor);

    // oneDNN takes what it only reads as void*, too.
    memory plain(dense_weights(problem), state->engine, const_cast<float*>(weights));
    memory packed(descriptor.weights_desc(), state->engine);
    dnnl::reorder(plain, packed).execute(state->stream, plain, packed);
    state->stream.wait();
    state->arguments = {{DNNL_ARG_SRC, memory(descriptor.src_desc(), state->engine, nullptr)},
                        {DNNL_ARG_DST, memory(descriptor.dst_desc(), state->engine, nullptr)},
                        {DNNL_ARG_WEIGHTS, packed},
                        {DNNL_ARG_SCRATCHPAD, memory(descriptor.scratchpad_desc(), state->engine)}};
    if (bias != nullptr) {
      memory copy(descriptor.bias_desc(), state->engine);
      std::copy(bias, bias + problem.conv.out_channels,
                static_cast<float*>(copy.get_data_handle()));
      state->arguments.emplace(DNNL_ARG_BIAS, copy);
    }
    state->creation_seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    state->implementation = descriptor.impl_info_str();
    state_ = std::move(state);
    return {};
  } catch (const std::exception& error) {
    return failure("create", error);
  }
}

std::string OneDnn::run(const float* x, float* y) noexcept {
  try {
    if (state_ == nullptr) return "oneDNN: run without create";
    if (state_->empty) return {};
    std::string refusal = set_threads(state_->threads);
    if (!refusal.empty()) return refusal;
    state_->arguments.at(DNNL_ARG_SRC).set_data_handle(const_cast<float*>(x));
    state_->arguments.at(DNNL_ARG_DST).set_data_handle(y);
    state_->primitive.execute(state_->stream, state_->arguments);
    state_->stream.wait();
    return {};
  } catch (const std::exception& error) {
    return failure("run", error);
  }
}

const std::string& OneDnn::implementation() const noexcept {
  static const std::string none = "none";
  return state_ == nullptr ? none : state_->implementation;
}

double OneDnn::creation_seconds() const noexcept {
  return state_ == nullptr ? 0.0 : state_->creation_seconds;
}

std::string onednn_version() {
  const dnnl_version_t* version = dnnl_version();
  return std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
         std::to_string(version->patch);
}

std::string onednn_conv2d(const Problem& problem, Layout layout, const float* x,
                          const float* weights, const float* bias, float* y,
                          const PostOps& post_ops) noexcept {
  OneDnn convolution;
  const std::string failed = convolution.create(problem, layout, weights, bias, 1, post_ops);
  return failed.empty() ? convolution.run(x, y) : failed;
}

}  // namespace fastconv::testing
