// SPDX-License-Identifier: Apache-2.0
#pragma once

// What kernels ask of the compiler.

#define FASTCONV_INLINE inline __attribute__((always_inline))
// Full unrolling of loops with constant bounds, so that arrays of vectors live in registers:
// without it GCC 12 at -O2 keeps them in memory (a quarter of the speed).
#if defined(__clang__)
#define FASTCONV_UNROLL _Pragma("clang loop unroll(full)")
#else
#define FASTCONV_UNROLL _Pragma("GCC unroll 64")
#endif
