// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>

#include "problem.hpp"
#include "tensors.hpp"

namespace fastconv::testing {
namespace {

Problem parsed(const std::string& text) {
  CAPTURE(text);
  Problem problem;
  ParseError error;
  CHECK_MESSAGE(parse_problem(text, problem, error), error.column << ": " << error.reason);
  return problem;
}

// n c h w, k oh ow, r s, strides, padding top bottom left right, dilations, groups.
std::string numbers(const Problem& p) {
  const Conv2d& c = p.conv;
  std::string result;
  for (const std::int64_t value :
       {p.mb, c.in_channels, p.ih, p.iw, c.out_channels, p.oh, p.ow, c.kernel_size.h,
        c.kernel_size.w, c.stride.h, c.stride.w, c.padding.top, c.padding.bottom, c.padding.left,
        c.padding.right, c.dilation.h, c.dilation.w, c.groups}) {
    result += (result.empty() ? "" : " ") + std::to_string(value);
  }
  return result;
}

// What is wrong with a text and in which column.
std::string refusal(const std::string& text) {
  Problem problem;
  problem.name = "untouched";
  ParseError error;
  if (parse_problem(text, problem, error)) return "none";
  CHECK(problem.name == "untouched");
  CHECK(problem.ih == 0);
  return std::to_string(error.column) + " " + error.reason;
}

// A file that goes when its test does.
class File {
 public:
  File(const std::string& name, const std::string& content)
      : path_(std::filesystem::temp_directory_path() /
              ("fastconv_test_problem_" + name + std::to_string(random_tag()))) {
    std::ofstream(path_) << content;
  }
  ~File() { std::filesystem::remove(path_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  std::string path() const { return path_.string(); }
  std::string name() const { return path_.filename().string(); }

 private:
  static std::uintptr_t random_tag() {
    static const auto tag =
        std::filesystem::file_time_type::clock::now().time_since_epoch().count();
    return static_cast<std::uintptr_t>(tag);
  }
  std::filesystem::path path_;
};

TEST_SUITE("problem") {
  TEST_CASE("every entry is read, in any order, with and without underscores") {
    const char* expected = "5 6 20 22 8 9 6 3 4 2 3 1 0 2 1 2 3 2";
    CHECK(numbers(parsed("g2mb5_ic6ih20iw22_oc8oh9ow6_kh3kw4_sh2sw3_ph1pw2_dh1dw2")) == expected);
    CHECK(numbers(parsed("g2mb5ic6ih20iw22oc8oh9ow6kh3kw4sh2sw3ph1pw2dh1dw2")) == expected);
    CHECK(numbers(parsed("dw2dh1pw2ph1sw3sh2kw4kh3ow6oh9oc8iw22ih20ic6mb5g2")) == expected);
    CHECK(numbers(parsed("g2_mb5_ic6_ih20_iw22_oc8_oh9_ow6_kh3_kw4_sh2_sw3_ph1_pw2_dh1_dw2_")) ==
          expected);
    CHECK(numbers(parsed("g2ic1mb5ic6ih20iw22oc8oh9ow6kh3kw4sh2sw3ph1pw2dh1dw2")) == expected);
  }

  TEST_CASE("defaults: two images, one group, stride 1, dense") {
    CHECK(numbers(parsed("ic3ih10oc4kh3")) == "2 3 10 10 4 8 8 3 3 1 1 0 0 0 0 1 1 1");
    CHECK(parsed("mb0ic3ih10oc4kh3").mb == 0);
    CHECK(parsed("mb0ic3ih10oc4kh3").flop() == 0.0);
  }

  TEST_CASE("the output follows from the padding, the padding from the output") {
    CHECK(numbers(parsed("ic1ih10oc1kh3ph1")) == "2 1 10 10 1 10 10 3 3 1 1 1 1 1 1 1 1 1");
    CHECK(numbers(parsed("ic1ih10oc1oh10kh3")) == "2 1 10 10 1 10 10 3 3 1 1 1 1 1 1 1 1 1");
    // The odd row goes behind.
    CHECK(numbers(parsed("ic1ih10oc1oh10kh4")) == "2 1 10 10 1 10 10 4 4 1 1 1 2 1 2 1 1 1");
    CHECK(numbers(parsed("ic1ih10oc1oh12kh3ph0")) == "2 1 10 10 1 12 12 3 3 1 1 0 4 0 4 1 1 1");
    CHECK(numbers(parsed("ic1ih10oc1oh5kh3sh2")) == "2 1 10 10 1 5 5 3 3 2 2 0 1 0 1 1 1 1");
    // More padding than the window is wide.
    CHECK(numbers(parsed("g1ic16oc16_ih5oh8kh3ph3")) == "2 16 5 5 16 8 8 3 3 1 1 3 2 3 2 1 1 1");
    // As benchdnn divides: a stride larger than what is missing still makes one output.
    CHECK(numbers(parsed("ic1ih2oc1kh3sh2")) == "2 1 2 2 1 1 1 3 3 2 2 0 1 0 1 1 1 1");
  }

  TEST_CASE("rows and columns that no output touches need no padding") {
    CHECK(numbers(parsed("ic1ih10oc1oh5kh1sh2ph0")) == "2 1 10 10 1 5 5 1 1 2 2 0 0 0 0 1 1 1");
    CHECK(numbers(parsed("ic1ih11oc1kh3sh3")) == "2 1 11 11 1 3 3 3 3 3 3 0 0 0 0 1 1 1");
  }

  TEST_CASE("dilation counts from 0 in the text and from 1 behind it") {
    CHECK(numbers(parsed("ic1ih10oc1kh3dh1")) == "2 1 10 10 1 6 6 3 3 1 1 0 0 0 0 2 2 1");
    CHECK(numbers(parsed("ic1ih10oc1oh10kh3dh1")) == "2 1 10 10 1 10 10 3 3 1 1 2 2 2 2 2 2 1");
  }

  TEST_CASE("a silent width copies the height, a silent height is one row") {
    CHECK(numbers(parsed("ic3ih8oc17oh4kh3ph1sh2dh0")) == "2 3 8 8 17 4 4 3 3 2 2 1 0 1 0 1 1 1");
    CHECK(numbers(parsed("ic3oc17_iw8ow4kw3pw1sw2")) == "2 3 1 8 17 1 4 1 3 1 2 0 0 1 0 1 1 1");
    // An entry that repeats the default says nothing, as in benchdnn.
    CHECK(numbers(parsed("ic3ih9oc4kh3sh2sw1")) == numbers(parsed("ic3ih9oc4kh3sh2")));
    CHECK(numbers(parsed("ic3ih9iw9oc4kh3kw3sh2")) == "2 3 9 9 4 4 7 3 3 2 1 0 0 0 0 1 1 1");
  }

  TEST_CASE("a depth of one plane is two-dimensional, more is refused") {
    CHECK(numbers(parsed("ic3id1ih8iw8oc4kd1kh3kw3")) == numbers(parsed("ic3ih8oc4kh3")));
    CHECK(numbers(parsed("ic3id1od1oc4kd1pd0")) == "2 3 1 1 4 1 1 1 1 1 1 0 0 0 0 1 1 1");
    CHECK(refusal("ic3id1ih8oc4kd1kh3") ==
          "19 iw: is missing: with a depth, both height and width are given or none");
    CHECK(refusal("ic3oc16_id5od5kd3pd1_n\"3d\"") ==
          "9 id: is 5, and 3-D convolutions are not supported");
    CHECK(refusal("ic3ih8oc16id1kd3kh3") == "14 kd: is 3, and 3-D convolutions are not supported");
    CHECK(refusal("ic3id1ih8iw8oc4kd1kh3kw3pd1") ==
          "25 pd: is 1, and 3-D convolutions are not supported");
    Problem problem;
    ParseError error;
    CHECK_FALSE(parse_problem("ic3oc16_id5kd3", problem, error));
    CHECK(error.three_d);
    CHECK_FALSE(parse_problem("ic3oc16_ih5", problem, error));
    CHECK_FALSE(error.three_d);
  }

  TEST_CASE("names, quoted or not, reach to the end") {
    CHECK(parsed("ic3ih10oc4kh3n\"res2a:conv*4\"").name == "res2a:conv*4");
    CHECK(parsed("ic3ih10oc4kh3_nalexnet:conv1").name == "alexnet:conv1");
    CHECK(parsed("ic3ih10oc4kh3n\"two words\"").name == "two words");
    CHECK(parsed("ic3ih10oc4kh3n\"ic5\"").conv.in_channels == 3);
    CHECK(parsed("ic3ih10oc4kh3n").name.empty());
    CHECK(parsed("ic3ih10oc4kh3n\"\"").name.empty());
  }

  TEST_CASE("malformed text: position and reason") {
    CHECK(refusal("") == "1 ic: is missing");
    CHECK(refusal("ic3") == "4 oc: is missing");
    CHECK(refusal("ic3ih10oc4") == "11 kh: is missing");
    CHECK(refusal("ic3oc4kh3") == "10 ih: is missing");
    CHECK(refusal("ic3oc4n\"x\"") == "7 ih: is missing");
    CHECK(refusal("ic3ih10oc4kh3sw2") == "17 iw: is missing");
    CHECK(refusal("ic3ih10oc4kh3xy5") == "14 \"xy5\" starts with no entry of a descriptor");
    CHECK(refusal("ic3 ih10") == "4 \" ih10\" starts with no entry of a descriptor");
    CHECK(refusal("ic3__ih10oc4kh3") == "5 \"_ih10oc4kh3\" starts with no entry of a descriptor");
    CHECK(refusal("_ic3ih10oc4kh3") == "1 \"_ic3ih10oc4k\" starts with no entry of a descriptor");
    CHECK(refusal("IC3ih10oc4kh3") == "1 \"IC3ih10oc4kh\" starts with no entry of a descriptor");
    CHECK(refusal("icih10oc4kh3") == "3 ic: a number is missing");
    CHECK(refusal("ic3ih10oc4kh") == "13 kh: a number is missing");
    CHECK(refusal("ic3ih10oc4kh+3") == "13 kh: a number is missing");
    CHECK(refusal("ic-3ih10oc4kh3") == "1 ic: must not be negative");
    CHECK(refusal("ic3ih10oc4kh3ph-1") == "14 ph: must not be negative");
    CHECK(refusal("ic0ih10oc4kh3") == "1 ic: must be at least 1");
    CHECK(refusal("ic3ih10oc0kh3") == "8 oc: must be at least 1");
    CHECK(refusal("ic3ih10oc4kh0") == "11 kh: must be at least 1");
    CHECK(refusal("ic3ih0oc4kh3") == "4 ih: must be at least 1");
    CHECK(refusal("ic3ih10oc4kh3sh0") == "14 sh: must be at least 1");
    CHECK(refusal("g0ic3ih10oc4kh3") == "1 g: must be at least 1");
    CHECK(refusal("g2ic3ih10oc4kh3") == "3 ic: 3 is no multiple of g 2");
    CHECK(refusal("g2ic4ih10oc5kh3") == "10 oc: 5 is no multiple of g 2");
    CHECK(refusal("ic3ih10oc4kh3n\"x") == "17 n: the closing quote is missing");
    CHECK(refusal("ic3ih10oc4kh3n\"") == "16 n: the closing quote is missing");
    CHECK(refusal(std::string("ic3\0ih10", 8)).substr(0, 2) == "4 ");
  }

  TEST_CASE("geometry that does not work out: position and reason") {
    CHECK(refusal("ic3ih10oc4kh11") ==
          "11 kh: reaches over 11, more than ih 10 padded by 0 on both sides");
    CHECK(refusal("ic3ih10oc4kh4dh4ph2") ==
          "11 kh: reaches over 16, more than ih 10 padded by 2 on both sides");
    CHECK(refusal("ic3ih10iw4oc4kh3kw5") ==
          "17 kw: reaches over 5, more than iw 4 padded by 0 on both sides");
    CHECK(refusal("ic3ih10oc4oh3kh3ph0") == "11 oh: is 3, but 8 fit without padding behind ih 10");
    CHECK(refusal("ic3ih10oc4oh3kh3") == "11 oh: is 3, but 8 fit without padding behind ih 10");
  }

  TEST_CASE("numbers and products that do not fit") {
    CHECK(refusal("ic3ih99999999999999999999999oc4kh3") == "4 ih: must be at most 2147483647");
    CHECK(refusal("ic2147483648ih10oc4kh3") == "1 ic: must be at most 2147483647");
    CHECK(parsed("mb1ic2147483647ih1oc1kh1").conv.in_channels == 2147483647);
    CHECK(parsed("mb1ic00000000000000000000003ih1oc1kh1").conv.in_channels == 3);
    const std::string overflow = "1 the elements of a tensor or its operations exceed 64 bits";
    CHECK(refusal("mb2147483647ic2147483647ih2oc1kh1") == overflow);
    CHECK(refusal("mb1ic1ih2147483647oc2oh2147483647kh1") == overflow);
    CHECK(refusal("ic2147483647ih1oc2147483647kh1") == overflow);
    CHECK(refusal("ic1ih2147483647oc1kh2147483647dh2147483647").substr(0, 19) ==
          "19 kh: reaches over");
    CHECK(refusal("ic1ih1oc1oh2147483647kh2147483647dh2147483647sh2147483647") == overflow);
  }

  TEST_CASE("lines of benchdnn's shape files") {
    struct Line {
      const char* text;
      const char* expected;
      double gflop;
    };
    const Line lines[] = {
        {"ic3ih224oc64oh112kh7sh2ph3n\"resnet_50_v1_5:conv1\"",
         "2 3 224 224 64 112 112 7 7 2 2 3 2 3 2 1 1 1", 0.472055808},
        {"ic256ih56oc512oh28kh1sh2ph0n\"resnet_50_v1_5:res3a_branch1\"",
         "2 256 56 56 512 28 28 1 1 2 2 0 0 0 0 1 1 1", 0.411041792},
        {"ic128ih56oc128oh28kh3sh2ph1n\"resnet_50_v1_5:res3a_branch2b\"",
         "2 128 56 56 128 28 28 3 3 2 2 1 0 1 0 1 1 1", 0.462422016},
        {"ic3ih227iw227_oc96oh55ow55_kh11kw11_sh4sw4ph0pw0_n\"alexnet:conv1\"",
         "2 3 227 227 96 55 55 11 11 4 4 0 0 0 0 1 1 1", 0.4216608},
        {"g17ic17oc17_ih8oh4kh3ph1sh2_n\"conv_basic_2d:depthwise_stride_tail\"",
         "2 17 8 8 17 4 4 3 3 2 2 1 0 1 0 1 1 17", 0.000009792},
        {"mb2_ic3oc64_ih300kh3oh300ph1n\"ssd_300_voc0712:conv1_1\"",
         "2 3 300 300 64 300 300 3 3 1 1 1 1 1 1 1 1 1", 0.62208},
    };
    for (const Line& line : lines) {
      const Problem problem = parsed(line.text);
      CHECK(numbers(problem) == line.expected);
      CHECK(problem.flop() == doctest::Approx(line.gflop * 1e9).epsilon(1e-12));
    }
  }

  TEST_CASE("text goes there and back") {
    CHECK(to_string(parsed("ic3ih10oc4kh3")) == "mb2ic3ih10oc4oh8kh3ph0");
    CHECK(to_string(parsed("g2mb5ic6ih20iw22oc8oh9ow6kh3kw4sh2sw3ph1pw2dh1dw2n\"a b\"")) ==
          "g2mb5ic6ih20iw22oc8oh9ow6kh3kw4sh2sw3ph1pw2dh1dw2n\"a b\"");
    CHECK(to_string(parsed("ic3oc16_iw5kw3pw1")) == "mb2ic3ih1iw5oc16oh1ow5kh1kw3ph0pw1");
    // Every combination of small geometries for which the parser finds an answer.
    int accepted = 0;
    for (std::uint64_t seed = 0; seed < 3000; ++seed) {
      std::uint64_t index = 0;
      const auto pick = [&](std::initializer_list<const char*> choices) {
        return std::string(choices.begin()[random_bits(seed, index++) % choices.size()]);
      };
      const std::string text =
          pick({"", "g1", "g2", "g4"}) + pick({"", "mb0", "mb1_", "mb7"}) + "ic4" +
          pick({"ih1", "ih5_", "ih12"}) + pick({"", "iw1", "iw7"}) + "oc8" +
          pick({"", "oh1", "oh4", "oh9"}) + pick({"", "ow3", "ow8"}) + pick({"kh1", "kh2", "kh3"}) +
          pick({"", "kw1", "kw4"}) + pick({"", "sh1", "sh2", "sh3"}) + pick({"", "sw2"}) +
          pick({"", "ph0", "ph1", "ph4"}) + pick({"", "pw2"}) + pick({"", "dh0", "dh2"}) +
          pick({"", "dw1"}) + pick({"", "nx", "n\"y z\""});
      CAPTURE(text);
      Problem first;
      ParseError error;
      if (!parse_problem(text, first, error)) {
        CHECK(error.column >= 1);
        CHECK(error.column <= static_cast<int>(text.size()) + 1);
        CHECK_FALSE(error.reason.empty());
        continue;
      }
      ++accepted;
      const Problem second = parsed(to_string(first));
      CHECK(numbers(first) == numbers(second));
      CHECK(first.name == second.name);
      CHECK(to_string(first) == to_string(second));
      Pair output;
      CHECK(output_size(first.conv.window(), first.ih, first.iw, output).ok());
      CHECK(output.h == first.oh);
      CHECK(output.w == first.ow);
    }
    CHECK(accepted > 500);
  }

  TEST_CASE("every prefix and every single changed character is read or refused with a position") {
    const std::string whole = "g2mb5_ic6ih20iw22_oc8oh9ow6_kh3kw4_sh2sw3_ph1pw2_dh1dw2_n\"x\"";
    Problem problem;
    ParseError error;
    const auto check = [&](const std::string& text) {
      CAPTURE(text);
      if (parse_problem(text, problem, error)) return;
      CHECK(error.column >= 1);
      CHECK(error.column <= static_cast<int>(text.size()) + 1);
      CHECK_FALSE(error.reason.empty());
    };
    for (std::size_t i = 0; i <= whole.size(); ++i) check(whole.substr(0, i));
    for (std::size_t i = 0; i < whole.size(); ++i) {
      for (const char replacement : {'0', '9', 'k', 'd', '_', '-', '"', '\xff', '\0'}) {
        std::string text = whole;
        text[i] = replacement;
        check(text);
      }
    }
  }

  TEST_CASE("batch files: comments, blanks, options, files within files") {
    const File inner("inner", "# one layer\nic8ih8oc8kh1n\"inner\"");
    const File outer("outer",
                     "# a comment\n\n"
                     "  ic3ih10oc4kh3n\"first\"   # behind it\r\n"
                     "--dir=FWD_B --mb=2\n"
                     "ic3ih10oc4kh3n\"has#hash\" ic3ih10oc5kh3\n"
                     "--batch=" +
                         inner.name() +
                         "\n"
                         "ic3oc16_id5od5kd3pd1_n\"deep\"\n"
                         "ic3ih10\\\n  oc6kh3\n");
    Batch batch;
    std::string error;
    CHECK_MESSAGE(read_batch(outer.path(), batch, error), error);
    REQUIRE(batch.problems.size() == 5);
    CHECK(batch.problems[0].name == "first");
    CHECK(batch.problems[1].name == "has#hash");
    CHECK(batch.problems[2].conv.out_channels == 5);
    CHECK(batch.problems[3].name == "inner");
    CHECK(batch.problems[4].conv.out_channels == 6);
    REQUIRE(batch.notes.size() == 3);
    CHECK(batch.notes[0] == outer.path() + ":4: skipped the option --dir=FWD_B");
    CHECK(batch.notes[1] == outer.path() + ":4: skipped the option --mb=2");
    CHECK(batch.notes[2].find(":7: skipped ic3oc16_id5od5kd3pd1_n\"deep\": id: is 5") !=
          std::string::npos);
  }

  TEST_CASE("batch files that cannot be read say where") {
    Batch batch;
    std::string error;
    CHECK_FALSE(read_batch("/no/such/file", batch, error));
    CHECK(error == "/no/such/file: cannot be read");
    const File bad("bad", "ic3ih10oc4kh3\n  ic3ih10oc4kh\n");
    CHECK_FALSE(read_batch(bad.path(), batch, error));
    CHECK(error == bad.path() + ":2:15: kh: a number is missing");
    const File missing("missing", "--batch=not_here\n");
    CHECK_FALSE(read_batch(missing.path(), batch, error));
    CHECK(error == "not_here: cannot be read");
    const File open("open", "ic3ih10\\");
    CHECK_FALSE(read_batch(open.path(), batch, error));
    const File circle("circle", "");
    std::ofstream(circle.path()) << "--batch=" << circle.name() << "\n";
    CHECK_FALSE(read_batch(circle.path(), batch, error));
    CHECK(error.find("in a circle") != std::string::npos);
    CHECK_FALSE(read_batch(std::filesystem::temp_directory_path().string(), batch, error));
  }
}

}  // namespace
}  // namespace fastconv::testing
