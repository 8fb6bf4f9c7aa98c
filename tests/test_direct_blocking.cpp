// SPDX-License-Identifier: Apache-2.0
// Direct's blocks and what they are thought to take, beside gemm's.
#include <doctest/doctest.h>

#include <string>

#include "../lib/direct.hpp"
#include "../lib/gemm.hpp"
#include "problem_in.hpp"

namespace fastconv::testing {
namespace {

DirectBlocking direct(const char* descriptor, Layout layout) {
  return choose_direct(problem_in(parsed(descriptor), layout), kLong.channels, kLarge);
}
Blocking gemm(const char* descriptor, Layout layout) {
  return choose_blocking(problem_in(parsed(descriptor), layout), kLong, kLarge, true);
}

}  // namespace

TEST_SUITE("blocking") {
  TEST_CASE("direct: a last block of few rows copies as many") {
    const DirectBlocking one = direct("mb1ic3ih104oc4kh3sh2ph1", Layout::nhwc);
    const DirectBlocking two = direct("mb1ic3ih112oc4kh3sh2ph1", Layout::nhwc);
    REQUIRE(one.rows == 52);
    REQUIRE(two.rows == 52);
    CHECK(two.pack_cycles < 1.2 * one.pack_cycles);
  }

  TEST_CASE("direct: staged results take longer the more of y leaves L2") {
    const auto pixel = [](const char* descriptor, std::int64_t pixels) {
      const DirectBlocking b = direct(descriptor, Layout::nhwc);
      REQUIRE(b.output_elements * 4 > kLarge.l1);
      return b.store_cycles / static_cast<double>(pixels);
    };
    const double near = pixel("mb1ic3ih64oc12kh3ph1", 64 * 64);
    const double half = pixel("mb1ic3ih128oc12kh3ph1", 128 * 128);
    const double far = pixel("mb1ic3ih416oc12kh3ph1", 416 * 416);
    CHECK(near < 0.9 * half);
    CHECK(half < 0.8 * far);
    CHECK(far == doctest::Approx(pixel("mb1ic3ih640oc12kh3ph1", 640 * 640)));
  }

  TEST_CASE("direct: planes that L1 does not hold come anew for every four channels") {
    for (const char* channels : {"24", "40", "56"}) {
      const auto cycles = [&](const char* rest) {
        return direct((std::string("mb1ic") + channels + "ih255" + rest).c_str(), Layout::nchw)
            .fma_cycles;
      };
      CAPTURE(channels);
      CHECK(cycles("oc12kh1") > 1.2 * 3 * cycles("oc4kh1"));
    }
  }

  TEST_CASE("direct: planes in place that come anew are blocks, unless L2 holds all of them") {
    const auto rows = [](const char* descriptor) {
      const DirectBlocking b = direct(descriptor, Layout::nchw);
      REQUIRE(b.in_place);
      return b.rows;
    };
    CHECK(rows("mb1ic3ih512oc32kh1") == 21);
    CHECK(rows("mb1ic64ih128oc8kh1") == 8);  // pixels enough for tiles
    CHECK(rows("mb1ic3ih512oc4kh1") == 164);
    CHECK(rows("mb1ic12ih128oc56kh1") == 128);
    CHECK(rows("mb1ic3ih514oc32kh3") == 160);
  }

  TEST_CASE("direct: as many sums as a step waits for wait longer on Intel's cores") {
    const auto cycles = [](const char* descriptor, const Tiles& tiles) {
      return choose_direct(problem_in(parsed(descriptor), Layout::nchw), tiles.channels, kLarge)
          .fma_cycles;
    };
    const char* const nine = "mb1ic8ih56oc8kh3ph1";  // sums, on average
    const char* const twelve = "mb1ic8ih48oc8kh3ph1";
    CHECK(cycles(nine, kShort) < 0.95 * cycles(nine, kShortIntel));
    CHECK(cycles(twelve, kShort) == cycles(twelve, kShortIntel));
  }

  TEST_CASE("gemm: taps of a dilated row do not touch") {
    const double dense = gemm("mb1ic8ih42oc12kh5", Layout::nhwc).fma_cycles;
    CHECK(gemm("mb1ic8ih50oc12kh5dh2", Layout::nhwc).fma_cycles > 1.05 * dense);
  }

  TEST_CASE("adjacent channels: direct is for a few outputs, narrow tiles for more") {
    for (const char* few : {"mb1ic3ih224oc3kh3ph1", "mb1ic1ih224oc2kh5ph2", "mb1ic4ih56oc4kh7ph3",
                            "mb1ic3ih416oc4kh3ph1", "mb1ic3ih224oc8kh3ph1"}) {
      CAPTURE(few);
      CHECK(direct(few, Layout::nhwc).cycles() < gemm(few, Layout::nhwc).cycles());
    }
    for (const char* more : {"mb1ic3ih416oc12kh3ph1", "mb1ic1ih416oc16kh7ph3",
                             "mb1ic3ih112oc16kh7ph3", "mb1ic160ih56oc6kh1", "mb1ic3ih28oc12kh3ph1",
                             "mb1ic3ih416oc8kh3sh2ph1", "mb1ic3ih1000oc8kh3ph1"}) {
      CAPTURE(more);
      CHECK(gemm(more, Layout::nhwc).cycles() < direct(more, Layout::nhwc).cycles());
    }
  }
}

}  // namespace fastconv::testing
