/* SPDX-License-Identifier: MIT */
/*
 * Retired frames of one pCPU: collected (OPEN), waiting until each pCPU that had their mm loaded
 * has flushed (FLUSH), waiting for a grace period (RCU), freed. See tlb.h.
 *
 * A frame joins only an OPEN batch, and a batch that may have to take frames always exists: the last
 * descriptor that is not waiting for RCU stays in FLUSH, where it can be opened again.
 */
#include "memsvc/p2m.h"
#include "percpu/pcpu.h"

static struct retire_batch *find(struct pcpu_tlb *t, enum retire_state s)
{
	struct retire_batch *best = NULL;

	for (unsigned i = 0; i < RETIRE_BATCHES; i++) {
		struct retire_batch *b = &t->batch[i];

		if (b->state == s && (!best || b->seq < best->seq))
			best = b;
	}
	return best;
}

static void add_retired(struct pcpu_tlb *t, int64_t n)
{
	atomic_store_explicit(&t->nr_retired,
			      atomic_load_explicit(&t->nr_retired, memory_order_relaxed) +
				      (uint64_t)n,
			      memory_order_relaxed);
}

static void account(struct mm *mm, enum mm_kind kind, int64_t n)
{
	if (n)
		mm_count(mm, kind, -n);
}

/* Whether @pi must wait once more; read after the grace period of whoever marks it. */
static bool was_late(struct page_info *pi, bool table)
{
	_Atomic uint8_t *late = table ? &pi->hw.late : &pi->dom.late;

	if (likely(!atomic_load_explicit(late, memory_order_acquire))) /* PAIRS: tlb_late */
		return false;
	atomic_store_explicit(late, 0, memory_order_relaxed);
	return true;
}

/* After the grace period, on the pCPU that retired them. */
static void batch_free(struct rcu_head *h)
{
	struct retire_batch *b = container_of(h, struct retire_batch, rcu);
	struct mm *mm = NULL;
	enum mm_kind kind = MMK_RETIRED;
	int64_t n = 0;
	uint64_t m = b->head;

	add_retired(&this_pcpu()->tlb, -(int64_t)b->n);
	while (m) {
		struct page_info *pi = page_of(MFN(m));
		bool table = page_type(pi) == PG_HWTABLE;
		enum mm_kind k = table ? MMK_HWTABLE : MMK_RETIRED;
		struct mm *of =
			table ? table_mm(pi) : meta_mm(page_of(arch_virt_to_mfn(frame_rec(pi))));
		uint32_t names;
		uint64_t next = atomic_load_explicit(&pi->next, memory_order_relaxed);

		m = next;
		if (unlikely(was_late(pi, table))) {
			tlb_retire(of, pi);
			continue;
		}
		if (of != mm || k != kind) {
			account(mm, kind, n);
			mm = of;
			kind = k;
			n = 0;
		}
		names = table ? atomic_load_explicit(&pi->hw.names, memory_order_relaxed) : 0;
		if (unlikely(names)) {
			page_free(MFN(names));
			account(of, MMK_META, 1);
		}
		page_free(mfn_of(pi));
		n++;
	}
	/* The last touch of the mm: its teardown waits for the counts. */
	account(mm, kind, n);
	b->state = RETIRE_UNUSED;
}

/* Drop from b->wait who has flushed since the batch was closed. */
static bool all_flushed(struct retire_batch *b)
{
	unsigned cpu;

	for_each_cpu_in(cpu, &b->wait) if (atomic_load_explicit(&pcpu_get(cpu)->tlb.epoch,
								memory_order_acquire) !=
					   b->epoch[cpu]) cpumask_clear(&b->wait, cpu);
	return cpumask_empty(&b->wait);
}

static void release(struct pcpu_tlb *t, struct retire_batch *b)
{
	unsigned rcu = 0;

	for (unsigned i = 0; i < RETIRE_BATCHES; i++)
		rcu += t->batch[i].state == RETIRE_RCU;
	if (rcu + 1 == RETIRE_BATCHES)
		return;
	b->state = RETIRE_RCU;
	call_rcu_hurry(&b->rcu, batch_free);
}

