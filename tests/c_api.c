/* SPDX-License-Identifier: Apache-2.0 */
#include "c_api.h"

#include <fastconv/fastconv.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(line) #line
#define LINE(line) TEXT(line)
#define EXPECT(condition) \
  if (!(condition)) return "line " LINE(__LINE__) ": " #condition

enum { C = 3, K = 5, H = 6, W = 7, R = 3 };

static float image[2 * C * H * W];
static float filters[K * C * R * R];
static float bias[K] = {1, -2, 3, -4, 5};

static void fill(void) {
  size_t i;
  for (i = 0; i < sizeof image / sizeof *image; ++i) image[i] = (float)(i % 11) - 5.0F;
  for (i = 0; i < sizeof filters / sizeof *filters; ++i) filters[i] = (float)(i % 7) - 3.0F;
}

static fastconv_descriptor describe(void) {
  fastconv_descriptor descriptor = fastconv_descriptor_default();
  descriptor.in_channels = C;
  descriptor.out_channels = K;
  descriptor.kernel_h = descriptor.kernel_w = R;
  descriptor.padding.top = descriptor.padding.bottom = 1;
  descriptor.padding.left = descriptor.padding.right = 1;
  return descriptor;
}

/* y[n, k, h, w], word for word from the definition. */
static float expected(int n, int k, int h, int w) {
  float sum = bias[k];
  int c, r, s;
  for (c = 0; c < C; ++c) {
    for (r = 0; r < R; ++r) {
      for (s = 0; s < R; ++s) {
        const int row = h + r - 1, column = w + s - 1;
        if (row < 0 || row >= H || column < 0 || column >= W) continue;
        sum += image[((n * C + c) * H + row) * W + column] * filters[((k * C + c) * R + r) * R + s];
      }
    }
  }
  return sum;
}

static int is_right(const float* y, int relu, float added) {
  int n, k, h, w;
  for (n = 0; n < 2; ++n) {
    for (k = 0; k < K; ++k) {
      for (h = 0; h < H; ++h) {
        for (w = 0; w < W; ++w) {
          float value = expected(n, k, h, w) + added;
          if (relu && value < 0) value = 0;
          if (*y++ != value) return 0;
        }
      }
    }
  }
  return 1;
}

const char* c_convolves(void) {
  float y[2 * K * H * W];
  const fastconv_descriptor descriptor = describe();
  const fastconv_const_view x = fastconv_const_nchw(image, 2, C, H, W);
  const fastconv_const_view weights = fastconv_oihw(filters, K, C, R, R);
  fastconv_view out = fastconv_nchw(y, 2, K, H, W);
  fastconv_status status;
  fill();
  out.extent_begin = y;
  out.extent_size = 2 * K * H * W;
  EXPECT(fastconv_conv2d(&descriptor, &x, &weights, bias, &out, NULL, &status) == FASTCONV_OK);
  EXPECT(status.code == FASTCONV_OK && status.message[0] == '\0');
  EXPECT(is_right(y, 0, 0));
  {
    /* Rows 1 to 5 backwards, as a window over all of them sees them. */
    const fastconv_const_view rows = fastconv_const_slice(x, 2, 5, 5, -1);
    const fastconv_view channels = fastconv_slice(out, 1, 2, 3, 1);
    EXPECT(rows.data == image + 5 * W && rows.shape[2] == 5 && rows.strides[2] == -W);
    EXPECT(channels.data == y + 2 * H * W && channels.shape[1] == 3 && channels.extent_begin == y);
    EXPECT(fastconv_slice(out, 1, 3, 3, 1).shape[1] == -1);
    EXPECT(fastconv_slice(out, -1, 0, 1, 1).shape[0] == -1);
  }
  --out.extent_size;
  EXPECT(fastconv_conv2d(&descriptor, &x, &weights, bias, &out, NULL, &status) ==
         FASTCONV_OUT_OF_BOUNDS);
  EXPECT(strstr(status.message, "y:") != NULL);
  return NULL;
}

