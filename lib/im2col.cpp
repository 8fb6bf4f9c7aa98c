// SPDX-License-Identifier: Apache-2.0
#include <fastconv/im2col.hpp>

#include "../kernels/baselines.hpp"
#include "error.hpp"
#include "geometry.hpp"
#include "integers.hpp"
#include "views.hpp"

namespace fastconv {
namespace {

Status fill_matrix(const ConstTensorView& x, const Window& window, const View<float, 3>& matrix,
                   Im2colFunction function) noexcept {
  FASTCONV_TRY(check_shape("x", x.shape, x.strides));
  FASTCONV_TRY(check_shape("matrix", matrix.shape, matrix.strides));
  Problem p;
  Pair output;
  FASTCONV_TRY(output_size(window, x.shape[2], x.shape[3], output));
  std::int64_t rows = x.shape[1];
  std::int64_t columns = output.h;
  if (!multiply(rows, window.kernel_size.h, rows) || !multiply(rows, window.kernel_size.w, rows) ||
      !multiply(columns, output.w, columns)) {
    return fail(StatusCode::overflow, "matrix: the sizes of the im2col matrix exceed 64 bits");
  }
  if (matrix.shape != Dims<3>{x.shape[0], rows, columns}) {
    return fail(StatusCode::shape_mismatch,
                "matrix: has shape %lld x %lld x %lld, the im2col matrix has %lld x %lld x %lld",
                ll(matrix.shape[0]), ll(matrix.shape[1]), ll(matrix.shape[2]), ll(x.shape[0]),
                ll(rows), ll(columns));
  }
  FASTCONV_TRY(check_memory("x", x));
  FASTCONV_TRY(check_memory("matrix", matrix));
  FASTCONV_TRY(check_no_self_overlap("matrix", matrix));
  if (x.shape[0] == 0 || rows == 0) return {};
  const View<const float, 4> destination{
      matrix.data,
      {matrix.shape[0], matrix.shape[1], matrix.shape[2], 1},
      {matrix.strides[0], matrix.strides[1], matrix.strides[2], 0},
      nullptr,
      -1};
  FASTCONV_TRY(check_disjoint({"x", x}, {"matrix", destination}));
  FASTCONV_TRY(set_window(window, x, output, p));
  FASTCONV_TRY(check_products(p));
  for (std::int64_t n = 0; n < p.n; ++n) {
    function(p, x.data + n * x.strides[0], matrix.data + n * matrix.strides[0], matrix.strides[1],
             matrix.strides[2]);
  }
  return {};
}

}  // namespace

Status window_view(const ConstTensorView& x, const Window& window,
                   View<const float, 6>& windows) noexcept {
  FASTCONV_TRY(check_shape("x", x.shape, x.strides));
  Pair output;
  FASTCONV_TRY(output_size(window, x.shape[2], x.shape[3], output));
  const Padding& p = window.padding;
  if (p.any()) {
    return fail(StatusCode::invalid_argument,
                "padding: a view holds none, got top %lld, bottom %lld, left %lld, right %lld",
                ll(p.top), ll(p.bottom), ll(p.left), ll(p.right));
  }
  // A step that is never taken may be of any size: of an axis of one element, or of an empty view.
  const auto step = [](std::int64_t count, std::int64_t factor, std::int64_t stride) {
    std::int64_t product = 0;
    return count > 1 && multiply(factor, stride, product) ? product : stride;
  };
  const Dims<4>& s = x.strides;
  windows = as_strided(x,
                       Dims<6>{x.shape[0], x.shape[1], output.h, output.w, window.kernel_size.h,
                               window.kernel_size.w},
                       Dims<6>{s[0], s[1], step(output.h, window.stride.h, s[2]),
                               step(output.w, window.stride.w, s[3]),
                               step(window.kernel_size.h, window.dilation.h, s[2]),
                               step(window.kernel_size.w, window.dilation.w, s[3])});
  return {};
}

Status im2col(const ConstTensorView& x, const Window& window,
              const View<float, 3>& matrix) noexcept {
  return fill_matrix(x, window, matrix, im2col_loops);
}

Status strided_im2col(const ConstTensorView& x, const Window& window,
                      const View<float, 3>& matrix) noexcept {
  return fill_matrix(x, window, matrix, im2col_gather);
}

}  // namespace fastconv
