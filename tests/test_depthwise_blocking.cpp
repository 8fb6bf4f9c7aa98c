// SPDX-License-Identifier: Apache-2.0
// How depthwise tiles go, for cores and caches that this machine need not have.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>

#include "../lib/depthwise.hpp"
#include "../lib/direct.hpp"
#include "problem_in.hpp"

namespace fastconv::testing {
namespace {

constexpr CacheSizes kMedium{32 << 10, 1 << 20};
constexpr CacheSizes kSmall{32 << 10, 512 << 10};

DepthwiseBlocking blocking(const fastconv::Problem& problem, const Tiles& tiles,
                           const CacheSizes& caches = kLarge) {
  DepthwiseBlocking b;
  REQUIRE(choose_depthwise(problem, tiles.channels, caches, true, b));
  return b;
}

DepthwiseBlocking blocking(const std::string& descriptor, const Tiles& tiles,
                           const CacheSizes& caches = kLarge) {
  CAPTURE(descriptor);
  return blocking(problem_in(parsed(descriptor), Layout::nhwc), tiles, caches);
}

}  // namespace

TEST_SUITE("blocking") {
  TEST_CASE("depthwise: a vector's rows follow each other, or a row's vectors") {
    // Three taps: but where pixels are an even number of lines apart and far away or crowded.
    const std::string far = "g128mb1ic128ih56oc128kh3ph1", near = "g192mb1ic192ih28oc192kh3ph1";
    CHECK(!blocking(far, kLong).down);
    CHECK(blocking(far, kHalves).down);
    CHECK(blocking(far, kShort).down);
    CHECK(blocking(near, kLong).down);
    CHECK(!blocking(near, kLong, kSmall).down);
    CHECK(blocking("g240mb1ic240ih56oc240kh3ph1", kLong).down);
    CHECK(!blocking("g192mb1ic192ih28oc192kh3sh2ph1", kLong).down);
    for (const Tiles& tiles : {kShort, kLong, kHalves}) {
      CHECK(!blocking("g256mb1ic256ih28oc256kh3sh2ph1", tiles).down);
    }
    // Wider filters: where a row is more than L1 holds beside the next one.
    CHECK(!blocking("g128mb1ic128ih56oc128kh5sh2ph2", kShort).down);
    CHECK(blocking("g120mb1ic120ih56oc120kh5sh2ph2", kShort, kMedium).down);
    CHECK(!blocking("g144mb1ic144ih56oc144kh5sh2ph2", kShort, kSmall).down);
    CHECK(!blocking("g32mb1ic32ih28oc32kh5ph2", kShort).down);
    CHECK(blocking("g32mb1ic32ih28oc32kh5ph2", kLong).down);
    CHECK(blocking("g256mb1ic256ih28oc256kh5ph2", kLong).down);
    CHECK(!blocking("g256mb1ic256ih28oc256kh5ph2", kHalves).down);
    CHECK(!blocking("g512mb8ic512ih28oc512kh5ph2", kLong).down);
  }

  TEST_CASE("depthwise: channels that are taken across fill a part of L1") {
    CHECK(blocking("g512mb1ic512ih14oc512kh3ph1", kLong).channels == 256);
    CHECK(blocking("g512mb1ic512ih14oc512kh3ph1", kHalves).channels == 512);
    CHECK(blocking("g480mb1ic480ih14oc480kh3ph1", kLong).channels == 480);
    // Of five taps, from beyond L2.
    CHECK(blocking("g192mb1ic192ih95oc192kh5sh2ph2", kShort).channels == 128);
    CHECK(blocking("g144mb1ic144ih56oc144kh5sh2ph2", kShort, kSmall).channels == 80);
    CHECK(blocking("g192mb1ic192ih95oc192kh5sh2ph2", kLong).channels == 192);
  }

  TEST_CASE("depthwise: rows that strides leave out most of share few pointers") {
    for (const Tiles& tiles : {kShort, kLong, kHalves}) {
      CHECK(blocking("g672mb1ic672ih14oc672kh5sh3ph2", tiles).rows == 5);
      CHECK(blocking("g96mb1ic96ih56oc96kh5sh3ph2", tiles).rows == 4);
      CHECK(blocking("g16mb1ic16ih640oc16kh3sh3ph1", tiles).rows == 1);
      CHECK(blocking("g512mb1ic512ih56oc512kh5sh3ph2", tiles).rows == 1);  // a copy
    }
  }

  TEST_CASE("depthwise: lines from beyond L2 come in their order, down few rows") {
    const auto rows = [](const char* descriptor, const Tiles& tiles) {
      return blocking(descriptor, tiles, kSmall).rows;
    };
    const char* const by_two = "g48mb1ic48ih112oc48kh3sh2ph1";
    CHECK(rows(by_two, kShort) == 2);
    CHECK(rows("g64mb1ic64ih56oc64kh3ph1", kShort) == 4);
    CHECK(rows(by_two, kShortIntel) == 14);
    CHECK(rows(by_two, kHalves) == 7);                            // as they leave L1 otherwise
    CHECK(rows("g48mb1ic48ih28oc48kh3sh2ph1", kShort) == 14);     // near
    CHECK(rows("g256mb1ic256ih56oc256kh3sh2ph1", kShort) == 14);  // many lines to a pixel
    CHECK(rows("g48mb1ic48ih112oc48kh5sh2ph2", kShort) == 14);
  }

  TEST_CASE("depthwise: planes of five and seven rows are not transposed") {
    const auto planes = [](const std::string& descriptor, const Tiles& tiles) {
      return blocking(problem_in(parsed(descriptor), Layout::nchw), tiles);
    };
    for (const Tiles& tiles : {kLong, kHalves}) {
      for (const char* descriptor :
           {"g240mb1ic240ih28oc240kh5ph2", "g144mb1ic144ih56oc144kh5sh2ph2",
            "g96mb1ic96ih56oc96kh7ph3", "g576mb1ic576ih14oc576kh3sh2ph1"}) {
        const DepthwiseBlocking b = planes(descriptor, tiles);
        CHECK(b.lanes == Lanes::pixels);
        CHECK(b.channels % 2 == 0);
      }
    }
  }

  TEST_CASE("depthwise: strips go down no more pages than prefetchers follow") {
    const auto planes = [](const std::string& descriptor) {
      return blocking(problem_in(parsed(descriptor), Layout::nchw), kLong);
    };
    const auto check = [&](const char* descriptor, std::int64_t rows, std::int64_t channels,
                           bool fetches) {
      CAPTURE(descriptor);
      const DepthwiseBlocking b = planes(descriptor);
      CHECK(b.lanes == Lanes::pixels);
      CHECK(b.rows == rows);
      CHECK(b.channels == channels);
      CHECK(b.fetch == fetches);
    };
    check("g128mb1ic128ih112oc128kh5ph2", 112, 2, false);
    check("g64mb1ic64ih208oc64kh5ph2", 56, 2, true);
    check("g64mb1ic64ih208oc64kh3ph1", 112, 1, true);
    check("g3mb1ic3ih512oc3kh7ph3", 28, 2, true);
    check("g3mb1ic3ih1024oc3kh7ph3", 28, 1, true);
    check("mb1ic1ih300oc1kh5ph2", 84, 1, false);
    check("mb1ic1ih512oc1kh5ph2", 56, 1, true);
    check("mb1ic1ih1024oc1kh5ph2", 28, 1, true);
    check("mb1ic1ih2000oc1kh5sh2ph2", 14, 1, true);
  }

  TEST_CASE("depthwise: planes are cut into whole tiles until every thread has work") {
    for (const Tiles& tiles : {kLong, kShort}) {
      for (const char* descriptor : {"mb1ic1ih320oc1kh3ph1", "mb1ic1ih1024oc1kh5ph2"}) {
        const fastconv::Problem p = problem_in(parsed(descriptor), Layout::nchw);
        DepthwiseBlocking b = blocking(p, tiles);
        REQUIRE(b.lanes == Lanes::pixels);
        split_for_threads(p, 4, b);
        CHECK(depthwise_blocks(p, b) >= 12);
        CHECK(b.rows % 7 == 0);
      }
    }
  }

  TEST_CASE("depthwise: pixels repeated for wide filters by 2 take longer than direct's planes") {
    const auto is_direct = [](const char* descriptor, const Tiles& tiles = kLong) {
      const fastconv::Problem problem = problem_in(parsed(descriptor), Layout::nhwc);
      return choose_direct(problem, tiles.channels, kLarge).cycles() <
             blocking(problem, tiles).cycles();
    };
    CHECK(is_direct("g32mb1ic32ih56oc128kh5sh2ph2"));
    CHECK(is_direct("g32mb1ic32ih112oc128kh5sh2ph2"));
    CHECK_FALSE(is_direct("g32mb1ic32ih56oc128kh5ph2"));
    CHECK_FALSE(is_direct("g32mb1ic32ih56oc128kh3sh2ph1"));
    CHECK_FALSE(is_direct("g64mb1ic64ih28oc128kh5sh2ph2"));
    CHECK(is_direct("g64mb1ic64ih28oc128kh5sh2ph2", kShortIntel));
    CHECK_FALSE(is_direct("g32mb1ic32ih112oc64kh3sh2ph1", kShortIntel));
  }

  TEST_CASE("depthwise: planes without masks, but for rows of whole vectors") {
    const auto lanes = [&](const char* descriptor) {
      return blocking(problem_in(parsed(descriptor), Layout::nchw), kFours).lanes;
    };
    CHECK(lanes("g256mb1ic256ih28oc256kh3ph1") == Lanes::pixels);
    CHECK(lanes("g144mb1ic144ih56oc144kh3ph1") == Lanes::pixels);
    CHECK(lanes("g480mb1ic480ih14oc480kh3ph1") == Lanes::channels);
    CHECK(lanes("g240mb1ic240ih28oc240kh3sh2ph1") == Lanes::channels);
    CHECK(lanes("g1152mb1ic1152ih7oc1152kh5ph2") == Lanes::channels);
  }

  TEST_CASE("depthwise: parts of rows of groups that fill vectors are whole tiles") {
    CHECK(blocking("g4mb1ic64ih60oc64kh3ph1", kLong).pixels == 35);
    CHECK(blocking("g4mb1ic64ih120oc64kh3sh2ph1", kLong).pixels == 42);
    CHECK(blocking("g4mb1ic64ih60oc64kh3ph1", kShort).pixels == 32);
    CHECK(blocking("g4mb1ic64ih50oc64kh3ph1", kLong).pixels == 50);  // not in parts
    for (const Tiles& tiles : {kShort, kLong}) {
      const std::int64_t least = broadcast_pixels(tiles.channels);
      const auto check = [&](std::int64_t width) {
        CAPTURE(width);
        const std::int64_t pixels =
            blocking("g4mb1ic64ih3iw" + std::to_string(width) + "oc64kh3kw3ph1pw1", tiles).pixels;
        CHECK(pixels % least == 0);
        CHECK((width - 1) % pixels + 1 >= least);
        CHECK(pixels <= 112);  // more would be halved for threads, which leaves parts of tiles
      };
      for (std::int64_t width = 57; width < 5000; ++width) check(width);
      check(504 * std::int64_t{4000000} + 1);  // at once, too
    }
  }

  TEST_CASE("depthwise: lines that groups share are read first on AMD's cores, and stay in L2") {
    const auto block = [](const char* descriptor, const Tiles& tiles) {
      return blocking(descriptor, tiles, kSmall);
    };
    const DepthwiseBlocking far = block("g32mb1ic256ih56oc256kh3ph1", kShort);
    CHECK(far.reads_lines);
    CHECK(far.rows == 9);
    CHECK(block("g32mb1ic256ih28oc256kh3ph1", kShort).rows == 14);
    CHECK(block("g128mb1ic1024ih56oc1024kh3ph1", kShort).reads_lines == false);  // in two blocks
    CHECK(block("g64mb1ic512ih56oc512kh3ph1", kShort).rows == 4);
    CHECK(block("g64mb1ic512ih2iw56oc512kh3kw3ph1pw1", kShort).rows == 2);
    CHECK_FALSE(block("g32mb1ic256ih14oc256kh3ph1", kShort).reads_lines);  // near
    CHECK_FALSE(block("g32mb1ic256ih56oc256kh3ph1", kShortIntel).reads_lines);
    CHECK_FALSE(block("g16mb1ic256ih56oc256kh3ph1", kLong).reads_lines);
    const fastconv::Problem p = problem_in(parsed("g32mb1ic256ih28oc256kh3ph1"), Layout::nhwc);
    DepthwiseBlocking parts = blocking(p, kShort, kSmall);
    CHECK(parts.reads_lines);
    split_for_threads(p, 4, parts);
    CHECK(parts.channels < 256);
    CHECK_FALSE(parts.reads_lines);  // or each part would read all of them
    // Single channels from memory.
    CHECK(block("g128mb32ic128ih28oc128kh3ph1", kShort).reads_lines);
    CHECK(block("g96mb1ic96ih224oc96kh3sh2ph1", kShort).rows == 2);
    CHECK_FALSE(block("g96mb1ic96ih112oc96kh3sh2ph1", kShort).reads_lines);
    CHECK_FALSE(block("g96mb1ic96ih224oc96kh3ph2dh1", kShort).reads_lines);  // of every second row
    CHECK_FALSE(block("g128mb32ic128ih28oc128kh3ph1", kShortIntel).reads_lines);
  }

  TEST_CASE("depthwise: short vectors of groups wait for weights that leave L1") {
    const auto cycles = [](const char* descriptor, const Tiles& tiles) {
      return blocking(descriptor, tiles).fma_cycles;
    };
    const char* const near = "mb1ic80ih28oc8kh3ph1";
    const char* const far = "mb1ic160ih28oc8kh3ph1";
    CHECK(cycles(far, kShort) > 2.2 * cycles(near, kShort));
    CHECK(cycles("mb1ic160ih28oc16kh3ph1", kLong) < 2.01 * cycles("mb1ic80ih28oc16kh3ph1", kLong));
  }

  TEST_CASE("depthwise: groups of AMD's short vectors are spread from memory, in either layout") {
    for (const Layout layout : {Layout::nhwc, Layout::nchw}) {
      const fastconv::Problem p = problem_in(parsed("g16mb1ic64ih28oc64kh5ph2"), layout);
      CHECK(blocking(p, kShort).fma_cycles > 1.2 * blocking(p, kShortIntel).fma_cycles);
    }
  }

  TEST_CASE(
      "depthwise: planes and transposed pixels from memory take longer than direct on AMD's") {
    const auto is_direct = [](const char* descriptor, const Tiles& tiles) {
      const fastconv::Problem problem = problem_in(parsed(descriptor), Layout::nchw);
      return choose_direct(problem, tiles.channels, kSmall).cycles() <
             blocking(problem, tiles, kSmall).cycles();
    };
    for (const char* descriptor : {"mb1ic1ih1024oc1kh3ph1", "g12mb1ic12ih320oc12kh3ph2dh1",
                                   "g32mb1ic32ih224oc32kh3ph2dh1"}) {
      CAPTURE(descriptor);
      CHECK(is_direct(descriptor, kShort));
      CHECK_FALSE(is_direct(descriptor, kShortIntel));
    }
    CHECK_FALSE(is_direct("g32mb1ic32ih112oc32kh3ph1", kShort));  // L3 holds them
    CHECK_FALSE(is_direct("g96mb1ic96ih112oc96kh3sh2ph1", kShort));
  }

  TEST_CASE("depthwise: dilated pixels of a set are copied where it has no ways for a tile's row") {
    const std::string dilated = "g512mb1ic512ih33oc512kh3ph2dh1";
    for (const Tiles& tiles : {kShort, kLong, kHalves}) {
      CHECK(!blocking(dilated, tiles).copied);
      CHECK(blocking(dilated, tiles, kSmall).copied);
    }
  }

  TEST_CASE("depthwise: lines under wide filters are copied where eight ways lose their halves") {
    const char* const crowded = "g128mb1ic128ih56oc128kh5sh2ph2";
    CHECK(blocking(crowded, kShort, kSmall).copied);
    CHECK(blocking(crowded, kShortIntel, kMedium).copied);
    CHECK_FALSE(blocking(crowded, kShort).copied);  // twelve ways
    CHECK_FALSE(blocking(crowded, kHalves, kMedium).copied);
    CHECK_FALSE(blocking("g144mb1ic144ih56oc144kh5sh2ph2", kShort, kSmall).copied);
    CHECK_FALSE(blocking("g32mb1ic128ih14oc128kh7ph3", kShort, kSmall).copied);  // groups of four
    CHECK_FALSE(blocking("g128mb1ic128ih112oc128kh5sh2ph2", kShort, kSmall).copied);  // far
  }

  TEST_CASE("depthwise: taps that no output finds in the image are left out") {
    const auto found = [](const std::string& descriptor, bool finite) {
      const fastconv::Problem problem = problem_in(parsed(descriptor), Layout::nhwc);
      DepthwiseBlocking b;
      REQUIRE(choose_depthwise(problem, kLong.channels, kLarge, finite, b));
      CHECK(b.first_tap.h <= b.unfound.h);
      CHECK(b.first_tap.w <= b.unfound.w);
      return problem.taps() - b.unfound.h * problem.window.kernel_size.w -
             b.unfound.w * (problem.window.kernel_size.h - b.unfound.h);
    };
    CHECK(found("g64mb1ic64ih1oc64kh11ph5", true) == 1);
    CHECK(found("g64mb1ic64ih1oc64kh11ph5", false) == 121);
    CHECK(found("g64mb1ic64ih3oc64kh7ph3", true) == 25);
    CHECK(found("g64mb1ic64ih3iw9oc64oh3ow9kh7kw7ph3pw3", true) == 35);
    CHECK(found("g64mb1ic64ih3oc64kh5sh2ph4dh1", true) == 9);
    CHECK(found("g64mb1ic64ih14oc64kh3ph1", true) == 9);
  }

  TEST_CASE("depthwise: nor do the largest strides and dilations overflow") {
    // Pixels that lie as far apart as those of a tensor may.
    constexpr std::int64_t kSide = 1 << 20;
    const Dims<4> strides{0, 1, 512, std::int64_t{1} << 40};
    Conv2d conv;
    conv.in_channels = conv.out_channels = conv.groups = 512;
    for (const Tiles& tiles : {kShort, kLong, kHalves}) {
      for (const std::int64_t kernel : {3, 5, 7}) {
        conv.kernel_size = kernel;
        conv.padding = 0;
        conv.stride = 1 << 19;
        conv.dilation = 1 << 16;
        fastconv::Problem problem = problem_in(problem_of(conv, 1, kSide, kSide), Layout::nhwc);
        REQUIRE(problem.oh == 2);
        problem.x_strides = strides;
        const DepthwiseBlocking b = blocking(problem, tiles);
        CHECK(b.rows <= 2);
        CHECK(b.channels <= 512);
        CHECK(b.cycles() > 0.0);
      }
    }
  }
}

}  // namespace fastconv::testing
