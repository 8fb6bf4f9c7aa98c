// SPDX-License-Identifier: Apache-2.0
#include "make_table.hpp"

namespace fastconv {

constexpr KernelTable kernels_avx512 = avx512::make_table<xsimd::avx512bw, 14, 6>(Isa::avx512);

}  // namespace fastconv
