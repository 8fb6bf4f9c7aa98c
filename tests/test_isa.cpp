// SPDX-License-Identifier: Apache-2.0
// Names, and how a level is chosen, also for CPUs that are not here.
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <fastconv/fastconv.hpp>
#include <sstream>
#include <string>

#include "../lib/isa.hpp"
#include "check.hpp"

namespace fastconv::testing {
namespace {

// An environment variable for the length of a scope.
class Environment {
 public:
  Environment(const char* variable, const char* value) : variable_(variable) {
    const char* old = std::getenv(variable);
    had_ = old != nullptr;
    if (had_) old_ = old;
    set(value);
  }
  ~Environment() { set(had_ ? old_.c_str() : nullptr); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  void set(const char* value) const {
    if (value == nullptr) {
      unsetenv(variable_);
    } else {
      setenv(variable_, value, 1);
    }
  }

  const char* variable_;
  bool had_ = false;
  std::string old_;
};

bool mentions(const Status& status, const std::string& word) {
  return std::string(status.message()).find(word) != std::string::npos;
}

// Every value has one name of its own, the name reads back, and nothing else does.
template <class Enum, class Parse>
void check_names(int count, const char* argument, Parse parse) {
  for (int i = 0; i < count; ++i) {
    const auto value = static_cast<Enum>(i);
    auto read = static_cast<Enum>(-1);
    REQUIRE(parse(name(value), read).ok());
    CHECK(read == value);
  }
  for (const char* wrong : {"", "unknown", "Naive", "AVX2", " avx2", "avx2 ", "zero", "gem"}) {
    auto untouched = static_cast<Enum>(1);
    const Status status = parse(wrong, untouched);
    CHECK(status.code() == StatusCode::invalid_argument);
    CHECK(mentions(status, argument));
    CHECK(mentions(status, std::string("\"") + wrong + "\""));
    CHECK(mentions(status, name(static_cast<Enum>(0))));  // the choice there is
    CHECK(mentions(status, name(static_cast<Enum>(count - 1))));
    CHECK(untouched == static_cast<Enum>(1));
  }
  auto untouched = static_cast<Enum>(1);
  CHECK(parse(nullptr, untouched).code() == StatusCode::invalid_argument);
  CHECK(mentions(parse(nullptr, untouched), argument));
  CHECK(std::strcmp(name(static_cast<Enum>(count)), name(static_cast<Enum>(-1))) == 0);
}

// A name of a thousand characters is cut, not copied past the end.
template <class Enum, class Parse>
void check_long_name(Parse parse) {
  const std::string text(1000, 'x');
  Enum value{};
  const Status status = parse(text.c_str(), value);
  CHECK(status.code() == StatusCode::invalid_argument);
  CHECK(std::strlen(status.message()) < static_cast<std::size_t>(Status::kMessageCapacity));
}

Isa selected(Isa requested, IsaSet available, const char* cap) {
  auto isa = static_cast<Isa>(-1);
  const Status status = select_isa(requested, available, cap, isa);
  return status.ok() ? isa : static_cast<Isa>(-1);
}

constexpr Isa kRefused = static_cast<Isa>(-1);

}  // namespace

TEST_SUITE("names") {
  TEST_CASE("every name reads back, no other does") {
    check_names<Algorithm>(static_cast<int>(all_algorithms().size()), "algorithm", parse_algorithm);
    check_names<Isa>(static_cast<int>(all_isas().size()) + 1, "isa", parse_isa);
    check_names<PaddingMode>(4, "padding_mode", parse_padding_mode);
    check_long_name<Algorithm>(parse_algorithm);
    check_long_name<Isa>(parse_isa);
    check_long_name<PaddingMode>(parse_padding_mode);
  }

  TEST_CASE("the tables hold what the headers document") {
    const char* algorithms[] = {"auto", "naive", "im2col", "strided_im2col", "strided"};
    for (const char* text : algorithms) {
      Algorithm algorithm{};
      CHECK(parse_algorithm(text, algorithm).ok());
    }
    CHECK(std::strcmp(name(Isa::automatic), "auto") == 0);
    CHECK(std::strcmp(name(PaddingMode::circular), "circular") == 0);
    for (int code = 0; code <= static_cast<int>(StatusCode::out_of_memory); ++code) {
      CHECK(std::strcmp(name(static_cast<StatusCode>(code)), "unknown") != 0);
    }
    CHECK(std::strcmp(name(static_cast<StatusCode>(-1)), "unknown") == 0);
    CHECK(std::strcmp(version(), FASTCONV_VERSION_STRING) == 0);
  }

  TEST_CASE("ctest has an entry for each level that the library names") {
    std::istringstream levels(FASTCONV_TEST_LEVELS);
    std::string level;
    for (const Isa isa : all_isas()) {
      REQUIRE(static_cast<bool>(levels >> level));
      CHECK(level == name(isa));
    }
    CHECK_FALSE(static_cast<bool>(levels >> level));
  }

  TEST_CASE("a Status keeps its code and cuts its message") {
    const Status fine;
    CHECK(fine.ok());
    CHECK(std::strcmp(fine.message(), "") == 0);
    const std::string text(500, 'm');
    const Status status(StatusCode::overlap, text.c_str());
    CHECK_FALSE(status.ok());
    CHECK(status.code() == StatusCode::overlap);
    CHECK(std::string(status.message()) == text.substr(0, Status::kMessageCapacity - 1));
  }
}

TEST_SUITE("isa") {
  TEST_CASE("this machine") {
    CHECK(is_supported(Isa::automatic));
    CHECK(is_supported(Isa::generic));
    CHECK_FALSE(is_supported(static_cast<Isa>(-1)));
    CHECK_FALSE(is_supported(static_cast<Isa>(31)));
    CHECK_FALSE(is_supported(static_cast<Isa>(1000)));
    const Environment none("FASTCONV_ISA", nullptr);
    for (const Isa isa : all_isas()) {
      auto resolved = static_cast<Isa>(-1);
      const Status status = resolve_isa(isa, resolved);
      CHECK(status.ok() == is_supported(isa));
      CHECK(resolved == (is_supported(isa) ? isa : kRefused));
    }
    Isa best{};
    REQUIRE(resolve_isa(Isa::automatic, best).ok());
    CHECK(is_supported(best));
    CHECK(best != Isa::automatic);
  }

#if defined(__x86_64__)
  TEST_CASE("the best level that a made-up CPU has") {
    const IsaSet generic = isa_bit(Isa::generic);
    const IsaSet sse4 = generic | isa_bit(Isa::sse4);
    const IsaSet avx2 = sse4 | isa_bit(Isa::avx2);
    const IsaSet avx512 = avx2 | isa_bit(Isa::avx512);
    const struct {
      IsaSet cpu;
      Isa best;
    } cpus[] = {
        {generic, Isa::generic}, {sse4, Isa::sse4}, {avx2, Isa::avx2}, {avx512, Isa::avx512}};
    for (const auto& c : cpus) {
      for (const char* cap : {static_cast<const char*>(nullptr), "", "auto", "avx512"}) {
        CHECK(selected(Isa::automatic, c.cpu, cap) == c.best);
      }
      CHECK(selected(Isa::automatic, c.cpu, "generic") == Isa::generic);
      CHECK(selected(Isa::automatic, c.cpu, "sse4") ==
            (c.cpu == generic ? Isa::generic : Isa::sse4));
      CHECK(selected(Isa::automatic, c.cpu, "neon") == kRefused);
      CHECK(selected(Isa::automatic, c.cpu, "avx3") == kRefused);
      for (const Isa isa : all_isas()) {
        const Isa expected = (c.cpu & isa_bit(isa)) != 0 ? isa : kRefused;
        CHECK(selected(isa, c.cpu, nullptr) == expected);
        // A cap is for those who leave the choice to the library.
        CHECK(selected(isa, c.cpu, "generic") == expected);
      }
    }
    CHECK(selected(Isa::automatic, avx512, "avx2") == Isa::avx2);
    // A level below may be missing: an operating system that saves no AVX state.
    CHECK(selected(Isa::automatic, generic | isa_bit(Isa::avx2), "sse4") == Isa::generic);
  }
#elif defined(__aarch64__)
  TEST_CASE("the best level that a made-up CPU has") {
    const IsaSet generic = isa_bit(Isa::generic);
    const IsaSet neon = generic | isa_bit(Isa::neon);
    CHECK(selected(Isa::automatic, neon, nullptr) == Isa::neon);
    CHECK(selected(Isa::automatic, neon, "generic") == Isa::generic);
    CHECK(selected(Isa::automatic, neon, "avx2") == kRefused);
    CHECK(selected(Isa::automatic, generic, nullptr) == Isa::generic);
    CHECK(selected(Isa::automatic, generic, "neon") == Isa::generic);
    CHECK(selected(Isa::neon, generic, "generic") == kRefused);
    CHECK(selected(Isa::neon, neon, "generic") == Isa::neon);
  }
#endif

  TEST_CASE("refusals name the level, and leave the result alone") {
    Isa isa = Isa::generic;
    const Status lacking = select_isa(Isa::avx512, isa_bit(Isa::generic), nullptr, isa);
    CHECK(lacking.code() == StatusCode::unsupported);
    CHECK(mentions(lacking, "isa"));
    CHECK(mentions(lacking, "avx512"));
    const Status unknown = select_isa(static_cast<Isa>(77), isa_bit(Isa::generic), nullptr, isa);
    CHECK_FALSE(unknown.ok());
    CHECK(mentions(unknown, "77"));
    const Status cap = select_isa(Isa::automatic, isa_bit(Isa::generic), "avx9", isa);
    CHECK(cap.code() == StatusCode::invalid_argument);
    CHECK(mentions(cap, "FASTCONV_ISA"));
    CHECK(mentions(cap, "\"avx9\""));
    CHECK(isa == Isa::generic);
  }

  TEST_CASE("FASTCONV_ISA is read when a layer is created") {
    const float one = 1.0F;
    const ConstTensorView weights = oihw(&one, 1, 1, 1, 1);
    Conv2d conv;
    conv.in_channels = conv.out_channels = 1;
    conv.kernel_size = 1;
    float data[2] = {3.0F, 0.0F};
    {
      const Environment cap("FASTCONV_ISA", "pentium");
      Layer layer;
      const Status status = Layer::create(conv, weights, nullptr, {}, layer);
      CHECK(status.code() == StatusCode::invalid_argument);
      CHECK(mentions(status, "FASTCONV_ISA"));
      CHECK(mentions(status, "pentium"));
    }
    for (const Isa isa : all_isas()) {
      if (!is_supported(isa)) continue;
      const Environment cap("FASTCONV_ISA", name(isa));
      Isa resolved{};
      REQUIRE(resolve_isa(Isa::automatic, resolved).ok());
      CHECK(resolved == isa);
      Layer layer;
      REQUIRE(Layer::create(conv, weights, nullptr, {}, layer).ok());
      CHECK(layer.run(nchw(data, 1, 1, 1, 1), nchw(data + 1, 1, 1, 1, 1)).ok());
      CHECK(data[1] == 3.0F);
    }
  }

  TEST_CASE("a level that this CPU lacks is refused, never run") {
    const float one = 1.0F;
    Conv2d conv;
    conv.in_channels = conv.out_channels = 1;
    conv.kernel_size = 1;
    int lacking = 0;
    for (const Isa isa : all_isas()) {
      if (is_supported(isa)) continue;
      ++lacking;
      for (const Algorithm algorithm : all_algorithms()) {
        Layer layer;
        const Status status =
            Layer::create(conv, oihw(&one, 1, 1, 1, 1), nullptr, {algorithm, isa}, layer);
        CHECK(status.code() == StatusCode::unsupported);
        CHECK(mentions(status, name(isa)));
      }
    }
    CHECK(lacking > 0);  // no CPU has both neon and avx2
  }

  TEST_CASE("explain names the level that runs") {
    const float one = 1.0F;
    Conv2d conv;
    conv.in_channels = conv.out_channels = 1;
    conv.kernel_size = 1;
    float data[2] = {};
    for (const Isa isa : all_isas()) {
      if (!is_supported(isa)) continue;
      Layer layer;
      Plan plan;
      REQUIRE(
          Layer::create(conv, oihw(&one, 1, 1, 1, 1), nullptr, {Algorithm::automatic, isa}, layer)
              .ok());
      REQUIRE(layer.plan(nchw(data, 1, 1, 1, 1), nchw(data + 1, 1, 1, 1, 1), plan).ok());
      const std::string text = plan.explain().text;
      CHECK_MESSAGE(text.find(std::string("isa: ") + name(isa)) != std::string::npos, text);
    }
  }
}

}  // namespace fastconv::testing
