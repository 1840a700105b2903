/* SPDX-License-Identifier: MIT */
/*
 * The pCPU as a POSIX thread. In a simulation one thread plays all pCPUs in turn: it changes
 * this_pcpu() with host_become() (core/host/host.h).
 */
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "core/types.h"

struct pcpu;

extern _Thread_local struct pcpu *host_this_pcpu;

static inline struct pcpu *this_pcpu(void)
{
	return host_this_pcpu;
}

/* Of this_pcpu(), or of a slot that all threads without one share. */
uintptr_t arch_sites(void);

static inline void arch_count(uint64_t *v)
{
	__atomic_store_n(v, __atomic_load_n(v, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
}

#define COLD_CALL __attribute__((noinline, cold))

/* The pCPU waited for may be a thread that needs this core. */
static inline void cpu_relax(void)
{
	sched_yield();
}

/* Only what can't wait until the pCPU looks itself. */
void arch_take_irqs(void);

static inline uint64_t arch_cycles(void)
{
	return __builtin_ia32_rdtsc();
}

struct arch_pcpu {
	pthread_mutex_t lock; /* of the sleep in arch_idle(), as the hardware's HLT */
	pthread_cond_t wake;
	_Atomic bool kicked; /* the pending IPI */
	_Atomic uint64_t deadline_ns;
	_Atomic uint64_t kicks; /* received */
	pthread_t thread;
	void *rcu_state;    /* of core/host/rcu.c */
	struct pcpu *older; /* list of all that were ever made */
};

#endif
