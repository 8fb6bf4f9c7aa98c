// SPDX-License-Identifier: Apache-2.0
#include "problem.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <limits>

namespace fastconv::testing {
namespace {

// Entries of the grammar. Those of an axis stand in the same order for d, h and w.
enum Key { g, mb, ic, oc, id, od, kd, sd, pd, dd, ih, oh, kh, sh, ph, dh, iw, ow, kw, sw, pw, dw };
constexpr std::array<std::string_view, 22> kKeys{"g",  "mb", "ic", "oc", "id", "od", "kd", "sd",
                                                 "pd", "dd", "ih", "oh", "kh", "sh", "ph", "dh",
                                                 "iw", "ow", "kw", "sw", "pw", "dw"};
constexpr int kPerAxis = ih - id;

// Far beyond any tensor, and small enough that no sum of two products below leaves 64 bits.
constexpr std::int64_t kLargest = std::numeric_limits<std::int32_t>::max();

std::string text(std::int64_t number) { return std::to_string(number); }
std::string text(Key key) { return std::string(kKeys[key]); }

class Parser {
 public:
  Parser(std::string_view descriptor, ParseError& error) : text_(descriptor), error_(error) {
    // What a descriptor leaves out: 0 means not given, except for these.
    value_[mb] = 2;
    value_[sd] = value_[sh] = value_[sw] = 1;
    value_[pd] = value_[ph] = value_[pw] = -1;
  }

  bool parse(Problem& problem) {
    Problem result;
    error_ = {};
    if (!read_entries(result.name) || !check_channels() || !drop_depth() || !infer(ih) ||
        !infer(iw) || !copy_missing_axes() || !finish(result)) {
      return false;
    }
    problem = result;
    return true;
  }

 private:
  static Key of_axis(Key axis, Key entry_of_h) {
    return static_cast<Key>(entry_of_h + (axis - ih));
  }

  bool fail_at(std::size_t position, const std::string& reason) {
    error_.column = static_cast<int>(position) + 1;
    error_.reason = reason;
    return false;
  }

  // At the entry, or where it could be added if it is not there.
  bool fail(Key key, const std::string& reason) {
    return fail_at(given_[key] ? position_[key] : end_, text(key) + ": " + reason);
  }

  bool read_entries(std::string& name) {
    std::size_t at = 0;
    while (at < text_.size()) {
      if (text_[at] == 'n') {
        end_ = at;
        return read_name(at + 1, name);
      }
      const auto matches = [&](std::string_view key) {
        return text_.substr(at, key.size()) == key;
      };
      const auto* key = std::find_if(kKeys.begin(), kKeys.end(), matches);
      if (key == kKeys.end()) {
        return fail_at(at, "\"" + std::string(text_.substr(at, 12)) +
                               "\" starts with no entry of a descriptor");
      }
      if (!read_number(static_cast<Key>(key - kKeys.begin()), at)) return false;
      if (at < text_.size() && text_[at] == '_') ++at;
    }
    end_ = text_.size();
    return true;
  }

  bool read_number(Key key, std::size_t& at) {
    position_[key] = at;
    given_[key] = true;
    at += kKeys[key].size();
    if (text_.substr(at, 1) == "-") return fail(key, "must not be negative");
    const std::size_t first = at;
    std::int64_t number = 0;
    for (; at < text_.size() && text_[at] >= '0' && text_[at] <= '9'; ++at) {
      number = number * 10 + (text_[at] - '0');
      if (number > kLargest) return fail(key, "must be at most " + text(kLargest));
    }
    if (at == first) return fail_at(at, text(key) + ": a number is missing");
    value_[key] = number;
    return true;
  }

  bool read_name(std::size_t at, std::string& name) {
    std::string_view rest = text_.substr(at);
    if (rest.substr(0, 1) == "\"") {
      if (rest.size() < 2 || rest.back() != '"') {
        return fail_at(text_.size(), "n: the closing quote is missing");
      }
      rest = rest.substr(1, rest.size() - 2);
    }
    name = std::string(rest);
    return true;
  }

  bool check_channels() {
    if (!given_[g]) value_[g] = 1;
    for (const Key key : {ic, oc}) {
      if (!given_[key]) return fail(key, "is missing");
    }
    for (const Key key : {g, ic, oc, sd, sh, sw}) {
      if (value_[key] < 1) return fail(key, "must be at least 1");
    }
    for (const Key key : {ic, oc}) {
      if (value_[key] % value_[g] != 0) {
        return fail(key, text(value_[key]) + " is no multiple of g " + text(value_[g]));
      }
    }
    return true;
  }

  // True if nothing is said of the axis. As in benchdnn, an entry that repeats the default says
  // nothing.
  bool silent(Key axis) const {
    const std::int64_t* v = &value_[axis];
    return v[0] == 0 && v[oh - ih] == 0 && v[kh - ih] == 0 && v[sh - ih] == 1 && v[ph - ih] < 1 &&
           v[dh - ih] == 0;
  }

