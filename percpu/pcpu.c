/* SPDX-License-Identifier: MIT */
/* The table of pCPUs and the bring-up of one. */
#include "percpu/pcpu.h"

struct pcpu *_Atomic pcpus[MAX_PCPUS];
_Atomic unsigned pcpu_count;

void pcpu_init(struct pcpu *p, unsigned id)
{
	unsigned n = atomic_load(&pcpu_count);
	CAS_LOOP(loop, "number of pCPUs");

	BUG_ON(id >= MAX_PCPUS || nr_sites() > MAX_SITES);
	p->id = id;
	p->timers.programmed_ns = TIME_NEVER;
	rcu_init_pcpu(p);
	tlb_init_pcpu(p);
	log_init_pcpu(p);
	sched_init_pcpu(p);
	/* PAIRS: pcpu_publish */
	atomic_store_explicit(&pcpus[id], p, memory_order_release);
	while (n <= id && !atomic_compare_exchange_weak(&pcpu_count, &n, id + 1))
		retry(&loop);
}

void pcpu_online(void)
{
	sched_online();
}
