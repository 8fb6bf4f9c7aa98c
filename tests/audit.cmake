# Proves over the compiled files that no level's instructions can run on a CPU that lacks them.
include(CheckCXXSourceCompiles)
check_cxx_source_compiles("
  #if !defined(__x86_64__) || defined(__AVX__) || !defined(__ELF__)
  #error
  #endif
  int main() {}" FASTCONV_BASELINE_IS_SSE2)
if(NOT FASTCONV_BASELINE_IS_SSE2 OR CMAKE_CXX_FLAGS MATCHES "-fsanitize|-flto|--coverage")
  message(STATUS "audit.*: left out, for it reads x86-64 code of a plain build without AVX")
  return()
endif()

# GNU's, whatever the compiler.
find_program(FASTCONV_NM nm REQUIRED)
find_program(FASTCONV_OBJDUMP objdump REQUIRED)
mark_as_advanced(FASTCONV_NM FASTCONV_OBJDUMP)

function(add_audit name)
  add_test(NAME audit.${name} COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/audit/${ARGN})
  set_tests_properties(audit.${name} PROPERTIES
    ENVIRONMENT "NM=${FASTCONV_NM};OBJDUMP=${FASTCONV_OBJDUMP}")
endfunction()

foreach(level IN ITEMS generic sse4 avx2 avx512)
  add_audit(symbols.${level} audit.sh symbols ${level} $<TARGET_OBJECTS:fastconv_${level}>)
endforeach()
add_audit(instructions.archive audit.sh instructions $<TARGET_FILE:fastconv>)
add_audit(instructions.program audit.sh instructions $<TARGET_FILE:fastconv_tests>)

# That it can fail.
add_library(fastconv_leaky OBJECT audit/leaky.cpp)
target_compile_options(fastconv_leaky PRIVATE -mavx2 -O0)
set(leaky $<TARGET_OBJECTS:fastconv_leaky>)
add_audit(finds.symbol finds.sh "shared symbol: fastconv::leaked_relu" symbols avx2 ${leaky})
add_audit(finds.initialiser finds.sh "static initialiser: section" symbols avx2 ${leaky})
add_audit(finds.instruction finds.sh "AVX in fastconv::leaked_relu" instructions ${leaky})
