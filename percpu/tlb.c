/* SPDX-License-Identifier: MIT */
/* Which pCPUs may cache an address space, and shootdown; see tlb.h. */
#include "percpu/tlb.h"

#include "memsvc/mm.h"
#include "percpu/pcpu.h"

#define USERS_LEFT_MAX 4 /* who have left, before they are taken out */

static void count_flush(struct pcpu_tlb *t)
{
	atomic_store_explicit(&t->epoch, atomic_load_explicit(&t->epoch, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/*
 * The epoch is counted before the flush it stands for. Who sees it advance may be a little early,
 * but this pCPU is in the hypervisor, RCU online, until the flush is done, and retired frames wait
 * for a grace period after that look. (Idle it is offline, but has nothing of any mm cached.)
 */
void tlb_note_load(struct mm *mm)
{
	struct pcpu_tlb *t = &this_pcpu()->tlb;

	count_flush(t);
	if (atomic_load_explicit(&t->loaded, memory_order_relaxed) != mm)
		atomic_store_explicit(&t->loaded, mm, memory_order_relaxed);
	else if (likely(!t->keep_until))
		return;
	t->keep_until = 0;
	/* Before any walk of mm's tables. PAIRS: tlb_loaded */
	atomic_thread_fence(memory_order_seq_cst);
	/* PAIRS: tlb_users */
	if (mm && !cpumask_test_relaxed(&mm->users.mask, this_pcpu()->id))
		cpumask_set_atomic(&mm->users.mask, this_pcpu()->id);
}

void tlb_note_idle(void)
{
	count_flush(&this_pcpu()->tlb);
}

void tlb_idle(uint64_t next_ns)
{
	struct pcpu_tlb *t = &this_pcpu()->tlb;
	uint64_t now;

	if (!atomic_load_explicit(&t->loaded, memory_order_relaxed))
		return;
	now = arch_now_ns();
	if (!t->keep_until)
		t->keep_until = now + TLB_KEEP_NS;
	if (next_ns > t->keep_until || now >= t->keep_until)
		atomic_store_explicit(&t->loaded, NULL, memory_order_relaxed);
}

static bool has_loaded(unsigned cpu, const struct mm *mm)
{
	return atomic_load(&pcpu_get(cpu)->tlb.loaded) == mm;
}

static cpumask_t all_pcpus(void)
{
	cpumask_t all = CPUMASK_NONE;

	for (unsigned i = 0; i < nr_pcpus(); i++)
		if (pcpu_get(i))
			cpumask_set(&all, i);
	return all;
}

cpumask_t tlb_users(struct mm *mm)
{
	uint32_t epoch = atomic_load(&mm->users.epoch);
	cpumask_t found = cpumask_snapshot(&mm->users.mask);

	/* The mask was read between the two looks at the epoch. PAIRS: tlb_users */
	atomic_thread_fence(memory_order_seq_cst);
	if (unlikely(epoch & 1 || atomic_load(&mm->users.epoch) != epoch))
		return all_pcpus();
	return found;
}

void tlb_users_left(struct mm *mm, unsigned n)
{
	uint32_t epoch = atomic_load(&mm->users.epoch);
	cpumask_t found;
	unsigned cpu;

	/* PAIRS: tlb_users */
	if (likely(n < USERS_LEFT_MAX) || epoch & 1 ||
	    !atomic_compare_exchange_strong(&mm->users.epoch, &epoch, epoch + 1))
		return;
	found = cpumask_snapshot(&mm->users.mask);
	for_each_cpu_in(cpu, &found)
	{
		if (has_loaded(cpu, mm))
			continue;
		cpumask_clear_atomic(&mm->users.mask, cpu);
		if (has_loaded(cpu, mm))
			cpumask_set_atomic(&mm->users.mask, cpu);
	}
	atomic_store(&mm->users.epoch, epoch + 2);
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

void tlb_interrupt(void)
{
	struct pcpu *p = this_pcpu();

	serve_flush(&p->tlb);
	if (unlikely(atomic_load_explicit(&p->tlb.drain, memory_order_relaxed)))
		p->work |= WORK_TLB;
}

void tlb_serve(void)
{
	struct pcpu *p = this_pcpu();

	arch_take_irqs();
	if (likely(!(p->work & WORK_TLB)))
		return;
	p->work &= ~WORK_TLB;
	if (atomic_exchange(&p->tlb.drain, 0))
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
			arch_take_irqs();
			cpu_relax();
		}
	}
}

/* After a full fence. @mask: NULL for all. Most often @mm is loaded here only, or nowhere. */
static inline __attribute__((always_inline)) void shootdown(struct mm *mm, const cpumask_t *mask)
{
	unsigned self = this_pcpu()->id, cpu, left = 0;
	bool here = false, elsewhere = false;
	cpumask_t hit, users;

	users = tlb_users(mm);
	for_each_cpu_in(cpu, &users)
	{
		if (!has_loaded(cpu, mm)) {
			left++;
		} else if (!mask || cpumask_test(mask, cpu)) {
			if (!here && !elsewhere)
				cpumask_zero(&hit);
			here |= cpu == self;
			elsewhere |= cpu != self;
			cpumask_set(&hit, cpu);
		}
	}
	tlb_users_left(mm, left);
	if (unlikely(elsewhere))
		tlb_shootdown_cpus(&hit);
	else if (here)
		tlb_flush_local();
}

void tlb_shootdown_mask(struct mm *mm, const cpumask_t *mask)
{
	atomic_thread_fence(memory_order_seq_cst); /* PAIRS: tlb_loaded */
	shootdown(mm, mask);
}

void tlb_shootdown_mm(struct mm *mm)
{
	atomic_thread_fence(memory_order_seq_cst); /* PAIRS: tlb_loaded */
	shootdown(mm, NULL);
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