  bool drop_depth() {
    has_depth_ = !silent(id);
    if (!has_depth_) return true;
    for (const Key key : {id, od, kd, pd}) {
      if (value_[key] > (key == pd ? 0 : 1)) {
        error_.three_d = true;
        return fail(key, "is " + text(value_[key]) + ", and 3-D convolutions are not supported");
      }
    }
    return infer(id);
  }

  // What the image, the kernel and one of output and padding say of the other.
  bool infer(Key axis) {
    if (silent(axis)) return true;
    const Key output = of_axis(axis, oh);
    const Key kernel = of_axis(axis, kh);
    const Key padding = of_axis(axis, ph);
    for (const Key key : {axis, kernel}) {
      if (value_[key] == 0) return fail(key, given_[key] ? "must be at least 1" : "is missing");
    }
    const std::int64_t stride = value_[of_axis(axis, sh)];
    if (value_[output] == 0) {
      value_[padding] = std::max<std::int64_t>(value_[padding], 0);
      const std::int64_t room = value_[axis] - reach(axis) + 2 * value_[padding];
      // Division towards zero, as there: a stride that is larger than what is missing still makes
      // one output.
      value_[output] = room / stride + 1;
      if (value_[output] < 1) {
        return fail(kernel, "reaches over " + text(reach(axis)) + ", more than " + text(axis) +
                                " " + text(value_[axis]) + " padded by " + text(value_[padding]) +
                                " on both sides");
      }
    } else if (value_[padding] < 0) {
      value_[padding] = total_padding(axis) / 2;
      if (value_[padding] < 0) return fail_beyond(axis);
    }
    if (total_padding(axis) - value_[padding] <= -stride) return fail_beyond(axis);
    return true;
  }

  bool fail_beyond(Key axis) {
    const std::int64_t padding = std::max<std::int64_t>(value_[of_axis(axis, ph)], 0);
    const std::int64_t stride = value_[of_axis(axis, sh)];
    const std::int64_t fit = (value_[axis] + padding - reach(axis)) / stride + 1;
    return fail(of_axis(axis, oh), "is " + text(value_[of_axis(axis, oh)]) + ", but " + text(fit) +
                                       " fit without padding behind " + text(axis) + " " +
                                       text(value_[axis]));
  }

  std::int64_t reach(Key axis) const {
    return (value_[of_axis(axis, kh)] - 1) * (value_[of_axis(axis, dh)] + 1) + 1;
  }

  // On both sides together, so that the output is as given; may be negative.
  std::int64_t total_padding(Key axis) const {
    return (value_[of_axis(axis, oh)] - 1) * value_[of_axis(axis, sh)] - value_[axis] + reach(axis);
  }

  bool copy_missing_axes() {
    const bool no_h = value_[oh] == 0;
    const bool no_w = value_[ow] == 0;
    if (has_depth_ && no_h != no_w) {
      return fail(no_h ? ih : iw,
                  "is missing: with a depth, both height and width are given or none");
    }
    if (no_h && no_w) {
      if (!has_depth_) return fail(ih, "is missing");
      copy_axis(id, ih);
    } else if (no_h) {
      const std::int64_t one_row[kPerAxis] = {1, 1, 1, 1, 0, 0};
      std::copy(one_row, one_row + kPerAxis, &value_[ih]);
    }
    if (no_w) copy_axis(ih, iw);
    return true;
  }

  void copy_axis(Key from, Key to) {
    std::copy(&value_[from], &value_[from] + kPerAxis, &value_[to]);
    std::copy(&position_[from], &position_[from] + kPerAxis, &position_[to]);
    std::copy(&given_[from], &given_[from] + kPerAxis, &given_[to]);
  }

  bool finish(Problem& p) {
    p.mb = value_[mb];
    p.ih = value_[ih];
    p.iw = value_[iw];
    p.oh = value_[oh];
    p.ow = value_[ow];
    p.conv.in_channels = value_[ic];
    p.conv.out_channels = value_[oc];
    p.conv.kernel_size = {value_[kh], value_[kw]};
    p.conv.stride = {value_[sh], value_[sw]};
    p.conv.dilation = {value_[dh] + 1, value_[dw] + 1};
    p.conv.groups = value_[g];
    // A last row or column that no output touches needs no negative padding to be ignored.
    const auto behind = [&](Key axis, Key padding) {
      return std::max<std::int64_t>(total_padding(axis) - value_[padding], 0);
    };
    p.conv.padding = {value_[ph], behind(ih, ph), value_[pw], behind(iw, pw)};
    if (!product_fits({p.mb, p.conv.in_channels, p.ih, p.iw}) ||
        !product_fits(
            {p.conv.out_channels, p.conv.in_channels / p.conv.groups, value_[kh], value_[kw]}) ||
        !product_fits({2, std::max<std::int64_t>(p.mb, 1), p.conv.out_channels, p.oh, p.ow,
                       p.conv.in_channels / p.conv.groups, value_[kh], value_[kw]})) {
      return fail_at(0, "the elements of a tensor or its operations exceed 64 bits");
    }
    Pair output;
    const Status status = output_size(p.conv.window(), p.ih, p.iw, output);
    if (!status.ok()) return fail_at(0, status.message());
    return true;
  }

