/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTCONV_FASTCONV_H
#define FASTCONV_FASTCONV_H

/*
 * fastconv for C99, and for languages that call C. The words mean what they mean in the C++ headers
 * beside this one, where shapes, limits and errors are described; here is how they are spelled.
 *
 *   fastconv_descriptor descriptor = fastconv_descriptor_default();
 *   descriptor.in_channels = 64;
 *   descriptor.out_channels = 128;
 *   descriptor.kernel_h = descriptor.kernel_w = 3;
 *
 *   fastconv_status status;
 *   fastconv_layer* layer = NULL;
 *   fastconv_const_view w = fastconv_oihw(weights, 128, 64, 3, 3);
 *   if (fastconv_layer_create(&descriptor, &w, bias, NULL, &layer, &status) != FASTCONV_OK)
 *     return report(status.message);
 *   fastconv_layer_run_once(layer, &x_view, &y_view, &status);
 *   fastconv_layer_destroy(layer);
 *
 * Functions that can fail return a code and, if `status` is not null, write it there with a
 * sentence that names the argument and the numbers. What a failed call would have written is as it
 * was. A null pointer where a struct is read is FASTCONV_INVALID_ARGUMENT, unless null is said to
 * stand for defaults. No function prints, aborts, or lets an exception through.
 */

#include <fastconv/version.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A shared library that takes in the whole archive exports these functions, and nothing else of
   it; whoever embeds the archive privately links with -Wl,--exclude-libs,libfastconv.a. */
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/* Status */

enum {
  FASTCONV_OK = 0,
  FASTCONV_INVALID_ARGUMENT,
  FASTCONV_SHAPE_MISMATCH,
  FASTCONV_OVERFLOW,
  FASTCONV_OUT_OF_BOUNDS,
  FASTCONV_OVERLAP,
  FASTCONV_UNSUPPORTED,
  FASTCONV_WORKSPACE_TOO_SMALL,
  FASTCONV_OUT_OF_MEMORY
};

typedef struct fastconv_status {
  int32_t code;
  char message[240]; /* empty if the code is FASTCONV_OK */
} fastconv_status;

const char* fastconv_code_name(int32_t code);

/* Version of the library that was linked; compare it with FASTCONV_VERSION_STRING of the headers.
 */
const char* fastconv_version(void);

/* Choices, each with its name and the way back from a name. Names are those of the C++ enums
   ("auto" for the first of the first two); an unknown number has the name "unknown". */

enum { /* algorithm */
       FASTCONV_ALGORITHM_AUTO = 0,
       FASTCONV_ALGORITHM_NAIVE,
       FASTCONV_ALGORITHM_IM2COL,
       FASTCONV_ALGORITHM_STRIDED_IM2COL,
       FASTCONV_ALGORITHM_STRIDED,
       FASTCONV_ALGORITHM_GEMM,
       FASTCONV_ALGORITHM_DIRECT,
       FASTCONV_ALGORITHM_DEPTHWISE,
       FASTCONV_ALGORITHM_WINOGRAD_F2,
       FASTCONV_ALGORITHM_WINOGRAD_F4,
       FASTCONV_ALGORITHM_WINOGRAD_F6
};

enum { /* isa */
       FASTCONV_ISA_AUTO = 0,
       FASTCONV_ISA_GENERIC,
       FASTCONV_ISA_SSE4,
       FASTCONV_ISA_AVX2,
       FASTCONV_ISA_AVX512,
       FASTCONV_ISA_NEON
};

enum { /* padding_mode */
       FASTCONV_PADDING_ZEROS = 0,
       FASTCONV_PADDING_REFLECT,
       FASTCONV_PADDING_REPLICATE,
       FASTCONV_PADDING_CIRCULAR
};

enum { /* activation */
       FASTCONV_ACTIVATION_NONE = 0,
       FASTCONV_ACTIVATION_RELU,
       FASTCONV_ACTIVATION_CLAMP,
       FASTCONV_ACTIVATION_LEAKY_RELU,
       FASTCONV_ACTIVATION_HARDSIGMOID,
       FASTCONV_ACTIVATION_HARDSWISH,
       FASTCONV_ACTIVATION_SIGMOID,
       FASTCONV_ACTIVATION_SILU,
       FASTCONV_ACTIVATION_TANH,
       FASTCONV_ACTIVATION_GELU_ERF,
       FASTCONV_ACTIVATION_GELU_TANH
};

