/* SPDX-License-Identifier: Apache-2.0
   For C and C++. */
#pragma once

#define FASTCONV_VERSION_MAJOR 0
#define FASTCONV_VERSION_MINOR 1
#define FASTCONV_VERSION_PATCH 0
#define FASTCONV_VERSION_STRING "0.1.0"

#ifdef __cplusplus
namespace fastconv {

// Version of the library that was linked; compare it with FASTCONV_VERSION_STRING of the headers.
const char* version() noexcept;

}  // namespace fastconv
#endif
