// SPDX-License-Identifier: Apache-2.0
#include "views.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "error.hpp"
#include "integers.hpp"

namespace fastconv {
namespace {

constexpr std::int64_t kMaxElements = std::int64_t{1} << 60;
constexpr int kMaxRank = 8;
constexpr std::int64_t kFloatBytes = Footprint::kFloatBytes;

bool is_empty(const std::int64_t* shape, int rank) noexcept {
  return std::find(shape, shape + rank, 0) != shape + rank;
}

// Offsets of a view's lowest and highest element from its data pointer.
struct Span {
  std::int64_t lowest = 0;
  std::int64_t highest = 0;
};

// Of a view that check_shape has passed and that is not empty.
Span span_of(const std::int64_t* shape, const std::int64_t* strides, int rank) noexcept {
  Span span;
  for (int i = 0; i < rank; ++i) {
    const std::int64_t offset = (shape[i] - 1) * strides[i];
    (offset < 0 ? span.lowest : span.highest) += offset;
  }
  return span;
}

enum class Answer { no, yes, undecided };

std::int64_t gcd(std::int64_t a, std::int64_t b) noexcept {
  while (b != 0) {
    const std::int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

std::int64_t floor_div(std::int64_t a, std::int64_t b) noexcept {  // b > 0
  return a / b - (a % b < 0 ? 1 : 0);
}

// Are there integers first[i] <= value[i] <= last[i] with sum of coefficient[i] * value[i] ==
// target?
//
// Depth first from the largest coefficient down, keeping to values for which the rest can still
// reach the target: by size (the rest's smallest and largest sum) and by divisibility (its greatest
// common divisor). Nested layouts leave one or two values a level; the budget is for the others.
class BoundedEquation {
 public:
  void add_term(std::int64_t coefficient, std::int64_t first, std::int64_t last) noexcept {
    if (coefficient == 0 || (first == 0 && last == 0)) return;
    if (coefficient < 0) {
      coefficient = -coefficient;
      std::swap(first, last);
      first = -first;
      last = -last;
    }
    for (int i = 0; i < count_; ++i) {  // equal coefficients act as one
      if (term_[i].coefficient == coefficient) {
        term_[i].first += first;
        term_[i].last += last;
        return;
      }
    }
    term_[count_++] = {coefficient, first, last, 0, 0, 0};
  }

  // Terms for the elements' offsets, in floats, from the address that is returned. A float of which
  // a stretch of bytes has a part is one of its elements.
  std::int64_t add_elements(const Footprint& f, std::int64_t sign) noexcept {
    const auto add = [&](std::int64_t stride, std::int64_t size) {
      if (size > 1) add_term(sign * stride, 0, size - 1);
    };
    if (f.view == nullptr) {
      const std::int64_t first = f.begin / kFloatBytes;
      add(1, (f.end + kFloatBytes - 1) / kFloatBytes - first);
      return first;
    }
    for (std::size_t i = 0; i < 4; ++i) add(f.view->strides[i], f.view->shape[i]);
    return Footprint::address_of(f.view->data) / kFloatBytes;
  }

  Answer solve(std::int64_t target) noexcept {
    std::sort(term_, term_ + count_,
              [](const Term& a, const Term& b) { return a.coefficient > b.coefficient; });
    std::int64_t smallest = 0, largest = 0, divisor = 0;
    for (int i = count_; i-- > 0;) {
      Term& term = term_[i];
      term.rest_smallest = smallest;
      term.rest_largest = largest;
      term.rest_divisor = divisor;
      smallest += term.coefficient * term.first;
      largest += term.coefficient * term.last;
      divisor = gcd(divisor, term.coefficient);
    }
    if (target < smallest || target > largest) return Answer::no;
    budget_ = 1 << 16;
    return search(0, target);
  }

 private:
  struct Term {
    std::int64_t coefficient, first, last, rest_smallest, rest_largest, rest_divisor;
  };

  Answer search(int index, std::int64_t target) noexcept {
    if (index == count_) return target == 0 ? Answer::yes : Answer::no;
    const Term& term = term_[index];
    const std::int64_t first =
        std::max(term.first, -floor_div(term.rest_largest - target, term.coefficient));
    const std::int64_t last =
        std::min(term.last, floor_div(target - term.rest_smallest, term.coefficient));
    for (std::int64_t value = first; value <= last; ++value) {
      if (--budget_ < 0) return Answer::undecided;
      const std::int64_t rest = target - term.coefficient * value;
      if (term.rest_divisor != 0 && rest % term.rest_divisor != 0) continue;
      const Answer answer = search(index + 1, rest);
      if (answer != Answer::no) return answer;
    }
    return Answer::no;
  }

  Term term_[kMaxRank]{};
  int count_ = 0;
  int budget_ = 0;
};

// Two different elements at one address differ first along some axis, by d >= 1 there, and either
// way along the axes behind it.
Answer self_overlap(const std::int64_t* shape, const std::int64_t* strides, int rank) noexcept {
  for (int axis = 0; axis < rank; ++axis) {
    if (shape[axis] < 2) continue;
    if (strides[axis] == 0) return Answer::yes;
    BoundedEquation equation;
    equation.add_term(strides[axis], 1, shape[axis] - 1);
    for (int j = axis + 1; j < rank; ++j) {
      if (strides[j] != 0) equation.add_term(strides[j], 1 - shape[j], shape[j] - 1);
    }
    const Answer answer = equation.solve(0);
    if (answer != Answer::no) return answer;
  }
  return Answer::no;
}

}  // namespace

Status check_shape(const char* argument, const std::int64_t* shape, const std::int64_t* strides,
                   int rank) noexcept {
  std::int64_t elements = 1;
  for (int i = 0; i < rank; ++i) {
    if (shape[i] < 0) {
      return fail(StatusCode::invalid_argument, "%s: has size %lld along axis %d%s", argument,
                  ll(shape[i]), i,
                  shape[i] == -1 ? ", as an impossible slice, flip or broadcast gives" : "");
    }
  }
  if (is_empty(shape, rank)) return {};
  for (int i = 0; i < rank; ++i) {
    if (!multiply(elements, shape[i], elements) || elements > kMaxElements) {
      return fail(StatusCode::overflow, "%s: more than 2^60 elements up to axis %d of size %lld",
                  argument, i, ll(shape[i]));
    }
  }
  std::int64_t reach = 0;
  for (int i = 0; i < rank; ++i) {
    std::int64_t offset = 0;
    const bool fits = multiply(shape[i] - 1, strides[i], offset) && offset >= -kMaxElements &&
                      offset <= kMaxElements;
    if (fits) reach += std::abs(offset);
    if (!fits || reach > kMaxElements) {
      return fail(StatusCode::overflow, "%s: strides reach over more than 2^60 elements", argument);
    }
  }
  return {};
}

Status check_memory(const char* argument, const float* data, const std::int64_t* shape,
                    const std::int64_t* strides, int rank, const float* extent_begin,
                    std::int64_t extent_size) noexcept {
  if (is_empty(shape, rank)) return {};
  if (data == nullptr) return fail(StatusCode::invalid_argument, "%s: data is null", argument);
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  if (address % alignof(float) != 0) {
    return fail(StatusCode::invalid_argument, "%s: data is not aligned to %d bytes", argument,
                static_cast<int>(alignof(float)));
  }
  if (extent_begin == nullptr && extent_size == -1) return {};
  if (extent_begin == nullptr) {
    return fail(StatusCode::out_of_bounds, "%s: its extent of %lld elements is null", argument,
                ll(extent_size));
  }
  const Span span = span_of(shape, strides, rank);
  // Addresses as integers: the view may lie in another object than its stated extent.
  const auto begin = reinterpret_cast<std::uintptr_t>(extent_begin);
  const std::int64_t start = static_cast<std::int64_t>(address - begin) / kFloatBytes;
  if (start + span.lowest < 0 || start + span.highest >= extent_size) {
    return fail(StatusCode::out_of_bounds,
                "%s: reaches over elements %lld to %lld of an extent of %lld", argument,
                ll(start + span.lowest), ll(start + span.highest), ll(extent_size));
  }
  return {};
}

Status check_no_self_overlap(const char* argument, const std::int64_t* shape,
                             const std::int64_t* strides, int rank) noexcept {
  if (is_empty(shape, rank) || self_overlap(shape, strides, rank) == Answer::no) return {};
  char text[160] = "";
  int length = 0;
  for (int i = 0; i < rank && length < static_cast<int>(sizeof text) - 48; ++i) {
    length += std::snprintf(text + length, sizeof text - static_cast<std::size_t>(length),
                            "%s%lld by %lld", i > 0 ? ", " : "", ll(shape[i]), ll(strides[i]));
  }
  return fail(StatusCode::overlap, "%s: elements share memory (size by stride: %s)", argument,
              text);
}

Status check_interleaved(const Footprint& source, const Footprint& destination) noexcept {
  BoundedEquation equation;
  const std::int64_t distance =
      equation.add_elements(destination, -1) - equation.add_elements(source, 1);
  switch (equation.solve(distance)) {
    case Answer::no:
      return {};
    case Answer::yes:
      return fail(StatusCode::overlap,
                  "%s: shares elements with %s; their lowest ones are %lld apart",
                  destination.argument, source.argument, ll(std::abs(distance)));
    case Answer::undecided:
      break;
  }
  return fail(StatusCode::overlap,
              "%s: interleaves with %s in a way that cannot be shown to share no element",
              destination.argument, source.argument);
}

}  // namespace fastconv
