# README.md shows the program that the install tests build, to the letter.
file(READ ${SOURCE_DIR}/tests/consumer/main.cpp program)
string(REGEX REPLACE "^// SPDX[^\n]*\n" "" program "${program}")
file(READ ${SOURCE_DIR}/README.md readme)
string(FIND "${readme}" "```cpp\n${program}```\n" place)
if(place EQUAL -1)
  message(FATAL_ERROR "README.md does not show tests/consumer/main.cpp as it is")
endif()
