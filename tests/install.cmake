# The library as other people's builds meet it, one test for each way in; `embedded`, which compiles
# it, is add_subdirectory, then FetchContent. It takes longest, so it starts first.
foreach(way IN ITEMS find_package pkg_config embedded)
  add_test(NAME install.${way}
    COMMAND ${CMAKE_COMMAND}
      -D WAY=${way}
      -D SOURCE_DIR=${PROJECT_SOURCE_DIR}
      -D BUILD_DIR=${PROJECT_BINARY_DIR}
      -D WORK_DIR=${CMAKE_CURRENT_BINARY_DIR}/install/${way}
      -D GENERATOR=${CMAKE_GENERATOR}
      -D CC=${CMAKE_C_COMPILER}
      -D NM=${CMAKE_NM}
      -D C_FLAGS=${CMAKE_C_FLAGS}
      -D CXX=${CMAKE_CXX_COMPILER}
      -D CXX_FLAGS=${CMAKE_CXX_FLAGS}
      -P ${CMAKE_CURRENT_LIST_DIR}/install_consumer.cmake)
  set_tests_properties(install.${way} PROPERTIES LABELS install)
endforeach()
set_tests_properties(install.embedded PROPERTIES COST 1000)

add_test(NAME readme.example
  COMMAND ${CMAKE_COMMAND} -D SOURCE_DIR=${PROJECT_SOURCE_DIR}
    -P ${CMAKE_CURRENT_LIST_DIR}/install_readme.cmake)
