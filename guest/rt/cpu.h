/* SPDX-License-Identifier: MIT */
/*
 * Per-vCPU state. One page per vCPU; GS.base points at it in guest-kernel
 * mode. Offsets of the first five fields are known to entry.S.
 */
#ifndef MINI_CPU_H
#define MINI_CPU_H

#include "rt/base.h"
#include <xen/vcpu.h>

#define MAX_VCPUS 128

/* What a trap looked like, kept for tests that expect one. */
struct trap_record {
	unsigned long vec;
	unsigned long err;
	unsigned long cr2;
	unsigned long rip;
	unsigned long count;
};

struct cpu {
	struct cpu *self;	       /* 0 */
	unsigned long kernel_rsp;      /* 8: where user_enter() left the kernel */
	unsigned long trap_stack;      /* 16: top of the stack for traps from user mode */
	unsigned long guard_rsp;       /* 24: where trap_guard() left its caller, or 0 */
	unsigned long failsafe_sel[4]; /* 32: ds, es, fs, gs of the last failsafe frame */
	unsigned int id;
	struct vcpu_info *vi;
	unsigned long stack_top;
	struct trap_record trap;
	struct proc *proc;	       /* process in user mode on this vCPU, else NULL */
	_Atomic unsigned long upcalls; /* begun and ended: odd in one */

	/* Work from smp_call(): set by the caller, cleared by this vCPU when done. */
	void (*_Atomic work)(void *arg);
	void *work_arg;
	uint32_t wake_port; /* IPI that gets this vCPU out of its idle block */
	uint32_t timer_port;
	_Atomic unsigned long timer_count;
	bool up;

	struct vcpu_info vcpu_info __attribute__((aligned(64)));
	struct vcpu_runstate_info runstate __attribute__((aligned(64)));
};

extern struct cpu *cpus[MAX_VCPUS];
extern unsigned int nr_cpus; /* how many vCPUs the domain has */

static inline struct cpu *this_cpu(void)
{
	struct cpu *c;

	__asm__ volatile("mov %%gs:0, %0" : "=r"(c));
	return c;
}

#endif
