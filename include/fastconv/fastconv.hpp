// SPDX-License-Identifier: Apache-2.0
#pragma once

// 2-D convolution on the CPU. Everything a program needs:
//
//   #include <fastconv/fastconv.hpp>
//   using namespace fastconv;
//
//   Conv2d descriptor;
//   descriptor.in_channels = 64;
//   descriptor.out_channels = 128;
//   descriptor.kernel_size = 3;
//   descriptor.padding = 1;
//
//   Layer layer;
//   Status status = Layer::create(descriptor, oihw(weights, 128, 64, 3, 3), bias, {}, layer);
//   if (!status.ok()) return report(status.message());
//   status = layer.run(nchw(x, 1, 64, 56, 56), nchw(y, 1, 128, 56, 56));
//
// Whoever runs one shape often keeps the plan and the workspace:
//
//   Plan plan;
//   status = layer.plan(nchw(x, 1, 64, 56, 56), nchw(y, 1, 128, 56, 56), plan);
//   std::vector<char> scratch(static_cast<std::size_t>(plan.workspace_bytes()));
//   status = layer.run(plan, x_view, y_view, {scratch.data(), plan.workspace_bytes()});

#include <fastconv/version.h>
#include <fastconv/descriptor.hpp>
#include <fastconv/im2col.hpp>
#include <fastconv/isa.hpp>
#include <fastconv/layer.hpp>
#include <fastconv/status.hpp>
#include <fastconv/view.hpp>