const char* fastconv_algorithm_name(int32_t algorithm);
const char* fastconv_isa_name(int32_t isa);
const char* fastconv_padding_mode_name(int32_t mode);
const char* fastconv_activation_name(int32_t activation);
int32_t fastconv_parse_algorithm(const char* text, int32_t* algorithm, fastconv_status* status);
int32_t fastconv_parse_isa(const char* text, int32_t* isa, fastconv_status* status);
int32_t fastconv_parse_padding_mode(const char* text, int32_t* mode, fastconv_status* status);
int32_t fastconv_parse_activation(const char* text, int32_t* activation, fastconv_status* status);

/* True if the CPU and the operating system can run this level. */
bool fastconv_isa_is_supported(int32_t isa);
/* The level that FASTCONV_ISA_AUTO, or an exact one, stands for on this machine. */
int32_t fastconv_resolve_isa(int32_t requested, int32_t* resolved, fastconv_status* status);

/* Views. Strides are in elements and may be zero (what is only read) or negative. */

typedef struct fastconv_view {
  float* data;
  int64_t shape[4]; /* N, C, H, W, or K, C/groups, R, S of weights */
  int64_t strides[4];
  float* extent_begin; /* of the elements that the view may touch; null: not stated */
  int64_t extent_size;
} fastconv_view;

typedef struct fastconv_const_view {
  const float* data;
  int64_t shape[4];
  int64_t strides[4];
  const float* extent_begin;
  int64_t extent_size;
} fastconv_const_view;

/* Dense views without a stated extent. */
fastconv_view fastconv_nchw(float* data, int64_t n, int64_t c, int64_t h, int64_t w);
fastconv_view fastconv_nhwc(float* data, int64_t n, int64_t c, int64_t h, int64_t w);
fastconv_const_view fastconv_const_nchw(const float* data, int64_t n, int64_t c, int64_t h,
                                        int64_t w);
fastconv_const_view fastconv_const_nhwc(const float* data, int64_t n, int64_t c, int64_t h,
                                        int64_t w);
fastconv_const_view fastconv_oihw(const float* data, int64_t k, int64_t c, int64_t r, int64_t s);
fastconv_const_view fastconv_ohwi(const float* data, int64_t k, int64_t c, int64_t r, int64_t s);
fastconv_const_view fastconv_hwio(const float* data, int64_t k, int64_t c, int64_t r, int64_t s);
fastconv_const_view fastconv_read_only(fastconv_view view);
/* `count` elements of an axis (0 to 3: N, C, H, W), from `begin` on, `step` apart; a negative step
   goes backwards. An impossible slice has shape -1 on that axis, which every function refuses. */
fastconv_view fastconv_slice(fastconv_view view, int axis, int64_t begin, int64_t count,
                             int64_t step);
fastconv_const_view fastconv_const_slice(fastconv_const_view view, int axis, int64_t begin,
                                         int64_t count, int64_t step);

/* Geometry */

typedef struct fastconv_padding {
  int64_t top, bottom, left, right;
} fastconv_padding;

typedef struct fastconv_descriptor {
  int64_t in_channels, out_channels;
  int64_t kernel_h, kernel_w;
  int64_t stride_h, stride_w;
  fastconv_padding padding;
  int64_t dilation_h, dilation_w; /* 1 is dense */
  int64_t groups;
  int32_t padding_mode;
} fastconv_descriptor;

/* Strides, dilations and groups 1, the rest 0. */
fastconv_descriptor fastconv_descriptor_default(void);

/* Output height and width; the channels are not looked at. */
int32_t fastconv_output_size(const fastconv_descriptor* descriptor, int64_t height, int64_t width,
                             int64_t* output_height, int64_t* output_width,
                             fastconv_status* status);

/* Writes the padding under which the output has ceil(size / stride) rows and columns. */
int32_t fastconv_same_padding(const fastconv_descriptor* descriptor, int64_t height, int64_t width,
                              bool extra_before, fastconv_padding* padding,
                              fastconv_status* status);

/* Layers */

typedef struct fastconv_epilogue {
  int32_t activation;
  float alpha, beta; /* of clamp, alpha below beta or refused; of leaky ReLU, alpha is the slope */
  bool residual_last;
} fastconv_epilogue;

typedef struct fastconv_allocator {
  void* (*allocate)(void* context, size_t bytes, size_t alignment);
  void (*deallocate)(void* context, void* memory, size_t bytes);
  void* context;
} fastconv_allocator;

/* All zero is the default. */
typedef struct fastconv_layer_options {
  int32_t algorithm;
  int32_t isa;
  fastconv_epilogue epilogue;
  bool strict;
  bool flush_denormals;
  fastconv_allocator allocator; /* of the handle, too */
} fastconv_layer_options;

