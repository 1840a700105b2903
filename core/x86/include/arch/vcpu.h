/* SPDX-License-Identifier: MIT */
/* The x86 state of a vCPU. All fields are (cur), see core/domain.h, unless marked. */
#ifndef ARCH_VCPU_H
#define ARCH_VCPU_H

#include <stdint.h>
#include "core/types.h"

#include <xen/xen.h>

/* Own bits for the upper half of the trap word, beside the vector (cpu_user_regs.entry_vector). */
#define TRAP_SYSCALL 0x100u /* SYSRET may return; CS and SS are the flat ones then */

#define GDT_GUEST_PAGES 14

struct pv_callback {
	uint64_t eip;
	bool mask_events; /* enter with the upcall masked */
};

struct arch_vcpu {
	struct cpu_user_regs regs; /* while not loaded on a pCPU */
	bool kernel_mode;	   /* guest kernel, else guest user */

	/* Base pointers: hardware roots and the guest names they stand for. */
	mfn_t kernel_root, user_root;
	gfn_t kernel_l4, user_l4;
	uint64_t root_cr3; /* CR3 loaded for the mode it is in */

	uint64_t kernel_sp;
	uint64_t kernel_ss;
	struct pv_callback event, failsafe, syscall, syscall32, sysenter;
	uint64_t nmi_eip;
	struct trap_info low_traps[32]; /* the exceptions' */
	struct trap_info int_traps[8];	/* of other vectors, in any order; then none is in traps */
	struct trap_info *traps;	/* 256 entries, a page; NULL while the above suffice */
	_Atomic bool nmi_pending;	/* (any) */

	uint64_t fs_base, gs_base_kernel, gs_base_user;
	uint64_t ctrlreg[8]; /* 0 and 4 as the guest sees them; 2 is in vcpu_info */
	uint64_t dr[8];
	uint32_t iopl;

	/* FPU: state image (XSAVE or FXSAVE layout) in its own page; NULL until its first use. */
	void *fpu_area;
	bool fpu_used; /* has state beyond the initial one */
	uint64_t xcr0;

	/* Descriptor tables: validated copies that the hardware uses. */
	gfn_t gdt_frames[GDT_GUEST_PAGES];
	mfn_t gdt_pages[GDT_GUEST_PAGES];
	unsigned gdt_ents;
	uint64_t ldt_base;
	unsigned ldt_ents;
	mfn_t ldt_pages[16];
};

/** arch_root() - the hardware L4 in CR3 while the vCPU is loaded. */
static inline mfn_t arch_root(const struct arch_vcpu *a)
{
	return MFN(a->root_cr3 >> PAGE_SHIFT);
}

#endif
