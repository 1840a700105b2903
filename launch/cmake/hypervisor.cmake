# SPDX-License-Identifier: MIT
#
# The bare-metal image, in four steps:
#   objects -> xylem64.pass1 (empty symbol table)
#           -> xylem64.elf   (with the symbol table of pass 1)
#           -> xylem64.bin   (flat image)
#           -> xylem.elf     (ELF32 Multiboot 1 container around it)

file(GLOB XYLEM_X86_SRCS CONFIGURE_DEPENDS core/x86/*.c core/x86/*.S)
file(GLOB XYLEM_BOOT32_SRCS CONFIGURE_DEPENDS core/x86/boot32/*.S core/x86/boot32/*.c)
set(XYLEM_LDS ${CMAKE_SOURCE_DIR}/core/x86/xylem.lds)
set(XYLEM_BOOT32_LDS ${CMAKE_SOURCE_DIR}/core/x86/boot32/boot32.lds)
set(XYLEM_LINK_BASE 0xffff82d040000000)

if(NOT XYLEM_X86_SRCS OR NOT EXISTS ${XYLEM_LDS})
  message(STATUS "core/x86 has no sources yet: no hypervisor image is built")
  return()
endif()

set(XYLEM_GEN ${CMAKE_BINARY_DIR}/gen)
file(MAKE_DIRECTORY ${XYLEM_GEN})
set(KSYMS ${CMAKE_SOURCE_DIR}/launch/ksyms.py)

# Everything is in one image: with extern declarations hidden too, -fpic code
# addresses all data directly and needs no GOT.
file(CONFIGURE OUTPUT ${XYLEM_GEN}/hidden.h CONTENT
"/* SPDX-License-Identifier: MIT */\n#pragma GCC visibility push(hidden)\n")

# Freestanding flags come last, so that no build type can undo them.
add_library(xylem_freestanding INTERFACE)
target_link_libraries(xylem_freestanding INTERFACE xylem_common)
target_include_directories(xylem_freestanding INTERFACE ${CMAKE_SOURCE_DIR}/core/x86/include)
target_compile_options(xylem_freestanding INTERFACE
  -O2 -g -fpic
  $<$<COMPILE_LANGUAGE:C>:-include ${XYLEM_GEN}/hidden.h -ffreestanding -mno-sse -mno-mmx -mno-80387 -mgeneral-regs-only
    -mno-red-zone -fvisibility=hidden -fno-stack-protector -fcf-protection=none
    -fno-asynchronous-unwind-tables -fno-omit-frame-pointer
    -fno-optimize-sibling-calls -fno-common>)

# The archive's one object with the functions used needs memcpy, memmove and memset, and what
# core/x86/lz4_env.c has; it was compiled for the ABI of user programs, see <arch/fpu.h>.
find_library(LZ4_ARCHIVE NAMES liblz4.a REQUIRED)

add_library(xylem64_objs OBJECT ${XYLEM_PORTABLE} ${XYLEM_X86_SRCS})
target_link_libraries(xylem64_objs PRIVATE xylem_freestanding)

function(xylem64_link target ksyms)
  add_executable(${target} ${ksyms})
  target_link_libraries(${target} PRIVATE xylem64_objs xylem_freestanding ${LZ4_ARCHIVE})
  target_link_options(${target} PRIVATE
    -nostdlib -static -no-pie -T${XYLEM_LDS}
    -Wl,-z,noexecstack -Wl,--build-id=none -Wl,-z,max-page-size=4096
    -Wl,--no-warn-rwx-segments)
  set_target_properties(${target} PROPERTIES LINK_DEPENDS ${XYLEM_LDS})
endfunction()

add_custom_command(
  OUTPUT ${XYLEM_GEN}/ksyms0.S
  COMMAND ${Python3_EXECUTABLE} ${KSYMS} empty ${XYLEM_GEN}/ksyms0.S
  DEPENDS ${KSYMS})
xylem64_link(xylem64_pass1 ${XYLEM_GEN}/ksyms0.S)

add_custom_command(
  OUTPUT ${XYLEM_GEN}/ksyms.S
  COMMAND ${Python3_EXECUTABLE} ${KSYMS} table --nm ${CMAKE_NM} --base ${XYLEM_LINK_BASE}
          $<TARGET_FILE:xylem64_pass1> ${XYLEM_GEN}/ksyms.S
  DEPENDS ${KSYMS} xylem64_pass1)
xylem64_link(xylem64 ${XYLEM_GEN}/ksyms.S)
set_target_properties(xylem64 PROPERTIES OUTPUT_NAME xylem64.elf)

add_custom_command(
  OUTPUT ${XYLEM_GEN}/xylem64.bin ${XYLEM_GEN}/xylem_image.h
  COMMAND ${Python3_EXECUTABLE} ${KSYMS} check --nm ${CMAKE_NM}
          $<TARGET_FILE:xylem64_pass1> $<TARGET_FILE:xylem64>
  COMMAND ${CMAKE_OBJCOPY} -O binary $<TARGET_FILE:xylem64> ${XYLEM_GEN}/xylem64.bin
  COMMAND ${Python3_EXECUTABLE} ${KSYMS} image --nm ${CMAKE_NM} --base ${XYLEM_LINK_BASE}
          --bin ${XYLEM_GEN}/xylem64.bin $<TARGET_FILE:xylem64> ${XYLEM_GEN}/xylem_image.h
  DEPENDS ${KSYMS} xylem64)

if(XYLEM_BOOT32_SRCS AND EXISTS ${XYLEM_BOOT32_LDS})
  set_source_files_properties(${XYLEM_BOOT32_SRCS} PROPERTIES
    OBJECT_DEPENDS "${XYLEM_GEN}/xylem64.bin;${XYLEM_GEN}/xylem_image.h")
  add_executable(xylem ${XYLEM_BOOT32_SRCS} ${XYLEM_GEN}/xylem64.bin ${XYLEM_GEN}/xylem_image.h)
  target_include_directories(xylem PRIVATE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/core/x86/include)
  # xylem_image.h defines XYLEM_BIN, XYLEM_IMAGE_SIZE, XYLEM_LINK_BASE and XYLEM_ENTRY.
  target_compile_options(xylem PRIVATE -m32 -g -Os -fno-pic -ffreestanding
    -include ${XYLEM_GEN}/xylem_image.h
    $<$<COMPILE_LANGUAGE:C>:-mgeneral-regs-only -fno-stack-protector -fcf-protection=none
      -fno-asynchronous-unwind-tables -Wall -Wextra -Werror>)
  target_link_options(xylem PRIVATE -m32 -nostdlib -static -no-pie -Wl,-melf_i386
    -T${XYLEM_BOOT32_LDS} -Wl,-z,noexecstack -Wl,--build-id=none
    -Wl,-z,max-page-size=4096 -Wl,--no-warn-rwx-segments)
  set_target_properties(xylem PROPERTIES OUTPUT_NAME xylem.elf LINK_DEPENDS ${XYLEM_BOOT32_LDS})
endif()
