// SPDX-License-Identifier: Apache-2.0
// A block of a network, NHWC: 3x3 and 1x1 convolutions fill the two halves of one tensor, and a
// third one of it is added to the block's input.
#include <algorithm>
#include <cstdio>
#include <fastconv/fastconv.hpp>
#include <fastconv/thread_pool.hpp>
#include <vector>

using namespace fastconv;

struct Step {
  Layer layer;
  Plan plan;  // for the one shape that is run
  ConstTensorView x;
  TensorView y;
  ConstTensorView residual;
};

Status make(Step& step, std::int64_t kernel, const std::vector<float>& weights, Epilogue epilogue,
            int threads) {
  Conv2d descriptor;
  descriptor.in_channels = step.x.shape[1];
  descriptor.out_channels = step.y.shape[1];
  descriptor.kernel_size = kernel;
  descriptor.padding = kernel / 2;
  LayerOptions options;
  options.epilogue = epilogue;
  const ConstTensorView w = oihw(weights.data(), step.y.shape[1], step.x.shape[1], kernel, kernel);
  const Status status = Layer::create(descriptor, w, nullptr, options, step.layer);
  return status.ok() ? step.layer.plan(step.x, step.y, step.plan, threads) : status;
}

int main() {
  const std::vector<float> w3(48 * 64 * 9, 0.01F), w1(48 * 64, 0.02F), last(64 * 96, 0.03F);
  std::vector<float> input(64 * 28 * 28, 1.0F), joined(96 * 28 * 28), output(64 * 28 * 28);
  const TensorView x = nhwc(input.data(), 1, 64, 28, 28);  // shapes are N, C, H, W in any layout
  const TensorView both = nhwc(joined.data(), 1, 96, 28, 28);
  const TensorView y = nhwc(output.data(), 1, 64, 28, 28);

  ThreadPool pool(2);
  const Epilogue relu6{Activation::clamp, 0.0F, 6.0F};
  Step steps[3];
  steps[0].x = steps[1].x = steps[2].residual = x;
  steps[0].y = both.slice(1, 0, 48);  // along axis 1, the channels, from 0 on, 48 of them
  steps[1].y = both.slice(1, 48, 48);
  steps[2].x = both;
  steps[2].y = y;
  Status status = make(steps[0], 3, w3, relu6, pool.threads());
  if (status.ok()) status = make(steps[1], 1, w1, relu6, pool.threads());
  if (status.ok()) status = make(steps[2], 1, last, {Activation::relu}, pool.threads());

  // Layers that run in turn share one workspace, of the largest size.
  std::int64_t bytes = 0;
  for (const Step& step : steps) bytes = std::max(bytes, step.plan.workspace_bytes());
  std::vector<char> workspace(static_cast<std::size_t>(bytes));
  RunOptions options;
  options.workspace = workspace.data();
  options.workspace_bytes = bytes;
  options.parallel_for = pool.parallel_for();
  for (const Step& step : steps) {
    options.residual = step.residual;
    if (status.ok()) status = step.layer.run(step.plan, step.x, step.y, options);
  }
  std::printf("%s %g\n", status.ok() ? "ok" : status.message(), output[0]);
  return status.ok() ? 0 : 1;
}