/* A parallel_for that goes backwards through the tasks and through the slots. */
typedef struct {
  int64_t tasks;
  int calls;
} Backwards;

static void run_backwards(void* context, int64_t tasks, int slots, fastconv_body body, void* data) {
  Backwards* self = (Backwards*)context;
  int64_t task;
  self->tasks = tasks;
  ++self->calls;
  for (task = tasks; task-- > 0;) body(data, task, (int)(task % slots));
}

const char* c_plans_and_shares_out(void) {
  enum { N = 2, SIZE = 2 * 64 * 28 * 28 };
  float* data = (float*)malloc(sizeof(float) * (3 * SIZE + 64 * 64 * 9));
  float *x_data = data, *y_data = data + SIZE, *plain = y_data + SIZE, *w_data = plain + SIZE;
  const char* wrong = NULL;
  size_t i;
  fastconv_descriptor descriptor = describe();
  fastconv_layer_options options;
  fastconv_run_options run;
  fastconv_layer* layer = NULL;
  fastconv_plan plan;
  fastconv_const_view x, weights;
  fastconv_view y;
  Backwards backwards = {0, 0};
  EXPECT(data != NULL);
  for (i = 0; i < SIZE; ++i) x_data[i] = (float)(i % 13) - 6.0F;
  for (i = 0; i < 64 * 64 * 9; ++i) w_data[i] = (float)(i % 5) - 2.0F;
  descriptor.in_channels = descriptor.out_channels = 64;
  memset(&options, 0, sizeof options);
  memset(&run, 0, sizeof run);
  options.epilogue.activation = FASTCONV_ACTIVATION_CLAMP;
  options.epilogue.alpha = -100.0F;
  options.epilogue.beta = 200.0F;
  options.flush_denormals = true;
  options.algorithm = FASTCONV_ALGORITHM_GEMM;
  options.strict = true;
  x = fastconv_const_nhwc(x_data, N, 64, 28, 28);
  y = fastconv_nhwc(y_data, N, 64, 28, 28);
  weights = fastconv_hwio(w_data, 64, 64, 3, 3);
  EXPECT(fastconv_layer_create(&descriptor, &weights, NULL, &options, &layer, NULL) == FASTCONV_OK);
  EXPECT(fastconv_layer_plan(layer, &x, &y, 4, &plan, NULL) == FASTCONV_OK);
  EXPECT(fastconv_plan_slots(&plan) == 4);
  EXPECT(fastconv_plan_algorithm(&plan) == FASTCONV_ALGORITHM_GEMM);
  EXPECT(strstr(fastconv_plan_explain(&plan).text, "clamp") != NULL);
  run.workspace_bytes = fastconv_plan_workspace_bytes(&plan);
  run.workspace = malloc((size_t)run.workspace_bytes);
  run.parallel_for.run = run_backwards;
  run.parallel_for.context = &backwards;
  for (i = 0; i < SIZE; ++i) y_data[i] = 3.0F;
  run.residual = fastconv_read_only(y); /* y += convolution */
  EXPECT(fastconv_layer_run(layer, &plan, &x, &y, &run, NULL) == FASTCONV_OK);
  EXPECT(backwards.calls == 1 && backwards.tasks >= 4);
  /* The same by one thread with an algorithm by name, 3 in a bias. */
  {
    float threes[64];
    fastconv_view y2 = fastconv_nhwc(plain, N, 64, 28, 28);
    for (i = 0; i < 64; ++i) threes[i] = 3.0F;
    EXPECT(fastconv_parse_algorithm("strided", &options.algorithm, NULL) == FASTCONV_OK);
    EXPECT(fastconv_conv2d(&descriptor, &x, &weights, threes, &y2, &options, NULL) == FASTCONV_OK);
  }
  if (memcmp(plain, y_data, sizeof(float) * SIZE) != 0) wrong = "the results differ";
  fastconv_layer_destroy(layer);
  free(run.workspace);
  free(data);
  return wrong;
}

