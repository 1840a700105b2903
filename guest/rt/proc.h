/* SPDX-License-Identifier: MIT */
/*
 * User processes: an address space (a kernel L4 and a user L4 that share the
 * lower half, as Linux PV has them), registers, FP state, segment bases.
 */
#ifndef MINI_PROC_H
#define MINI_PROC_H

#include "rt/mem.h"
#include "rt/trap.h"

#define USER_TEXT 0x400000UL
#define USER_DATA 0x600000UL
#define USER_STACK 0x7ffffff000UL /* top */

struct proc {
	struct regs regs;
	uint8_t fx[512] __attribute__((aligned(16)));
	unsigned long kernel_l4, user_l4; /* pfns */
	unsigned long fs_base, gs_base;
	bool fpu_off;	    /* run with TS set, so that FP use traps */
	bool bases_by_hand; /* leave the segment bases as they are */
	uint8_t *data;	    /* kernel's address of the page at USER_DATA */
	struct trap_record trap;
};

/* A process that starts at the user blob's entry with two arguments. */
struct proc *proc_create(unsigned long arg0, unsigned long arg1);
void proc_destroy(struct proc *p);

/*
 * Run until the next trap or system call; its vector (TRAP_SYSCALL for a
 * system call). Details are in p->trap and p->regs.
 */
unsigned long proc_run(struct proc *p);

void proc_trapped(struct regs *r) __attribute__((noreturn));

#endif