static void close_batch(struct pcpu_tlb *t)
{
	struct retire_batch *b = t->open;
	cpumask_t users = CPUMASK_ALL;
	unsigned i;

	if (!b)
		return;
	t->open = NULL;
	b->state = RETIRE_FLUSH;
	b->seq = ++t->seq;
	cpumask_zero(&b->wait);
	/* All entries for these frames were cleared before. PAIRS: tlb_loaded */
	atomic_thread_fence(memory_order_seq_cst);
	if (b->mm)
		users = tlb_users(b->mm);
	for_each_cpu_in(i, &users)
	{
		struct pcpu *p = i < nr_pcpus() ? pcpu_get(i) : NULL;
		struct mm *l;

		if (!p)
			continue;
		l = atomic_load_explicit(&p->tlb.loaded, memory_order_acquire);
		if (!l || (b->mm && b->mm != l))
			continue;
		/* A flush since the read above is not counted: one more is then waited for. */
		b->epoch[i] = atomic_load_explicit(&p->tlb.epoch, memory_order_acquire);
		cpumask_set(&b->wait, i);
	}
}

void tlb_retire_poll(void)
{
	struct pcpu_tlb *t = &this_pcpu()->tlb;

	for (unsigned i = 0; i < RETIRE_BATCHES; i++)
		if (t->batch[i].state == RETIRE_FLUSH && all_flushed(&t->batch[i]))
			release(t, &t->batch[i]);
}

static void force(struct pcpu_tlb *t, struct retire_batch *b)
{
	if (!all_flushed(b)) {
		tlb_shootdown_cpus(&b->wait);
		cpumask_zero(&b->wait);
	}
	release(t, b);
}

/* One batch may wait for others to flush by themselves; a second one is enough. */
static void advance(struct pcpu_tlb *t)
{
	struct retire_batch *b;

	tlb_retire_poll();
	b = find(t, RETIRE_FLUSH);
	if (b)
		force(t, b);
	close_batch(t);
}

static void soon_expired(struct timer *timer, uint64_t now_ns)
{
	(void)now_ns;
	advance(container_of(timer, struct pcpu_tlb, soon));
}

void tlb_init_pcpu(struct pcpu *p)
{
	timer_init(&p->tlb.soon, soon_expired);
}

static void advance_within(struct pcpu_tlb *t, uint64_t ns)
{
	uint64_t at = arch_now_ns() + ns;

	if (!timer_armed(&t->soon) || t->soon.expires_ns > at)
		timer_arm(&t->soon, at);
}

void tlb_retire_idle(void)
{
	struct pcpu_tlb *t = &this_pcpu()->tlb;

	if (memory_is_short())
		tlb_retire_poll();
	if (t->open || find(t, RETIRE_FLUSH))
		advance_within(t, memory_is_short() ? RETIRE_NS : RETIRE_IDLE_NS);
}

void tlb_retire_drain(void)
{
	struct pcpu_tlb *t = &this_pcpu()->tlb;

	close_batch(t);
	for (unsigned i = 0; i < RETIRE_BATCHES; i++)
		if (t->batch[i].state == RETIRE_FLUSH)
			force(t, &t->batch[i]);
}

static struct retire_batch *open_batch(struct pcpu_tlb *t)
{
	struct retire_batch *b = find(t, RETIRE_UNUSED);

	if (b) {
		b->n = 0;
		b->head = 0;
		b->mm = NULL;
	} else {
		b = find(t, RETIRE_FLUSH); /* open it again: it will wait for newer flushes */
	}
	b->state = RETIRE_OPEN;
	t->open = b;
	return b;
}

void tlb_retire(struct mm *mm, struct page_info *pi)
{
	struct pcpu_tlb *t = &this_pcpu()->tlb;
	struct retire_batch *b = t->open ? t->open : open_batch(t);

	if (!b->n)
		b->mm = mm;
	else if (b->mm != mm)
		b->mm = NULL;
	atomic_store_explicit(&pi->next, b->head, memory_order_relaxed);
	b->head = mfn_of(pi).v;
	add_retired(t, 1);
	if (++b->n % RETIRE_BATCH)
		return;
	if (b->n >= RETIRE_MOST || memory_is_short())
		advance(t);
	else
		advance_within(t, RETIRE_NS);
}
