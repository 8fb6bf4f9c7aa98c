/* SPDX-License-Identifier: Apache-2.0 */
#include <fastconv/fastconv.h>
#include <stdio.h>

static float image[3 * 100 * 100], weights[16 * 3 * 3 * 3], result[16 * 98 * 98];

int main(void) {
  size_t i;
  for (i = 0; i < sizeof image / sizeof *image; ++i) image[i] = 1.0F;
  for (i = 0; i < sizeof weights / sizeof *weights; ++i) weights[i] = 0.5F;

  fastconv_descriptor descriptor = fastconv_descriptor_default();
  descriptor.in_channels = 3;
  descriptor.out_channels = 16;
  descriptor.kernel_h = descriptor.kernel_w = 3;

  fastconv_layer_options options = {0};
  options.epilogue.activation = FASTCONV_ACTIVATION_RELU;

  const fastconv_const_view x = fastconv_const_nchw(image, 1, 3, 100, 100);
  const fastconv_const_view w = fastconv_oihw(weights, 16, 3, 3, 3);
  const fastconv_view y = fastconv_nchw(result, 1, 16, 98, 98);
  fastconv_layer* layer = NULL;
  fastconv_status status;
  if (fastconv_layer_create(&descriptor, &w, NULL, &options, &layer, &status) == FASTCONV_OK) {
    fastconv_layer_run_once(layer, &x, &y, &status);
  }
  fastconv_layer_destroy(layer);
  printf("%s %g\n", status.code == FASTCONV_OK ? "ok" : status.message, (double)result[0]);
  return status.code == FASTCONV_OK ? 0 : 1;
}
