// SPDX-License-Identifier: Apache-2.0
#include "make_table.hpp"

namespace fastconv {

constexpr KernelTable kernels_avx2 =
    avx2::make_table<xsimd::fma3<xsimd::avx2>, 6, 3, 4, 4, 3, 10>(Isa::avx2);

}  // namespace fastconv
