/* SPDX-License-Identifier: MIT */
/*
 * Library code that uses vector registers, called from the hypervisor, which itself uses none.
 *
 * Between borrow and return such code may use legacy SSE (no AVX, no x87) and finds a readable stack
 * protector's canary at %fs:0x28; the registers and the FS base of the guest come back unchanged.
 * Interrupts are off in the hypervisor, and NMI, MCE and #DB run on stacks of their own, so nothing
 * else runs on this pCPU meanwhile. Loans do not nest.
 */
#ifndef ARCH_FPU_H
#define ARCH_FPU_H

#include "core/types.h"

struct fpu_loan {
	/* FXSAVE wants 16 bytes; more than the ABI's makes the compiler align the stack itself. */
	uint8_t fx[512] CACHE_ALIGNED;
	uint64_t fs_base;
	bool saved, ts;
};

/** fpu_borrow() - save what a guest has in the registers. Hypervisor context, this pCPU. */
void fpu_borrow(struct fpu_loan *l);

/** fpu_return() - put it back. */
void fpu_return(const struct fpu_loan *l);

#endif
