// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <fastconv/status.hpp>

#include "error.hpp"

namespace fastconv {

// One table of names serves `name` and `parse` of an enumeration.
template <class Enum>
struct Named {
  Enum value;
  const char* text;
};

template <class Enum, std::size_t Count>
const char* find_name(const Named<Enum> (&names)[Count], Enum value) noexcept {
  for (const auto& entry : names) {
    if (entry.value == value) return entry.text;
  }
  return "unknown";
}

template <class Enum, std::size_t Count>
bool has_name(const Named<Enum> (&names)[Count], Enum value) noexcept {
  for (const auto& entry : names) {
    if (entry.value == value) return true;
  }
  return false;
}

template <class Enum, std::size_t Count>
Status find_value(const Named<Enum> (&names)[Count], const char* argument, const char* text,
                  Enum& value) noexcept {
  if (text == nullptr) return fail(StatusCode::invalid_argument, "%s: the name is null", argument);
  char known[160] = "";
  for (const auto& entry : names) {
    if (std::strcmp(entry.text, text) == 0) {
      value = entry.value;
      return {};
    }
    if (known[0] != '\0') std::strncat(known, ", ", sizeof known - std::strlen(known) - 1);
    std::strncat(known, entry.text, sizeof known - std::strlen(known) - 1);
  }
  return fail(StatusCode::invalid_argument, "%s: \"%.40s\" is none of %s", argument, text, known);
}

}  // namespace fastconv
