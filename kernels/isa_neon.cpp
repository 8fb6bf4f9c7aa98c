// SPDX-License-Identifier: Apache-2.0
#include "make_table.hpp"

namespace fastconv {

constexpr KernelTable kernels_neon = neon::make_table<xsimd::neon64, 8, 4>(Isa::neon);

}  // namespace fastconv
