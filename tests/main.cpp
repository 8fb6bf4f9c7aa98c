// SPDX-License-Identifier: Apache-2.0
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "check.hpp"
#include "onednn.hpp"

// Says which levels this run tests, and leaves with ctest's code for "skipped" if the only one
// asked for is one that this CPU lacks. A name that no level has is a failure.
int main(int argc, char** argv) {
  using namespace fastconv;
  constexpr int kSkipped = 77;
  const char* only = std::getenv("FASTCONV_TEST_ISA");
  std::printf("oneDNN %s\nlevels:", testing::onednn_version().c_str());
  bool known = only == nullptr;
  for (const Isa isa : testing::all_isas()) {
    const bool wanted = only == nullptr || std::strcmp(only, name(isa)) == 0;
    known = known || wanted;
    const char* state = !is_supported(isa) ? "skipped, this CPU lacks it" : "tested";
    std::printf(" %s (%s)", name(isa), wanted ? state : "not asked for");
  }
  std::printf("\n");
  std::fflush(stdout);
  if (!known) {
    std::printf("FASTCONV_TEST_ISA: no level is called %s\n", only);
    return 1;
  }
  if (testing::tested_isas().empty()) return kSkipped;
  doctest::Context context(argc, argv);
  context.setOption("no-intro", true);
  return context.run();
}
