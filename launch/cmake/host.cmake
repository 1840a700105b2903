# SPDX-License-Identifier: MIT
#
# The same portable sources for POSIX threads (a pCPU is a thread), so that
# Criterion tests, stress programs and the sanitizers can reach them.

find_package(PkgConfig REQUIRED)
pkg_check_modules(URCU_QSBR REQUIRED IMPORTED_TARGET liburcu-qsbr)
pkg_check_modules(LZ4 REQUIRED IMPORTED_TARGET liblz4)
find_package(Threads REQUIRED)

file(GLOB XYLEM_HOST_SRCS CONFIGURE_DEPENDS core/host/*.c)

add_library(xylem_host_flags INTERFACE)
target_link_libraries(xylem_host_flags INTERFACE xylem_common)
target_include_directories(xylem_host_flags INTERFACE ${CMAKE_SOURCE_DIR}/core/host/include)
target_compile_definitions(xylem_host_flags INTERFACE _GNU_SOURCE)
target_compile_options(xylem_host_flags INTERFACE -g -fno-omit-frame-pointer)
target_link_libraries(xylem_host_flags INTERFACE PkgConfig::URCU_QSBR PkgConfig::LZ4
                      Threads::Threads)
if(XYLEM_SANITIZE)
  target_compile_options(xylem_host_flags INTERFACE
    -fsanitize=${XYLEM_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(xylem_host_flags INTERFACE -fsanitize=${XYLEM_SANITIZE})
endif()

# An archive needs at least one source: with none yet, tests link no core.
if(XYLEM_HOST_SRCS)
  add_library(xylem_host STATIC ${XYLEM_PORTABLE} ${XYLEM_HOST_SRCS})
  target_link_libraries(xylem_host PUBLIC xylem_host_flags)
else()
  message(STATUS "core/host has no sources yet: tests are built without the core")
  add_library(xylem_host INTERFACE)
  target_link_libraries(xylem_host INTERFACE xylem_host_flags)
endif()