  static bool product_fits(std::initializer_list<std::int64_t> factors) {
    std::int64_t product = 1;
    return std::all_of(factors.begin(), factors.end(), [&](std::int64_t factor) {
      return !__builtin_mul_overflow(product, factor, &product);
    });
  }

  std::string_view text_;
  ParseError& error_;
  std::array<std::int64_t, kKeys.size()> value_{};
  std::array<std::size_t, kKeys.size()> position_{};
  std::array<bool, kKeys.size()> given_{};
  std::size_t end_ = 0;  // of the entries
  bool has_depth_ = false;
};

class BatchReader {
 public:
  BatchReader(Batch& batch, std::string& error) : batch_(batch), error_(error) {}

  bool read(const std::filesystem::path& path, int depth) {
    std::ifstream file(path);
    if (!file) return fail(path.string() + ": cannot be read");
    if (depth > 8) return fail(path.string() + ": --batch files nest too deeply, or in a circle");
    std::string line;
    std::string pending;  // a token continued on the next line by a backslash
    for (int number = 1; std::getline(file, line); ++number) {
      for (std::size_t at = 0; (at = line.find_first_not_of(" \t\r", at)) != std::string::npos;) {
        if (line[at] == '#') break;
        const std::size_t end = std::min(line.find_first_of(" \t\r", at), line.size());
        std::string token = line.substr(at, end - at);
        const bool continued = token.back() == '\\';
        if (continued) token.pop_back();
        const std::size_t column = at + 1;
        at = end;
        pending += token;
        if (continued || pending.empty()) continue;
        if (!take(pending, path, number, column, depth)) return false;
        pending.clear();
      }
    }
    if (!file.eof()) return fail(path.string() + ": cannot be read to its end");
    return pending.empty() || fail(path.string() + ": ends in a continued line");
  }

 private:
  bool fail(const std::string& reason) {
    error_ = reason;
    return false;
  }

  bool take(const std::string& token, const std::filesystem::path& path, int line,
            std::size_t column, int depth) {
    const std::string place = path.string() + ":" + std::to_string(line) + ":";
    const std::string_view option = "--batch=";
    if (token.compare(0, option.size(), option) == 0) {
      const std::filesystem::path target = token.substr(option.size());
      const std::filesystem::path beside = path.parent_path() / target;
      return read(std::filesystem::exists(beside) ? beside : target, depth + 1);
    }
    if (token.compare(0, 2, "--") == 0) {
      batch_.notes.push_back(place + " skipped the option " + token);
      return true;
    }
    Problem problem;
    ParseError why;
    if (parse_problem(token, problem, why)) {
      batch_.problems.push_back(problem);
    } else if (why.three_d) {
      batch_.notes.push_back(place + " skipped " + token + ": " + why.reason);
    } else {
      return fail(place + std::to_string(column + static_cast<std::size_t>(why.column) - 1) + ": " +
                  why.reason);
    }
    return true;
  }

  Batch& batch_;
  std::string& error_;
};

}  // namespace

bool parse_problem(std::string_view text, Problem& problem, ParseError& error) {
  return Parser(text, error).parse(problem);
}

std::string to_string(const Problem& p) {
  const Conv2d& c = p.conv;
  const bool square = p.ih == p.iw && p.oh == p.ow && c.kernel_size.h == c.kernel_size.w &&
                      c.stride.h == c.stride.w && c.padding.top == c.padding.left &&
                      c.dilation.h == c.dilation.w;
  std::string result;
  const auto put = [&](Key key, std::int64_t value) { result += text(key) + text(value); };
  const auto put_both = [&](Key key_h, std::int64_t h, Key key_w, std::int64_t w) {
    put(key_h, h);
    if (!square) put(key_w, w);
  };
  if (c.groups != 1) put(g, c.groups);
  put(mb, p.mb);
  put(ic, c.in_channels);
  put_both(ih, p.ih, iw, p.iw);
  put(oc, c.out_channels);
  put_both(oh, p.oh, ow, p.ow);
  put_both(kh, c.kernel_size.h, kw, c.kernel_size.w);
  if (c.stride.h != 1 || c.stride.w != 1) put_both(sh, c.stride.h, sw, c.stride.w);
  put_both(ph, c.padding.top, pw, c.padding.left);
  if (c.dilation.h != 1 || c.dilation.w != 1) {
    put_both(dh, c.dilation.h - 1, dw, c.dilation.w - 1);
  }
  if (!p.name.empty()) result += "n\"" + p.name + "\"";
  return result;
}

bool read_batch(const std::string& path, Batch& batch, std::string& error) {
  return BatchReader(batch, error).read(path, 0);
}

}  // namespace fastconv::testing
