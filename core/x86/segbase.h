/* SPDX-License-Identifier: MIT */
/*
 * FS and GS bases. While a vCPU is loaded its bases live in the hardware: FS, the GS of the mode it
 * is in, and the other mode's GS in KERNEL_GS_BASE (a mode change is one SWAPGS).
 */
#ifndef X86_SEGBASE_H
#define X86_SEGBASE_H

#include "core/domain.h"

/** segbase_init() - use RDFSBASE and friends when the CPU has them. Every pCPU. */
void segbase_init(void);

/** Of the current vCPU. Writers return false for a non-canonical address. */
uint64_t segbase_read_fs(void);
uint64_t segbase_read_gs_kernel(struct vcpu *v);
uint64_t segbase_read_gs_user(struct vcpu *v);
bool segbase_write_fs(uint64_t base);
bool segbase_write_gs_kernel(struct vcpu *v, uint64_t base);
bool segbase_write_gs_user(struct vcpu *v, uint64_t base);

/** segbase_read_selectors() - ds, es, fs and gs as they are loaded now, into @r. */
void segbase_read_selectors(struct cpu_user_regs *r);

/** segbase_save()/segbase_load() - between hardware and v->arch, at a context switch; selectors
 * included. False when a selector could not be loaded (it is then null). */
void segbase_save(struct vcpu *v);
bool segbase_load(struct vcpu *v);

#endif
