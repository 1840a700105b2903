/* SPDX-License-Identifier: MIT */
/*
 * Stores to a live (read-only) page-table page: decode, compute the new entry, and apply it by a
 * compare-and-exchange through memsvc, which validates it and updates the hardware table. So a
 * guest's LOCKed update stays atomic against the A and D bits that faults set.
 */
#ifndef CORE_X86_PTWRITE_H
#define CORE_X86_PTWRITE_H

#include "core/x86/emul.h"

/**
 * ptwrite_emulate() - mm_fault() said MM_FAULT_PTWRITE for address @cr2, current vCPU @v.
 * EMUL_DONE: rip, flags and registers are as after the store. EMUL_FAULT: a validation error
 * becomes #PF with the original address and @error. EMUL_NOT: not a store we know; #PF as it came.
 */
struct emul_result ptwrite_emulate(struct vcpu *v, struct cpu_user_regs *regs, uint64_t cr2,
				   uint32_t error);

#endif
