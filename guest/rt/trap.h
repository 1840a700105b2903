/* SPDX-License-Identifier: MIT */
/*
 * Trap frames, the trap table, and probes: single instructions that may
 * fault, whose fault is recorded in this_cpu()->trap and stepped over.
 */
#ifndef MINI_TRAP_H
#define MINI_TRAP_H

#include "rt/cpu.h"

/* As entry.S lays it out; the tail is the frame the hypervisor pushed. */
struct regs {
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	uint64_t vec, err;
	uint64_t rip, cs, rflags, rsp, ss;
};

enum {
	TRAP_DE = 0,
	TRAP_DB = 1,
	TRAP_BP = 3,
	TRAP_OF = 4,
	TRAP_UD = 6,
	TRAP_NM = 7,
	TRAP_GP = 13,
	TRAP_PF = 14,
	TRAP_SYSCALL = 0x100,
	TRAP_FAILSAFE = 0x102,
	TRAP_SYSCALL32 = 0x103,
};

#define PF_PROT 1UL
#define PF_WRITE 2UL
#define PF_USER 4UL
#define PF_INSTR 16UL

/* True for frames of guest user mode: the hypervisor gives kernel frames RPL 0. */
static inline bool from_user(const struct regs *r)
{
	return (r->cs & 3) == 3;
}

/* Fill a trap table indexed by vector (256 entries), as VCPUOP_initialise wants it. */
void trap_table_indexed(struct trap_info *t);

/* Install the trap table and the event, failsafe and syscall callbacks on this vCPU. */
void trap_init(void);

/* Register a CALLBACKTYPE_*, which masks events. */
void trap_callback(uint16_t type, char *address);

/* A role's own handler for kernel-mode traps; true if it dealt with the trap. */
extern bool (*trap_hook)(struct regs *r);

extern char event_callback[], failsafe_callback[], syscall_callback[], syscall32_callback[];

/*
 * PROBE: run one instruction with these inputs; 0, or FAULT(vector). The
 * fixup puts that into r15.
 */
#define PROBE(insn, ...)                                                                  \
	({                                                                                \
		register unsigned long st_ __asm__("r15") = 0;                            \
		__asm__ volatile("1: " insn "\n2:\n"                                      \
				 ".pushsection .ex_table,\"a\"\n.quad 1b,2b\n.popsection" \
				 : "+r"(st_)                                              \
				 : __VA_ARGS__                                            \
				 : "memory", "cc");                                       \
		st_;                                                                      \
	})

static inline unsigned long probe_read(const volatile void *p, uint64_t *val)
{
	register unsigned long st __asm__("r15") = 0;
	uint64_t v = 0;

	__asm__ volatile("1: movq (%2), %1\n2:\n"
			 ".pushsection .ex_table,\"a\"\n.quad 1b,2b\n.popsection"
			 : "+r"(st), "+r"(v)
			 : "r"(p)
			 : "memory");
	if (val)
		*val = v;
	return st;
}

static inline unsigned long probe_write(volatile void *p, uint64_t v)
{
	return PROBE("movq %1, (%2)", "r"(v), "r"(p));
}

#define FAULT(vec) (0x100UL | (vec))

/*
 * Call fn(arg), which may do anything; 0 if it returned, or FAULT(vec) of the
 * trap that ended it, wherever that was. Not nested.
 */
unsigned long trap_guard(void (*fn)(void *arg), void *arg);

#endif
