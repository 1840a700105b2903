/* SPDX-License-Identifier: MIT */
/*
 * Ends of the machine. arch_poweroff() (core/arch.h) tries, in order: QEMU's isa-debug-exit port
 * (QEMU then exits with (status << 1) | 1), ACPI S5, the ACPI reset register, the keyboard
 * controller's reset line; then it halts.
 */
#ifndef CORE_X86_POWER_H
#define CORE_X86_POWER_H

#include "core/types.h"

#define POWER_STATUS_OK 0x10
#define POWER_STATUS_GUEST_FAILED 0x11
#define POWER_STATUS_PANIC 0x12
#define POWER_DEBUG_EXIT_PORT 0xf4

#endif
