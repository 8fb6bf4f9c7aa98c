// SPDX-License-Identifier: Apache-2.0
#include "make_table.hpp"

namespace fastconv {

constexpr KernelTable kernels_sse4 = sse4::make_table<xsimd::sse4_2, 6, 3, 3, 4, 3>(Isa::sse4);

}  // namespace fastconv
