/* SPDX-License-Identifier: MIT */
/*
 * The end after a broken invariant: the first pCPU to panic stops the others by NMI, prints, and
 * powers off. panic() itself is declared in core/types.h.
 */
#ifndef CORE_X86_PANIC_H
#define CORE_X86_PANIC_H

#include "core/types.h"

#include <xen/xen.h>

/** panic_regs() - panic() from a trap taken in the hypervisor: prints the registers as well, and
 * the backtrace starts at the trapping instruction. */
NORETURN void panic_regs(const struct cpu_user_regs *regs, const char *fmt, ...) PRINTF(2, 3);

/**
 * panic_nmi() - the NMI handler calls this first. When a panic is in progress on another pCPU it
 * does not return (the CPU halts for ever); otherwise returns false and the NMI is the caller's.
 */
bool panic_nmi(const struct cpu_user_regs *regs);

/** backtrace_from() - print a symbolized backtrace of the frame chain at @rbp, after @rip. */
void backtrace_from(uint64_t rip, uint64_t rbp);

#endif
