# Builds the programs of tests/consumer against fastconv in the given WAY and runs them. An installed prefix is moved
# before it is used.
function(run)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "OUTPUT" "COMMAND")
  execute_process(COMMAND ${arg_COMMAND} RESULT_VARIABLE result OUTPUT_VARIABLE out
                  ERROR_VARIABLE out OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT result EQUAL 0)
    list(JOIN arg_COMMAND " " command)
    message(FATAL_ERROR "${command}\ngave ${result}:\n${out}")
  endif()
  if(arg_OUTPUT)
    set(${arg_OUTPUT} "${out}" PARENT_SCOPE)
  endif()
endfunction()

# Installs the build tree into a prefix that is then renamed to `prefix`.
function(install_and_move build prefix)
  run(COMMAND ${CMAKE_COMMAND} --install ${build} --prefix ${WORK_DIR}/before)
  file(RENAME ${WORK_DIR}/before ${prefix})
  # No trace of where it came from, nor of what only our own sources and tests use.
  file(GLOB_RECURSE files ${prefix}/*.cmake ${prefix}/*.pc ${prefix}/*.hpp ${prefix}/*.h)
  foreach(file IN LISTS files)
    file(READ ${file} text)
    foreach(word IN ITEMS ${SOURCE_DIR} ${build} ${WORK_DIR} xsimd dnnl benchmark.h doctest)
      string(FIND "${text}" "${word}" place)
      if(NOT place EQUAL -1)
        message(FATAL_ERROR "${file} mentions ${word}")
      endif()
    endforeach()
  endforeach()
endfunction()

function(build_with_cmake from)
  run(COMMAND ${CMAKE_COMMAND} -S ${SOURCE_DIR}/tests/consumer -B ${WORK_DIR}/build -G ${GENERATOR}
      -D CMAKE_C_COMPILER=${CC} -D CMAKE_C_FLAGS=${C_FLAGS} -D CMAKE_CXX_COMPILER=${CXX}
      -D CMAKE_CXX_FLAGS=${CXX_FLAGS} -D FASTCONV_FROM=${from} ${ARGN})
  run(COMMAND ${CMAKE_COMMAND} --build ${WORK_DIR}/build)
  run(COMMAND ${WORK_DIR}/build/network OUTPUT said)
  if(NOT said STREQUAL "ok 6.52961")  # (48 x (4 x 0.01 + 0.02) x 64 x 0.03) + 1, at a corner
    message(FATAL_ERROR "network says: ${said}")
  endif()
  run(COMMAND ${WORK_DIR}/build/c_plan OUTPUT said)
  if(NOT said STREQUAL "ok 3.56")  # 4 x 64 x 0.01 + 1, at a corner
    message(FATAL_ERROR "c_plan says: ${said}")
  endif()
  file(RENAME ${WORK_DIR}/build/consumer ${WORK_DIR}/consumer)
  file(RENAME ${WORK_DIR}/build/c_consumer ${WORK_DIR}/c_consumer)
  # The consumer's file is compiled with the consumer's flags alone.
  file(READ ${WORK_DIR}/build/compile_commands.json commands)
  string(REGEX MATCH "[^\n]*-o CMakeFiles/consumer.dir/main.cpp.o[^\n]*" command "${commands}")
  if(NOT command OR command MATCHES "xsimd|dnnl|ffp-contract|Wold-style-cast| -m[a-z]")
    message(FATAL_ERROR "the consumer is compiled with: ${command}")
  endif()
endfunction()

function(build_with_pkg_config prefix)
  find_program(PKG_CONFIG NAMES pkg-config pkgconf REQUIRED)
  file(GLOB_RECURSE pc ${prefix}/*/fastconv.pc)
  cmake_path(GET pc PARENT_PATH pc_dir)
  set(ENV{PKG_CONFIG_PATH} ${pc_dir})
  run(COMMAND ${PKG_CONFIG} --cflags --libs fastconv OUTPUT flags)
  separate_arguments(flags UNIX_COMMAND "${CXX_FLAGS} ${flags}")
  run(COMMAND ${CXX} -std=c++20 -Wall -Wextra -Wpedantic -Wconversion -Werror
      ${SOURCE_DIR}/tests/consumer/main.cpp -o ${WORK_DIR}/consumer ${flags})
  # A C compiler links no C++ library unasked.
  run(COMMAND ${PKG_CONFIG} --static --cflags --libs fastconv OUTPUT flags)
  separate_arguments(flags UNIX_COMMAND "${C_FLAGS} ${flags}")
  run(COMMAND ${CC} -std=c99 -Wall -Wextra -Wpedantic -Wconversion -Werror
      ${SOURCE_DIR}/tests/consumer/main.c -o ${WORK_DIR}/c_consumer ${flags})
  # A shared library of the whole archive has the C functions, and no other symbol of it.
  file(GLOB_RECURSE archive ${prefix}/*/libfastconv.a)
  set(shared ${WORK_DIR}/libshared.so)
  run(COMMAND ${CXX} -shared -o ${shared} -Wl,--whole-archive ${archive} -Wl,--no-whole-archive)
  run(COMMAND ${CC} -std=c99 -I${prefix}/include ${SOURCE_DIR}/tests/consumer/main.c ${shared}
      -o ${WORK_DIR}/c_shared)
  run(COMMAND ${WORK_DIR}/c_shared OUTPUT said)
  run(COMMAND ${NM} -D --defined-only ${shared} OUTPUT symbols)
  if(NOT said STREQUAL "ok 13.5" OR NOT symbols MATCHES "fastconv_conv2d" OR symbols MATCHES "8fastconv")
    message(FATAL_ERROR "shared says: ${said}, and has: ${symbols}")
  endif()
endfunction()

function(run_consumers)
  foreach(program IN ITEMS consumer c_consumer)
    run(COMMAND ${WORK_DIR}/${program} OUTPUT said)
    if(NOT said STREQUAL "ok 13.5")  # 3 channels x 9 taps x 1 x 0.5
      message(FATAL_ERROR "${program} says: ${said}")
    endif()
  endforeach()
endfunction()

file(REMOVE_RECURSE ${WORK_DIR})
file(MAKE_DIRECTORY ${WORK_DIR})
if(WAY STREQUAL "find_package")
  install_and_move(${BUILD_DIR} ${WORK_DIR}/after)
  build_with_cmake(find_package -D CMAKE_PREFIX_PATH=${WORK_DIR}/after)
elseif(WAY STREQUAL "pkg_config")
  install_and_move(${BUILD_DIR} ${WORK_DIR}/after)
  build_with_pkg_config(${WORK_DIR}/after)
else()
  build_with_cmake(add_subdirectory -D FASTCONV_SOURCE=${SOURCE_DIR})
  run_consumers()
  # The same tree as a project that fetches fastconv and installs it as part of itself, into a deeper
  # libdir: what both ways compile with the same command is compiled once.
  build_with_cmake(fetch_content -D FASTCONV_INSTALL=ON -D CMAKE_INSTALL_LIBDIR=lib/some-machine)
  run_consumers()
  install_and_move(${WORK_DIR}/build ${WORK_DIR}/after)
  build_with_pkg_config(${WORK_DIR}/after)
endif()
run_consumers()