typedef struct {
  int64_t live, left;
} Memory;

static void* take(void* context, size_t bytes, size_t alignment) {
  Memory* self = (Memory*)context;
  char* block;
  size_t shift;
  if (self->left-- <= 0) return NULL;
  ++self->live;
  /* The start of the block lies before what is handed out. */
  block = (char*)malloc(bytes + alignment + sizeof(void*));
  shift = alignment - ((size_t)block + sizeof(void*)) % alignment;
  memcpy(block + shift, &block, sizeof block);
  return block + shift + sizeof(void*);
}

static void give(void* context, void* memory, size_t bytes) {
  void* block;
  (void)bytes;
  --((Memory*)context)->live;
  memcpy(&block, (char*)memory - sizeof block, sizeof block);
  free(block);
}

const char* c_counts_memory(void) {
  float y[2 * K * H * W];
  const fastconv_descriptor descriptor = describe();
  const fastconv_const_view x = fastconv_const_nchw(image, 2, C, H, W);
  const fastconv_const_view weights = fastconv_oihw(filters, K, C, R, R);
  const fastconv_view out = fastconv_nchw(y, 2, K, H, W);
  fastconv_layer_options options;
  fastconv_status status;
  Memory memory = {0, 0};
  int64_t limit;
  int finished = 0;
  memset(&options, 0, sizeof options);
  options.allocator.allocate = take;
  options.allocator.deallocate = give;
  options.allocator.context = &memory;
  fill();
  for (limit = 0; limit < 10 && !finished; ++limit) {
    fastconv_layer* layer = NULL;
    memory.left = limit;
    if (fastconv_layer_create(&descriptor, &weights, bias, &options, &layer, &status) !=
        FASTCONV_OK) {
      EXPECT(status.code == FASTCONV_OUT_OF_MEMORY && layer == NULL);
    } else if (fastconv_layer_run_once(layer, &x, &out, &status) != FASTCONV_OK) {
      EXPECT(status.code == FASTCONV_OUT_OF_MEMORY);
      fastconv_layer_destroy(layer);
    } else {
      finished = 1;
      EXPECT(memory.live == 2); /* the handle and the weights */
      EXPECT(is_right(y, 0, 0));
      fastconv_layer_destroy(layer);
    }
    EXPECT(memory.live == 0);
  }
  EXPECT(finished && limit == 4);
  return NULL;
}

