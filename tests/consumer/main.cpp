// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <fastconv/fastconv.hpp>
#include <vector>

int main() {
  const std::vector<float> image(3 * 100 * 100, 1.0F), weights(16 * 3 * 3 * 3, 0.5F);
  std::vector<float> result(16 * 98 * 98);

  fastconv::Conv2d descriptor;  // the words of torch.nn.Conv2d
  descriptor.in_channels = 3;
  descriptor.out_channels = 16;
  descriptor.kernel_size = 3;

  fastconv::Layer layer;  // packs the weights once, runs any image size from any thread
  fastconv::Status status = fastconv::Layer::create(
      descriptor, fastconv::oihw(weights.data(), 16, 3, 3, 3), nullptr, {}, layer);
  if (status.ok()) {
    status = layer.run(fastconv::nchw(image.data(), 1, 3, 100, 100),
                       fastconv::nchw(result.data(), 1, 16, 98, 98));
  }
  std::printf("%s %g\n", status.ok() ? "ok" : status.message(), result.back());
  return status.ok() ? 0 : 1;
}
