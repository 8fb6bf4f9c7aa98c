# What `cmake --install` puts into a prefix: the library, its headers, a CMake package and a
# pkg-config file. The tree may be moved afterwards.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/fastconv)
install(TARGETS fastconv EXPORT fastconv
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})  # CMake before 3.23 reads no file sets
# The library depends on no other package, so the exported targets are the whole configuration.
install(EXPORT fastconv NAMESPACE fastconv:: FILE fastconv-config.cmake
        DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/fastconv-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/fastconv-config-version.cmake DESTINATION ${package_dir})

# Distributions choose libdirs of any depth (lib/x86_64-linux-gnu), so the way up is computed.
set(pc_dir ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY ${pc_dir}
           OUTPUT_VARIABLE pc_to_prefix)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_FULL_INCLUDEDIR BASE_DIRECTORY ${pc_dir}
           OUTPUT_VARIABLE pc_to_include)
# For programs that are not linked by a C++ compiler.
set(pc_private_libs ${CMAKE_CXX_IMPLICIT_LINK_LIBRARIES})
list(FILTER pc_private_libs INCLUDE REGEX "^(stdc\\+\\+|c\\+\\+|c\\+\\+abi|m)$")
list(TRANSFORM pc_private_libs PREPEND "-l")
list(JOIN pc_private_libs " " pc_private_libs)
configure_file(${CMAKE_CURRENT_LIST_DIR}/fastconv.pc.in ${PROJECT_BINARY_DIR}/fastconv.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/fastconv.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# Not ${CMAKE_INSTALL_DOCDIR}, which carries the name of the project that embeds this one.
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE
        DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/fastconv)
