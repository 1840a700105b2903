/* SPDX-License-Identifier: MIT */
/* Grace periods by watching per-pCPU counters; see qsbr.h. */
#include "percpu/qsbr.h"

#include "percpu/pcpu.h"

void qsbr_quiescent(struct qsbr_state *s)
{
	qsbr_advance(s, 2, true);
	/* PAIRS: qsbr_fence */
	atomic_thread_fence(memory_order_seq_cst);
}

void qsbr_gp_start(struct qsbr_gp *gp)
{
	unsigned n;

	gp->waiting = CPUMASK_NONE;
	/* PAIRS: qsbr_fence: the caller's unlinking is visible to whoever goes online later. */
	atomic_thread_fence(memory_order_seq_cst);
	n = nr_pcpus();
	for (unsigned i = 0; i < n; i++) {
		struct pcpu *p = pcpu_get(i);

		if (!p)
			continue; /* published later, so it came online after the fence */
		/* PAIRS: qsbr_quiesce */
		gp->snap[i] = atomic_load_explicit(&p->qsbr.ctr, memory_order_acquire);
		if ((gp->snap[i] & 1) && p != this_pcpu())
			cpumask_set(&gp->waiting, i);
	}
}

bool qsbr_gp_done(struct qsbr_gp *gp)
{
	unsigned cpu;

	for_each_cpu_in(cpu, &gp->waiting)
	{
		/* PAIRS: qsbr_quiesce */
		if (atomic_load_explicit(&pcpu_get(cpu)->qsbr.ctr, memory_order_acquire) !=
		    gp->snap[cpu])
			cpumask_clear(&gp->waiting, cpu);
	}
	return cpumask_empty(&gp->waiting);
}
