/* SPDX-License-Identifier: MIT */
/* The arch part of a vCPU in the host build: what tests want to see of the calls made to it. */
#ifndef ARCH_VCPU_H
#define ARCH_VCPU_H

#include "core/types.h"

struct arch_vcpu {
	bool kernel_mode;
	bool initialised;
	uint64_t boot_rip, boot_rsp, boot_rsi;
	gfn_t kernel_l4, user_l4;
	mfn_t kernel_root, user_root;
	uint64_t ldt_base;
	unsigned ldt_ents;
	unsigned iopl;
	unsigned nmis;	   /* sent to it */
	uint64_t nmi_eip;  /* callback; 0: none, so NMIs are refused */
	unsigned restarts; /* hypercalls re-issued */
	unsigned restart_nr;
	uint64_t restart_args[6];
	uint64_t switches_in;
	uint64_t upcalls; /* event callbacks entered */
};

static inline mfn_t arch_root(const struct arch_vcpu *a)
{
	return a->kernel_root;
}

#endif
