// SPDX-License-Identifier: Apache-2.0
#include "make_table.hpp"

namespace fastconv {

constexpr KernelTable kernels_generic =
    generic::make_table<generic::Portable, 6, 3, 3, 4, 3>(Isa::generic);

}  // namespace fastconv