const char* c_names_and_helps(void) {
  fastconv_descriptor descriptor = describe();
  fastconv_padding padding;
  int64_t height = 0, width = 0;
  int32_t value = -1;
  EXPECT(strcmp(fastconv_version(), FASTCONV_VERSION_STRING) == 0);
  EXPECT(strcmp(fastconv_code_name(FASTCONV_OVERLAP), "overlap") == 0);
  EXPECT(strcmp(fastconv_isa_name(FASTCONV_ISA_AVX2), "avx2") == 0);
  EXPECT(strcmp(fastconv_algorithm_name(FASTCONV_ALGORITHM_AUTO), "auto") == 0);
  EXPECT(strcmp(fastconv_padding_mode_name(FASTCONV_PADDING_CIRCULAR), "circular") == 0);
  EXPECT(strcmp(fastconv_activation_name(FASTCONV_ACTIVATION_GELU_TANH), "gelu_tanh") == 0);
  EXPECT(strcmp(fastconv_activation_name(99), "unknown") == 0);
  EXPECT(fastconv_parse_activation("silu", &value, NULL) == FASTCONV_OK);
  EXPECT(value == FASTCONV_ACTIVATION_SILU);
  EXPECT(fastconv_parse_padding_mode("reflect", &value, NULL) == FASTCONV_OK);
  EXPECT(value == FASTCONV_PADDING_REFLECT);
  EXPECT(fastconv_parse_isa("generic", &value, NULL) == FASTCONV_OK);
  EXPECT(value == FASTCONV_ISA_GENERIC);
  EXPECT(fastconv_parse_isa("mmx", &value, NULL) == FASTCONV_INVALID_ARGUMENT);
  EXPECT(value == FASTCONV_ISA_GENERIC);
  EXPECT(fastconv_isa_is_supported(FASTCONV_ISA_GENERIC));
  EXPECT(!fastconv_isa_is_supported(77));
  EXPECT(fastconv_resolve_isa(FASTCONV_ISA_AUTO, &value, NULL) == FASTCONV_OK);
  EXPECT(value > FASTCONV_ISA_AUTO && fastconv_isa_is_supported(value));

  descriptor.stride_h = descriptor.stride_w = 2;
  EXPECT(fastconv_same_padding(&descriptor, 8, 7, false, &padding, NULL) == FASTCONV_OK);
  EXPECT(padding.top == 0 && padding.bottom == 1 && padding.left == 1 && padding.right == 1);
  EXPECT(fastconv_same_padding(&descriptor, 8, 7, true, &padding, NULL) == FASTCONV_OK);
  EXPECT(padding.top == 1 && padding.bottom == 0);
  descriptor.padding = padding;
  EXPECT(fastconv_output_size(&descriptor, 8, 7, &height, &width, NULL) == FASTCONV_OK);
  EXPECT(height == 4 && width == 4);

  {
    float weights[4] = {1, 2, 3, 4}, shift[2] = {1, 1};
    const float gamma[2] = {2, 1}, mean[2] = {1, 0}, variance[2] = {4, 1};
    const fastconv_view view = fastconv_nchw(weights, 2, 2, 1, 1);
    EXPECT(fastconv_fold_batch_norm(&view, shift, gamma, NULL, mean, variance, 0.0F, NULL) ==
           FASTCONV_OK);
    EXPECT(weights[0] == 1 && weights[1] == 2 && weights[2] == 3 && weights[3] == 4);
    EXPECT(shift[0] == 0 && shift[1] == 1);
  }
  {
    float matrix[4 * 4], gathered[4 * 4];
    fastconv_matrix_view view = {NULL, {1, 4, 4}, {16, 4, 1}, NULL, 0};
    const fastconv_const_view x = fastconv_const_nchw(image, 1, 1, 3, 3);
    fastconv_windows_view windows;
    descriptor = fastconv_descriptor_default();
    descriptor.kernel_h = descriptor.kernel_w = 2;
    fill();
    view.data = matrix;
    EXPECT(fastconv_im2col(&x, &descriptor, &view, NULL) == FASTCONV_OK);
    EXPECT(matrix[0] == image[0] && matrix[15] == image[8]);
    view.data = gathered;
    EXPECT(fastconv_strided_im2col(&x, &descriptor, &view, NULL) == FASTCONV_OK);
    EXPECT(memcmp(matrix, gathered, sizeof matrix) == 0);
    EXPECT(fastconv_window_view(&x, &descriptor, &windows, NULL) == FASTCONV_OK);
    EXPECT(windows.data == image && windows.shape[2] == 2 && windows.shape[5] == 2);
    EXPECT(windows.strides[2] == 3 && windows.strides[4] == 3 && windows.strides[5] == 1);
  }
  return NULL;
}

