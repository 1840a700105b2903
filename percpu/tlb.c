/* SPDX-License-Identifier: MIT */
/* Which pCPUs may cache an address space, and shootdown; see tlb.h. */
#include "percpu/tlb.h"

#include "percpu/pcpu.h"

static void count_flush(struct pcpu_tlb *t)
{
	atomic_store_explicit(&t->epoch, atomic_load_explicit(&t->epoch, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/*
 * The epoch is counted before the flush it stands for. Who sees it advance may be a little early,
 * but this pCPU is in the hypervisor, RCU online, until the flush is done, and retired frames wait
 * for a grace period after that look.
 */
void tlb_note_load(struct mm *mm)
{
	struct pcpu_tlb *t = &this_pcpu()->tlb;

	count_flush(t);
	if (atomic_load_explicit(&t->loaded, memory_order_relaxed) == mm)
		return;
	atomic_store_explicit(&t->loaded, mm, memory_order_relaxed);
	/* Before any walk of mm's tables. PAIRS: tlb_loaded */
	atomic_thread_fence(memory_order_seq_cst);
}

void tlb_flush_local(void)
{
	count_flush(&this_pcpu()->tlb);
	arch_tlb_flush_local();
}

static void serve_flush(struct pcpu_tlb *t)
{
	/* Acquire the requester's cleared entries, then flush. PAIRS: tlb_ticket */
	uint64_t req = atomic_load_explicit(&t->req, memory_order_acquire);

	if (likely(req == atomic_load_explicit(&t->done, memory_order_relaxed)))
		return;
	tlb_flush_local();
	atomic_store_explicit(&t->done, req, memory_order_release);
}

void tlb_serve(void)
{
	struct pcpu_tlb *t = &this_pcpu()->tlb;

	serve_flush(t);
	if (unlikely(atomic_load_explicit(&t->drain, memory_order_relaxed)) &&
	    atomic_exchange(&t->drain, 0))
		tlb_retire_drain();
}

void tlb_shootdown_cpus(const cpumask_t *mask)
{
	unsigned self = this_pcpu()->id, cpu;
	uint64_t ticket[MAX_PCPUS];
	WAIT_LOOP(loop, "TLB shootdown");

	for_each_cpu_in(cpu, mask)
	{
		struct pcpu_tlb *t = &pcpu_get(cpu)->tlb;

		if (cpu == self)
			continue;
		/* Release the cleared entries. PAIRS: tlb_ticket */
		ticket[cpu] = atomic_fetch_add(&t->req, 1) + 1;
		arch_kick(cpu);
	}
	if (cpumask_test(mask, self))
		tlb_flush_local();
	for_each_cpu_in(cpu, mask)
	{
		struct pcpu_tlb *t = &pcpu_get(cpu)->tlb;

		while (cpu != self &&
		       atomic_load_explicit(&t->done, memory_order_acquire) < ticket[cpu]) {
			retry(&loop);
			serve_flush(&this_pcpu()->tlb);
			cpu_relax();
		}
	}
}

void tlb_shootdown_mask(struct mm *mm, const cpumask_t *mask)
{
	cpumask_t hit = CPUMASK_NONE;

	atomic_thread_fence(memory_order_seq_cst); /* PAIRS: tlb_loaded */
	for (unsigned i = 0; i < nr_pcpus(); i++) {
		struct pcpu *p = pcpu_get(i);

		if (p && cpumask_test(mask, i) &&
		    atomic_load_explicit(&p->tlb.loaded, memory_order_relaxed) == mm)
			cpumask_set(&hit, i);
	}
	tlb_shootdown_cpus(&hit);
}

void tlb_shootdown_mm(struct mm *mm)
{
	cpumask_t all = CPUMASK_ALL;

	tlb_shootdown_mask(mm, &all);
}

void tlb_drain_all(void)
{
	for (unsigned i = 0; i < nr_pcpus(); i++) {
		struct pcpu *p = pcpu_get(i);

		if (!p || p == this_pcpu() ||
		    atomic_load_explicit(&p->tlb.nr_retired, memory_order_relaxed) == 0)
			continue;
		if (!atomic_exchange(&p->tlb.drain, 1))
			arch_kick(i);
	}
}
