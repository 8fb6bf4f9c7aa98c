// SPDX-License-Identifier: Apache-2.0
// The C header: what c_api.c does with it in C99, and that it has all that the C++ headers have.
#include <doctest/doctest.h>
#include <fastconv/fastconv.h>

#include <cstring>
#include <fastconv/fastconv.hpp>
#include <string>

#include "c_api.h"

namespace fastconv::testing {
namespace {

std::string said(const char* (*part)()) {
  const char* wrong = part();
  return wrong == nullptr ? "" : wrong;
}

// How many values the library has names for.
template <class Enum>
int named(Enum) {
  int count = 0;
  while (std::strcmp(name(static_cast<Enum>(count)), "unknown") != 0) ++count;
  return count;
}

}  // namespace

TEST_SUITE("c_api") {
  TEST_CASE("in C99") {
    CHECK(said(c_convolves) == "");
    CHECK(said(c_plans_and_shares_out) == "");
    CHECK(said(c_counts_memory) == "");
    CHECK(said(c_names_and_helps) == "");
    CHECK(said(c_refuses) == "");
  }

  TEST_CASE("the C enums end where the C++ ones do") {
    CHECK(named(StatusCode{}) == FASTCONV_OUT_OF_MEMORY + 1);
    CHECK(named(Algorithm{}) == FASTCONV_ALGORITHM_WINOGRAD_F6 + 1);
    CHECK(named(Isa{}) == FASTCONV_ISA_NEON + 1);
    CHECK(named(PaddingMode{}) == FASTCONV_PADDING_CIRCULAR + 1);
    CHECK(named(Activation{}) == FASTCONV_ACTIVATION_GELU_TANH + 1);
  }
}

}  // namespace fastconv::testing