const char* c_refuses(void) {
  float y[2 * K * H * W];
  const fastconv_descriptor descriptor = describe();
  const fastconv_const_view x = fastconv_const_nchw(image, 2, C, H, W);
  const fastconv_const_view weights = fastconv_oihw(filters, K, C, R, R);
  const fastconv_view out = fastconv_nchw(y, 2, K, H, W);
  fastconv_layer_options options;
  fastconv_layer* layer = NULL;
  fastconv_plan plan;
  fastconv_status status;
  fastconv_run_options run;
  const int32_t bad = FASTCONV_INVALID_ARGUMENT;
  memset(&options, 0, sizeof options);
  memset(&plan, 0, sizeof plan);
  EXPECT(fastconv_layer_create(NULL, &weights, NULL, NULL, &layer, &status) == bad);
  EXPECT(strstr(status.message, "descriptor") != NULL);
  EXPECT(fastconv_layer_create(&descriptor, NULL, NULL, NULL, &layer, NULL) == bad);
  EXPECT(fastconv_layer_create(&descriptor, &weights, NULL, NULL, NULL, NULL) == bad);
  options.isa = 77;
  EXPECT(fastconv_layer_create(&descriptor, &weights, NULL, &options, &layer, &status) !=
         FASTCONV_OK);
  options.isa = FASTCONV_ISA_AUTO;
  options.algorithm = -3;
  EXPECT(fastconv_layer_create(&descriptor, &weights, NULL, &options, &layer, &status) == bad);
  options.algorithm = FASTCONV_ALGORITHM_AUTO;
  options.epilogue.activation = FASTCONV_ACTIVATION_CLAMP; /* its bounds forgotten */
  EXPECT(fastconv_layer_create(&descriptor, &weights, NULL, &options, &layer, &status) == bad);
  EXPECT(strstr(status.message, "alpha 0 and beta 0") != NULL);
  EXPECT(layer == NULL);
  EXPECT(fastconv_layer_plan(NULL, &x, &out, 1, &plan, NULL) == bad);
  EXPECT(fastconv_layer_run(NULL, &plan, &x, &out, NULL, NULL) == bad);
  EXPECT(fastconv_layer_run_once(NULL, &x, &out, NULL) == bad);
  EXPECT(fastconv_conv2d(&descriptor, NULL, &weights, NULL, &out, NULL, NULL) == bad);
  EXPECT(fastconv_layer_create(&descriptor, &weights, NULL, NULL, &layer, NULL) == FASTCONV_OK);
  EXPECT(fastconv_layer_run(layer, &plan, &x, &out, NULL, &status) == bad);
  EXPECT(strstr(status.message, "plan") != NULL);
  EXPECT(fastconv_layer_run(layer, NULL, &x, &out, NULL, NULL) == bad);
  EXPECT(fastconv_layer_bytes(layer) > 0 && fastconv_layer_bytes(NULL) == 0);
  EXPECT(fastconv_layer_plan(layer, &x, &out, 0, &plan, NULL) == bad);
  EXPECT(fastconv_plan_workspace_bytes(&plan) == 0 && fastconv_plan_slots(NULL) == 1);
  EXPECT(fastconv_plan_explain(NULL).text[0] != '\0');
  EXPECT(fastconv_layer_plan(layer, &x, &out, 1, &plan, NULL) == FASTCONV_OK);
  EXPECT(fastconv_layer_run(layer, &plan, &x, &out, NULL, &status) == FASTCONV_WORKSPACE_TOO_SMALL);
  memset(&run, 0, sizeof run);
  run.workspace = image; /* x */
  run.workspace_bytes = fastconv_plan_workspace_bytes(&plan);
  EXPECT(fastconv_layer_run(layer, &plan, &x, &out, &run, &status) == FASTCONV_OVERLAP);
  EXPECT(strstr(status.message, "workspace: shares") && strstr(status.message, "with x"));
  EXPECT(fastconv_fold_batch_norm(NULL, y, y, y, y, y, 0.0F, NULL) == bad);
  EXPECT(fastconv_im2col(&x, &descriptor, NULL, NULL) == bad);
  EXPECT(fastconv_window_view(NULL, &descriptor, NULL, NULL) == bad);
  EXPECT(fastconv_same_padding(&descriptor, 8, 7, false, NULL, NULL) == bad);
  EXPECT(fastconv_output_size(NULL, 8, 7, NULL, NULL, NULL) == bad);
  EXPECT(fastconv_parse_isa("avx2", NULL, NULL) == bad);
  EXPECT(fastconv_parse_isa(NULL, &options.isa, NULL) == bad);
  fastconv_layer_destroy(layer);
  fastconv_layer_destroy(NULL);
  return NULL;
}
