/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FASTCONV_TESTS_C_API_H
#define FASTCONV_TESTS_C_API_H

#ifdef __cplusplus
extern "C" {
#endif

/* Each does its part in C99 and returns null, or what was not as it should be. */
const char* c_convolves(void);
const char* c_plans_and_shares_out(void);
const char* c_counts_memory(void);
const char* c_names_and_helps(void);
const char* c_refuses(void);

#ifdef __cplusplus
}
#endif

#endif
