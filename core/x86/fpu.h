/* SPDX-License-Identifier: MIT */
/*
 * FPU and extended state. A vCPU that never used it runs with CR0.TS set and has no area; from
 * its first use on its state is loaded whenever it runs. The registers keep a vCPU's state until
 * another one needs them or it moves to another pCPU (the move runs on the old one).
 */
#ifndef X86_FPU_H
#define X86_FPU_H

#include <arch/fpu.h> /* fpu_borrow(), fpu_return() */

#include "core/domain.h"

#define XCR0_X87 1UL

/** fpu_init() - learn the CPU's state size and enable it. Every pCPU. */
void fpu_init(void);
/** fpu_alloc() - the vCPU's area, in the initial state, if it has none yet. 0 or -XEN_ENOMEM. */
int fpu_alloc(struct vcpu *v);
void fpu_free(struct vcpu *v);
/** fpu_first_use() - #NM with the guest's TS clear: load the state and clear CR0.TS. 0, or
 * -XEN_ENOMEM: there is no memory for it now. */
int fpu_first_use(struct vcpu *v);
/** fpu_switch_in() - @v is about to run here: its state in the registers, or TS set. */
void fpu_switch_in(struct vcpu *v);
/** fpu_save_if_owner() - put the state back into memory; before a move and at the end. */
void fpu_save_if_owner(struct vcpu *v);
/** fpu_set_ts() - the guest sets or clears its CR0.TS. */
void fpu_set_ts(struct vcpu *v, bool ts);
/** fpu_set_xcr0() - XSETBV by the guest; false when the value is not allowed. */
bool fpu_set_xcr0(struct vcpu *v, uint64_t xcr0);
/** fpu_xcr0_mask() - state components offered to guests; 0 without XSAVE. */
uint64_t fpu_xcr0_mask(void);
/** fpu_load_legacy() - start from a 512-byte FXSAVE image (VCPUOP_initialise); after fpu_alloc(). */
void fpu_load_legacy(struct vcpu *v, const void *fxsave);

#endif