typedef struct fastconv_layer fastconv_layer;

/* `bias` and `options` may be null. Everything that is given may be freed afterwards. */
int32_t fastconv_layer_create(const fastconv_descriptor* descriptor,
                              const fastconv_const_view* weights, const float* bias,
                              const fastconv_layer_options* options, fastconv_layer** layer,
                              fastconv_status* status);

/* Null is no layer and allowed. */
void fastconv_layer_destroy(fastconv_layer* layer);

/* Memory that it holds beside its handle; 0 for null. */
int64_t fastconv_layer_bytes(const fastconv_layer* layer);

/* A value that is copied freely and need not be destroyed. All zero is no plan. */
typedef struct fastconv_plan {
  uint64_t opaque[160];
} fastconv_plan;

typedef struct fastconv_explanation {
  char text[1024];
} fastconv_explanation;

/* The data of x and y is not looked at. `threads` is at least 1. */
int32_t fastconv_layer_plan(const fastconv_layer* layer, const fastconv_const_view* x,
                            const fastconv_view* y, int threads, fastconv_plan* plan,
                            fastconv_status* status);

/* For no plan, or null: 0, FASTCONV_ALGORITHM_AUTO, 1 and a sentence. */
int64_t fastconv_plan_workspace_bytes(const fastconv_plan* plan);
int32_t fastconv_plan_algorithm(const fastconv_plan* plan);
int fastconv_plan_slots(const fastconv_plan* plan);
fastconv_explanation fastconv_plan_explain(const fastconv_plan* plan);

/* Calls body(data, task, slot) exactly once for every task in [0, tasks), with different slots in
   [0, slots) for calls that overlap in time, and returns when all have ended. It must not throw or
   jump out; a slot or task out of range, and tasks left out or run twice, are noticed when others
   have run, the one refusal that may leave y written. */
typedef void (*fastconv_body)(void* data, int64_t task, int slot);
typedef struct fastconv_parallel_for {
  void (*run)(void* context, int64_t tasks, int slots, fastconv_body body, void* data);
  void* context;
} fastconv_parallel_for;

/* All zero is the default: no workspace, one thread, no residual. */
typedef struct fastconv_run_options {
  void* workspace;
  int64_t workspace_bytes;
  fastconv_parallel_for parallel_for;
  fastconv_const_view residual; /* none if all of it is zero */
} fastconv_run_options;

/* `options` may be null. */
int32_t fastconv_layer_run(const fastconv_layer* layer, const fastconv_plan* plan,
                           const fastconv_const_view* x, const fastconv_view* y,
                           const fastconv_run_options* options, fastconv_status* status);

/* Plans and runs with a workspace that is allocated for this call. */
int32_t fastconv_layer_run_once(const fastconv_layer* layer, const fastconv_const_view* x,
                                const fastconv_view* y, fastconv_status* status);

/* Creates a layer, runs it once, and forgets it. `bias` and `options` may be null. */
int32_t fastconv_conv2d(const fastconv_descriptor* descriptor, const fastconv_const_view* x,
                        const fastconv_const_view* weights, const float* bias,
                        const fastconv_view* y, const fastconv_layer_options* options,
                        fastconv_status* status);

/* Folds a batch normalisation into weights and bias, in place. gamma and beta may be null. */
int32_t fastconv_fold_batch_norm(const fastconv_view* weights, float* bias, const float* gamma,
                                 const float* beta, const float* mean, const float* variance,
                                 float epsilon, fastconv_status* status);

/* im2col */

typedef struct fastconv_matrix_view {
  float* data;
  int64_t shape[3]; /* N, C*R*S, OH*OW */
  int64_t strides[3];
  float* extent_begin;
  int64_t extent_size;
} fastconv_matrix_view;

typedef struct fastconv_windows_view {
  const float* data;
  int64_t shape[6]; /* N, C, OH, OW, R, S */
  int64_t strides[6];
  const float* extent_begin;
  int64_t extent_size;
} fastconv_windows_view;

/* Of the descriptor all but channels and groups is looked at. */
int32_t fastconv_im2col(const fastconv_const_view* x, const fastconv_descriptor* descriptor,
                        const fastconv_matrix_view* matrix, fastconv_status* status);
int32_t fastconv_strided_im2col(const fastconv_const_view* x, const fastconv_descriptor* descriptor,
                                const fastconv_matrix_view* matrix, fastconv_status* status);
int32_t fastconv_window_view(const fastconv_const_view* x, const fastconv_descriptor* descriptor,
                             fastconv_windows_view* windows, fastconv_status* status);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
