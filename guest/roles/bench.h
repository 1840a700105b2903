/* SPDX-License-Identifier: MIT */
/*
 * Instructions per operation. The clock is the TSC, which under QEMU's
 * -icount shift=0 counts instructions; one operation is timed at a time, so
 * that whatever else the hypervisor does now and then leaves the median alone.
 *
 * Hypercalls are made as Linux makes them, by a call into the hypercall page;
 * those instructions are part of the operation, on every hypervisor alike.
 */
#ifndef MINI_ROLES_BENCH_H
#define MINI_ROLES_BENCH_H

#include "rt/hypercall.h"

struct bench {
	const char *name, *undo_name; /* as printed */
	unsigned int per;	      /* operations in one call of op; 0 is 1 */
	unsigned int every;	      /* the share of samples to take: 1 of this many; 0 is all */
	void (*start)(void);	      /* before the first sample, or NULL */
	void (*op)(void);
	void (*undo)(void); /* timed, too, if it has a name; or NULL */
	void (*end)(void);  /* after the last sample, or NULL */
};

/* Each ends with an element without a name. */
extern const struct bench bench_calls[], bench_events[], bench_traps[], bench_mmu[], bench_pin[],
	bench_vcpus[], bench_domains[];

/* Two domains, side=a and side=b, each with peer= the other's id: a measures @n rounds, b answers and
 * does not return. */
void bench_domains_side(unsigned long n);

/* What the operations returned, or-ed together; role_bench() wants 0. */
extern long bench_rc;

/*
 * An upcall that handles one port and does little else, in place of the runtime's: for the calling
 * vCPU, whose bench_handled[] it raises.
 */
void bench_upcall_use(uint32_t port);
void bench_upcall_drop(void);
extern volatile unsigned long bench_handled[2];
/* Block until vCPU @id, the caller, has handled its port; leaves upcalls masked. */
void bench_wait(unsigned int id);

#define BENCH_HC(nr, a, b, c, d)                                                     \
	({                                                                           \
		unsigned long a_ = (unsigned long)(a), b_ = (unsigned long)(b),      \
			      c_ = (unsigned long)(c);                               \
		register unsigned long d_ __asm__("r10") = (unsigned long)(d);       \
		long rc_;                                                            \
		__asm__ volatile("call hypercall_page + %c[n] * 32"                  \
				 : "=a"(rc_), "+D"(a_), "+S"(b_), "+d"(c_), "+r"(d_) \
				 : [n] "i"(nr)                                       \
				 : "memory", "cc");                                  \
		rc_;                                                                 \
	})
#define BENCH_HC2(name, a, b) BENCH_HC(__HYPERVISOR_##name, a, b, 0, 0)
#define BENCH_HC3(name, a, b, c) BENCH_HC(__HYPERVISOR_##name, a, b, c, 0)
#define BENCH_HC4(name, a, b, c, d) BENCH_HC(__HYPERVISOR_##name, a, b, c, d)

#endif
