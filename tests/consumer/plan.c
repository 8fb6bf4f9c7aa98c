/* SPDX-License-Identifier: Apache-2.0 */
/* One shape that is run often: planned once, from shapes and strides alone, with the workspace. */
#include <fastconv/fastconv.h>
#include <stdio.h>
#include <stdlib.h>

static float image[28 * 28 * 64], weights[64 * 64 * 3 * 3], result[28 * 28 * 64];

int main(void) {
  size_t i;
  for (i = 0; i < sizeof image / sizeof *image; ++i) image[i] = 1.0F;
  for (i = 0; i < sizeof weights / sizeof *weights; ++i) weights[i] = 0.01F;

  fastconv_descriptor descriptor = fastconv_descriptor_default();
  descriptor.in_channels = descriptor.out_channels = 64;
  descriptor.kernel_h = descriptor.kernel_w = 3;
  descriptor.padding.top = descriptor.padding.bottom = 1;
  descriptor.padding.left = descriptor.padding.right = 1;

  const fastconv_const_view x = fastconv_const_nhwc(image, 1, 64, 28, 28);
  const fastconv_const_view w = fastconv_oihw(weights, 64, 64, 3, 3);
  const fastconv_view y = fastconv_nhwc(result, 1, 64, 28, 28);
  fastconv_layer* layer = NULL;
  fastconv_plan plan;
  fastconv_run_options options = {0};
  options.residual = x; /* y = x + convolution */
  fastconv_status status;
  if (fastconv_layer_create(&descriptor, &w, NULL, NULL, &layer, &status) == FASTCONV_OK &&
      fastconv_layer_plan(layer, &x, &y, 1, &plan, &status) == FASTCONV_OK) {
    options.workspace_bytes = fastconv_plan_workspace_bytes(&plan);
    options.workspace = malloc((size_t)options.workspace_bytes);
    for (i = 0; i < 3 && status.code == FASTCONV_OK; ++i) {
      fastconv_layer_run(layer, &plan, &x, &y, &options, &status);
    }
  }
  free(options.workspace);
  fastconv_layer_destroy(layer);
  printf("%s %g\n", status.code == FASTCONV_OK ? "ok" : status.message, (double)result[0]);
  return status.code == FASTCONV_OK ? 0 : 1;
}
