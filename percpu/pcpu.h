/* SPDX-License-Identifier: MIT */
/*
 * The per-pCPU area. Two kinds of parts, never in one cache line: private ones, which only their
 * pCPU touches, and visible ones, through which others reach it (each with its own rules).
 */
#ifndef PERCPU_PCPU_H
#define PERCPU_PCPU_H

#include <arch/cpu.h>

#include "core/arch.h"
#include "core/types.h"
#include "percpu/contention.h"
#include "percpu/counters.h"
#include "percpu/cpumask.h"
#include "percpu/inbox.h"
#include "percpu/log.h"
#include "percpu/page_cache.h"
#include "percpu/rcu.h"
#include "percpu/sched.h"
#include "percpu/timer.h"
#include "percpu/tlb.h"

struct vcpu;

/* Bits of pcpu.work: why the exit path must look before it returns to the guest. */
#define WORK_RESCHED 0x1u
#define WORK_INBOX 0x2u
#define WORK_TIMER 0x4u
#define WORK_TLB 0x8u
#define WORK_EVENT 0x10u  /* the current vCPU may have an event to deliver */
#define WORK_RCU 0x20u	  /* callbacks wait for a look */
#define WORK_MEMORY 0x40u /* the reserve of frames was used */

struct pcpu {
	/* Private. */
	unsigned id;
	uint32_t work;
	struct vcpu *current;
	struct arch_pcpu arch;
	struct timer_heap timers;
	struct rcu_pcpu rcu;
	struct page_cache pages;
	struct sched sched CACHE_ALIGNED;

	/* Visible: one writer (this pCPU), other readers. */
	struct pcpu_counters counters CACHE_ALIGNED;
	struct qsbr_state qsbr CACHE_ALIGNED;
	struct sched_load load CACHE_ALIGNED;
	struct contention contention CACHE_ALIGNED;

	/* Visible: other writers. */
	struct inbox inbox CACHE_ALIGNED;
	struct pcpu_tlb tlb CACHE_ALIGNED;
	struct log_ring log CACHE_ALIGNED;
} CACHE_ALIGNED;

/*
 * All pCPUs by number; pcpus[i] is published (release) by pcpu_publish() and never changes again.
 * pcpu_count only grows. PAIRS: pcpu_publish.
 */
extern struct pcpu *_Atomic pcpus[MAX_PCPUS];
extern _Atomic unsigned pcpu_count;

static inline struct pcpu *pcpu_get(unsigned cpu)
{
	return atomic_load_explicit(&pcpus[cpu], memory_order_acquire);
}

/** nr_pcpus() - numbers below this one have been published (or are being). */
static inline unsigned nr_pcpus(void)
{
	return atomic_load_explicit(&pcpu_count, memory_order_acquire);
}

/**
 * pcpu_init() - prepare @p (zeroed) as pCPU @id and publish it: from now on messages may be posted
 * to it. Its RCU state is offline: it calls rcu_thread_online() itself. Any pCPU, before it runs.
 */
void pcpu_init(struct pcpu *p, unsigned id);

/**
 * pcpu_online() - this pCPU takes units from now on (it has its timer and runs the exit path).
 * On the pCPU itself; units may be placed on it as soon as another pCPU sees its load word.
 */
void pcpu_online(void);

/**
 * preempt_pending() - whether something else waits for this pCPU: poll it in long operations and
 * return -HC_CONTINUE when true. Any context; cheap.
 */
static inline bool preempt_asked(void);
static inline bool preempt_pending(void)
{
	return preempt_asked() || timer_heap_next(&this_pcpu()->timers) <= arch_now_ns();
}

/** preempt_asked() - the same without a look at the clock, which costs more than all the rest. */
static inline bool preempt_asked(void)
{
	struct pcpu *p = this_pcpu();

	arch_take_irqs();
	return p->work || inbox_pending(&p->inbox);
}

static inline void counter_add(const struct counter *c, uint64_t n)
{
	_Atomic uint64_t *v = &this_pcpu()->counters.v[c->slot];

	atomic_store_explicit(v, atomic_load_explicit(v, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

#endif
