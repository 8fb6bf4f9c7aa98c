// SPDX-License-Identifier: Apache-2.0
#include "table.hpp"

namespace fastconv {

const KernelTable* kernel_table(Isa isa) noexcept {
  switch (isa) {
    case Isa::generic:
      return &kernels_generic;
#if defined(__x86_64__)
    case Isa::sse4:
      return &kernels_sse4;
    case Isa::avx2:
      return &kernels_avx2;
    case Isa::avx512:
      return &kernels_avx512;
#elif defined(__aarch64__)
    case Isa::neon:
      return &kernels_neon;
#endif
    default:
      return nullptr;
  }
}

}  // namespace fastconv
